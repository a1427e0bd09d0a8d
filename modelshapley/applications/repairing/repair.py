"""Repair a smaller model on half of the probe examples, and keep that only if it helps on the other half."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from modelshapley.applications.plans import Plan
from modelshapley.applications.repairing.least_squares import refit
from modelshapley.applications.repairing.means import fold_means
from modelshapley.contracts.applications.derived import Repair, Repairing
from modelshapley.errors import ModelShapleyError
from modelshapley.evaluation.intervals import mean_half_width
from modelshapley.evaluation.trials import in_passes
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split, Task

MIN_EXAMPLES = 16
"""Fewer probe examples than this cannot be split into a half to fit on and a half to measure on."""
Array = npt.NDArray[np.float64]


def repair(
    loaded: LoadedModel, smaller: nn.Module, plan: Plan, task: Task[Any], seed: int, limit: int, how: Repairing
) -> Repair:
    """Repair `smaller` in place by :func:`refit` or :func:`fold_means`; keep that only if it lowers the loss.

    Fitted on half of the first `limit` probe examples, measured on the other half: kept if the paired 95 % interval of
    the loss difference lies below 0. Raises ModelShapleyError for fewer than 16 examples, UnsupportedModel for means
    where no projection has a bias.
    """
    examples = task.select(loaded, Split.PROBE, seed, limit)
    if len(examples) < MIN_EXAMPLES:
        raise ModelShapleyError(
            f"A repair needs at least {MIN_EXAMPLES} probe examples, but there are {len(examples)}; raise --limit, or "
            "leave the repair out."
        )
    half = len(examples) // 2
    derived = replace(loaded, id=f"{loaded.id} (smaller)", anatomy=plan.anatomy, model=smaller)
    before = _losses(derived, task, examples[half:])
    original = {name: parameter.detach().clone() for name, parameter in smaller.named_parameters()}
    if how == "means":
        fold_means(loaded, smaller, plan, task, seed, half)
    else:
        refit(loaded, smaller, plan, task, examples[:half])
    after = _losses(derived, task, examples[half:])
    difference = after - before
    kept = bool(difference.mean() + mean_half_width(difference) < 0)
    if not kept:
        for name, parameter in smaller.named_parameters():
            parameter.data.copy_(original[name])
    return Repair(
        how=how, kept=kept, loss_before=float(before.mean()), loss_after=float(after.mean()), examples=len(before)
    )


def _losses(loaded: LoadedModel, task: Task[Any], examples: Sequence[Any]) -> Array:
    with torch.inference_mode():
        losses: Array = in_passes(loaded, task, examples, task.losses).astype(np.float64)
    return losses
