"""Choose by time: how long passes of models that are really smaller take here, in turns with the parent's."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import torch

from modelshapley.applications.pruning import Prediction
from modelshapley.applications.recommending.candidates import Budget, Chooser, Proposal, propose, ways_of
from modelshapley.applications.sizes import WeightsSize
from modelshapley.applications.surgery import smaller_model
from modelshapley.errors import ModelShapleyError
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Task

PASS_EXAMPLES = 8
"""Probe examples of a timed pass."""
ROUNDS = 7
"""Timed passes of each of two models, in turns; the median counts."""
STEP = 0.05
"""Distance of the shares of parameters that are tried."""
FURTHER = 0.3
"""How much larger shares are tried than the first that is fast enough: other kinds of unit need more."""


class PassTimer:
    """Measures how long a pass takes: the loss of up to 8 examples at once, in wall time.

    A smaller model is made in memory, with its weights in the parent's dtype on its device, and runs in turns with the
    parent, so that other work on the machine slows both. Its time is the ratio of both medians times the parent's time,
    measured at first: times of different candidates are then comparable. Models of one shape are timed once. target:
    the wanted milliseconds. Raises ModelShapleyError where the parent takes no longer.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        task: Task[Any],
        examples: Sequence[Any],
        target: float,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self.loaded, self._task, self._examples, self._pause = loaded, task, list(examples[:PASS_EXAMPLES]), pause
        self._known: dict[str, float] = {}
        self.target, self.parent = target, self._medians(loaded)[0]
        if self.parent <= target:
            raise ModelShapleyError(
                f"A pass of {loaded.id!r} takes {self.parent:.3g} ms here, so nothing has to go for {target:g} ms. "
                "Ask for less."
            )

    def milliseconds(self, prediction: Prediction) -> float:
        """Return the milliseconds of a pass of the model of a plan."""
        plan = prediction.plan
        key = str(plan.config.to_json_string(use_diff=False))
        if key not in self._known:
            self._pause()
            dtype = next(self.loaded.model.parameters()).dtype
            model = smaller_model(self.loaded, plan, dtype).to(self.loaded.device)
            derived = replace(self.loaded, id=f"{self.loaded.id} (smaller)", anatomy=plan.anatomy, model=model)
            parent, smaller = self._medians(self.loaded, derived)
            self._known[key] = self.parent * smaller / parent
        return self._known[key]

    def _medians(self, *models: LoadedModel) -> list[float]:
        """Return the median milliseconds of each model, after one pass of each that does not count."""
        times: list[list[float]] = [[] for _ in models]
        with torch.inference_mode():
            for _ in range(ROUNDS + 1):
                for place, model in enumerate(models):
                    started = perf_counter()
                    self._task.losses(model, self._examples).cpu()  # copying waits for a GPU
                    times[place].append(1000 * (perf_counter() - started))
        return [statistics.median(values[1:]) for values in times]


def timed_proposals(whole: WeightsSize, choosers: Sequence[Chooser], timer: PassTimer) -> Iterator[Proposal]:
    """Yield different ways to a pass of at most the timer's target, each with the fewest parameters removed.

    whole: size of the parent.

    Shares of parameters are tried in steps of 5 %, from half of what would do if time were proportional to parameters.
    Raises ModelShapleyError where nothing is so fast.
    """
    budget = Budget(timer.loaded, whole, whole.parameters - 1)
    fastest = timer.milliseconds(budget.smallest())
    if fastest > timer.target:
        raise _unreachable(timer, fastest)
    seen: set[str] = set()
    found: set[tuple[int, str]] = set()
    first = None
    for step in range(max(1, int((1 - timer.target / timer.parent) / 2 / STEP)), round(1 / STEP)):
        if first is not None and step * STEP > first + FURTHER:
            break
        sized = budget.resized(int((1 - step * STEP) * whole.parameters))
        for key, proposal in _unfound(sized, choosers, found):
            time_ms = timer.milliseconds(proposal.prediction)
            if time_ms > timer.target:
                continue
            found.add(key)
            first = step * STEP if first is None else first
            if proposal.units.key() not in seen:
                seen.add(proposal.units.key())
                yield replace(proposal, milliseconds=time_ms, parent_milliseconds=timer.parent)
    if first is None:
        raise _unreachable(timer, fastest)


def _unreachable(timer: PassTimer, fastest: float) -> ModelShapleyError:
    return ModelShapleyError(
        f"No smaller {timer.loaded.id!r} takes at most {timer.target:g} ms a pass here: the whole takes "
        f"{timer.parent:.3g} ms, one without all that can go {fastest:.3g} ms. Ask for more."
    )


def _unfound(
    budget: Budget, choosers: Sequence[Chooser], found: set[tuple[int, str]]
) -> Iterator[tuple[tuple[int, str], Proposal]]:
    """Yield the candidates of a size, by number of the chooser and way, whose way has not been fast enough before."""
    for number, chooser in enumerate(choosers):
        for text, shares in ways_of(budget, chooser):
            if (number, text) not in found:
                yield (number, text), propose(budget, chooser, text, shares)
