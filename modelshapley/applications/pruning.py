"""Make a smaller model out of a model and the units it can do without, proven and measured before it is saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modelshapley.applications import proof
from modelshapley.applications.folder import kept_units, made_from, new_folder, save_model, write_info
from modelshapley.applications.plans import Plan, plan_pruning
from modelshapley.applications.repairing.repair import repair
from modelshapley.applications.sizes import WeightsSize, weights_size
from modelshapley.applications.surgery import smaller_model
from modelshapley.contracts import Comparison
from modelshapley.contracts.applications.derived import DerivedInfo, Repair, Repairing
from modelshapley.errors import ModelShapleyError, TaskMismatch
from modelshapley.evaluation.intervals import Outcomes
from modelshapley.evaluation.trials import answers, compare
from modelshapley.maps.importance import ImportanceMap
from modelshapley.models.catalog import inspect_folder
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.loading import load
from modelshapley.tasks.base import Task
from modelshapley.units import Deactivation

Notify = Callable[[str], None]
REPAIRS: Mapping[Repairing, str] = {
    "least-squares": "Refitting the last projections",
    "means": "Folding the units' means into biases",
}
"""What is said while a repair is made."""


@dataclass(frozen=True)
class Prediction:
    """What a smaller model would be, without making it. size: exactly that of the file it would have."""

    plan: Plan
    size: WeightsSize
    parent_size: WeightsSize


def predict(loaded: LoadedModel, deactivation: Deactivation, parent_size: WeightsSize | None = None) -> Prediction:
    """Predict the size of the model without these units. parent_size: computed if not given.

    Raises UnitOutOfRange, BadTreatment.
    """
    plan, dtype = plan_pruning(loaded, deactivation), export_dtype(loaded)
    return Prediction(plan, weights_size(plan.skeleton(dtype)), parent_size or whole_size(loaded))


def whole_size(loaded: LoadedModel) -> WeightsSize:
    """Return the size of the model with all its units, written as a smaller model would be."""
    return weights_size(plan_pruning(loaded, Deactivation()).skeleton(export_dtype(loaded)))


def export_dtype(loaded: LoadedModel) -> torch.dtype:
    """Return the dtype in which a derived model is saved: that of the parent's folder, or of its weights in memory."""
    if loaded.dtype == "float32" and loaded.stored_dtype in ("bfloat16", "float16"):
        return getattr(torch, loaded.stored_dtype)  # type: ignore[no-any-return]
    return getattr(torch, loaded.dtype)  # type: ignore[no-any-return]


def prune(
    loaded: LoadedModel,
    task: Task[Any],
    deactivation: Deactivation,
    folder: Path,
    *,
    importance_map: ImportanceMap | None = None,
    settings: Mapping[str, Any] | None = None,
    repaired: Repairing | None = None,
    probe_limit: int = 128,
    seed: int = 0,
    intact: Outcomes | None = None,
    notify: Notify = lambda message: None,
    pause: Callable[[], None] = lambda: None,
) -> DerivedInfo:
    """Save a model without the units of `deactivation` to `folder`, which appears whole or not at all.

    Before that, the saved files are loaded by a fresh process, whose logits must equal those of the parent with the
    units off (to 1e-4 in float32), and the saved model is measured on the task's test examples, paired with the
    parent's outcomes (`intact`, measured here if not given). importance_map: the map that chose the units, for the
    record, as `settings`. repaired: refit the last projections on the first `probe_limit` probe examples, or fold the
    units' means into their biases, and keep that if it helps. notify: called with a sentence at each step; pause:
    called between passes, and may raise to stop.

    Raises ModelShapleyError where the folder exists, the disk is full or the model is not in float32, TaskMismatch,
    UnitOutOfRange, BadTreatment, and UnsupportedModel if the logits differ.
    """
    task.check(loaded)
    if loaded.dtype != "float32":
        raise ModelShapleyError(
            f"{loaded.id!r} is loaded in {loaded.dtype}, in which logits cannot be compared to 1e-4; load it in "
            "float32. It is saved in the dtype of its folder anyway."
        )
    prediction = predict(loaded, deactivation)
    plan = prediction.plan
    with new_folder(folder) as temporary:
        notify("Cutting out the units")
        smaller = smaller_model(loaded, plan, export_dtype(loaded))
        expected = proof.masked_logits(loaded, plan, deactivation)
        refit = None
        if repaired is not None:
            notify(REPAIRS[repaired])
            refit, expected = _repair(loaded, smaller, plan, expected, task, seed, probe_limit, repaired)
        pause()
        notify("Saving")
        _save(temporary, smaller, loaded, prediction)
        del smaller
        pause()
        notify("Comparing it with the parent, in a process of its own")
        largest = proof.require_equal(proof.reloaded_logits(temporary, loaded), expected, "The saved model")
        notify("Measuring its accuracy")
        trial = _measure(loaded, task, temporary, seed, intact, pause)
        found = {"reload_max_logit_difference": largest, "trial": trial, "repair": refit}
        found |= _origin(importance_map, settings)
        info = _record(loaded, task, seed, deactivation, prediction, found)
        write_info(temporary, info, plan.zeroed)
    return info


def _record(
    loaded: LoadedModel,
    task: Task[Any],
    seed: int,
    deactivation: Deactivation,
    prediction: Prediction,
    found: Mapping[str, Any],
) -> DerivedInfo:
    """Return the record of a derived model. found: the fields that are measured, and those of its origin."""
    plan = prediction.plan
    return DerivedInfo(
        **made_from(loaded, task, seed),
        modes=dict(plan.modes),
        reasons=list(plan.reasons),
        off={kind: count for kind, count in deactivation.counts().items() if count},
        kept=kept_units(plan.layers, dict(plan.kept)),
        bytes=prediction.size.bytes,
        parent_bytes=prediction.parent_size.bytes,
        parameters=prediction.size.parameters,
        parent_parameters=prediction.parent_size.parameters,
        **found,
    )


def _save(folder: Path, smaller: Any, loaded: LoadedModel, prediction: Prediction) -> None:
    size = save_model(folder, smaller, loaded)
    if size != prediction.size.bytes:
        raise AssertionError(f"the weights file has {size} bytes, not the {prediction.size.bytes} predicted")


def _origin(importance_map: ImportanceMap | None, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the record says of how the units were chosen."""
    if importance_map is None:
        return {"settings": dict(settings or {})}
    provenance = dict(importance_map.provenance)
    return {"method": importance_map.method, "map": provenance, "settings": dict(settings or {})}


def _repair(
    loaded: LoadedModel,
    smaller: Any,
    plan: Plan,
    expected: Tensor,
    task: Task[Any],
    seed: int,
    limit: int,
    how: Repairing,
) -> tuple[Repair, Tensor]:
    """Repair the smaller model once it is proven; return the outcome, and the logits that it should give then."""
    smaller.float().to(loaded.device)
    proof.require_equal(proof.logits_of(smaller, loaded), expected, "The smaller model")
    outcome = repair(loaded, smaller, plan, task, seed, limit, how)
    # Rounded as it will be saved, and only then run in float32, as it will be compared.
    smaller.to(export_dtype(loaded)).float()
    expected = proof.logits_of(smaller, loaded) if outcome.kept else expected
    smaller.to("cpu", export_dtype(loaded))
    return outcome, expected


def _measure(
    loaded: LoadedModel,
    task: Task[Any],
    folder: Path,
    seed: int,
    intact: Outcomes | None,
    pause: Callable[[], None],
) -> Comparison:
    """Compare the saved model with its parent on all test examples."""
    derived = load(inspect_folder(loaded.id, folder), loaded.device)
    try:
        task.check(derived)
    except TaskMismatch as error:  # the class of a config is that of its parent, so this is a bug, not a user's mistake
        raise AssertionError(str(error)) from error
    now = _outcomes(derived, task, seed, pause)
    return compare(now, _outcomes(loaded, task, seed, pause) if intact is None else intact)


def _outcomes(loaded: LoadedModel, task: Task[Any], seed: int, pause: Callable[[], None]) -> Outcomes:
    *_, outcomes = _paused(answers(loaded, task, Deactivation(), seed), pause)
    return outcomes


def _paused(measuring: Iterator[tuple[Outcomes, int]], pause: Callable[[], None]) -> Iterator[Outcomes]:
    for outcomes, _ in measuring:
        yield outcomes
        pause()
