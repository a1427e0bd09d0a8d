"""Jobs of derived models: recommend what to remove, prune, and predict sizes.

A job may start twice (because its worker was killed): what was chosen is kept, and what was saved is not saved again.
"""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

import numpy as np

from backend.store.derived_records import Chosen
from modelshapley.applications.candidates import Budget, Chooser
from modelshapley.applications.folder import read_info
from modelshapley.applications.pruning import prune, whole_size
from modelshapley.applications.recommend import METHODS, recommend
from modelshapley.contracts import Off, Run, Status
from modelshapley.contracts.derived import Derived, DerivedInfo, SizePrediction
from modelshapley.errors import Conflict, ModelShapleyError, NotFound
from modelshapley.maps.importance import ImportanceMap
from modelshapley.models.loaded import LoadedModel
from modelshapley.units import Deactivation
from workers.context import WorkerContext, get_context
from workers.running.failures import failures_recorded

log = logging.getLogger(__name__)
LOOK_EVERY_S = 0.5


class Cancelled(Exception):
    """The derived model is not wanted any more."""


def derive_model(derived_id: str) -> None:
    """Make a queued derived model."""
    context = get_context()
    derived = context.records.begin_derived(derived_id, context.name)
    if derived is None:
        log.info("derived model %s is not open any more", derived_id)
        return

    def fail(error: str) -> None:
        context.records.update_derived(derived_id, status=Status.FAILED, error=error)

    with failures_recorded(fail), context.warm.in_use(derived.parent):
        try:
            info = _Derivation(context, derived).make()
        except Cancelled:
            log.info("derived model %s was cancelled", derived_id)
            return
        # The list of kept units may be long, and stays in the folder.
        short = info.model_dump(mode="json") | {"kept": info.kept.model_dump(mode="json", include={"layers"})}
        context.records.update_derived(derived_id, status=Status.DONE, info=short)


class _Derivation:
    """One derived model in the making."""

    def __init__(self, context: WorkerContext, derived: Derived) -> None:
        self._context, self._derived = context, derived
        self._run = context.records.run(derived.run)
        self._looked = 0.0

    def make(self) -> DerivedInfo:
        """Return what was saved; raises Cancelled."""
        context, derived = self._context, self._derived
        folder = context.settings.data / "derived" / derived.name
        existing = _made_before(folder, derived.id)
        if existing is not None:
            return existing
        self._step("Loading the model")
        parent = context.scored_model(self._run)
        loaded, task = context.warm.in_float32(parent), context.scored_task(self._run)
        chosen = context.records.chosen(derived.id) or self._recommend(loaded)
        stored = context.storage.load_intact(self._run.id) is not None and parent is loaded
        return prune(
            loaded,
            task,
            chosen.off.deactivation(),
            folder,
            importance_map=self._map_of(chosen),
            settings={"derived": derived.id, "run": self._run.id, "share": derived.share},
            repaired=derived.repair,
            probe_limit=self._run.limit,
            seed=self._run.seed,
            intact=context.intact(self._run, loaded, task) if stored else None,
            notify=self._step,
            pause=self._pause,
        )

    def _recommend(self, loaded: LoadedModel) -> Chosen:
        """Find what to remove, and record it, so that a restart does not have to find it again."""
        self._step("Scoring with several methods")
        methods = tuple(dict.fromkeys((*METHODS, *self._run.methods)))
        recommended = recommend(
            loaded,
            self._context.scored_task(self._run),
            share=self._derived.share,
            methods=[method for method in methods if method.partition(",")[0] in METHODS],
            limit=self._run.limit,
            seed=self._run.seed,
            on_progress=self._measured,
            pause=self._pause,
        )
        best = recommended.best_map
        chosen = Chosen(Off.from_deactivation(recommended.best), best.method, dict(best.provenance))
        if self._context.records.choose(self._derived.id, chosen, recommended.report) is None:
            raise Cancelled
        self._context.turns.progressed()
        return chosen

    def _map_of(self, chosen: Chosen) -> ImportanceMap | None:
        """Return the map that chose the units, for the record; of a recommendation, only its method and provenance."""
        if chosen.method is None:
            return None
        if chosen.provenance is None:
            return self._context.storage.load_map(self._run.id, chosen.method)
        return ImportanceMap(chosen.method, "", False, {}, {}, chosen.provenance)

    def _measured(self, done: int, total: int) -> None:
        if (
            self._context.records.update_derived(self._derived.id, done=done, total=total, step="Measuring candidates")
            is None
        ):
            raise Cancelled

    def _step(self, text: str) -> None:
        if self._context.records.update_derived(self._derived.id, step=text) is None:
            raise Cancelled

    def _pause(self) -> None:
        """Let trials go first, and stop if this is not wanted any more. Called when nothing hooks the model."""
        self._context.turns.yield_to_trials()
        if time.monotonic() - self._looked < LOOK_EVERY_S:
            return
        self._looked = time.monotonic()
        if self._context.records.derived(self._derived.id).status.ended:
            raise Cancelled


def _made_before(folder: Path, derived_id: str) -> DerivedInfo | None:
    """Return what an earlier start of this job saved, and remove what it left half-written.

    Raises Conflict if the folder is that of another derived model.
    """
    for leftover in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    if not folder.exists():
        return None
    info = read_info(folder)
    if info.settings.get("derived") != derived_id:
        raise Conflict(f"There is a derived model {folder.name!r} already; choose another name, or delete that one.")
    return info


def predict_size(request_id: str) -> None:
    """Predict the size of a model without a share of its parameters, from one kind of unit."""
    context = get_context()
    cache = context.result_caches.sizes
    try:
        prediction = cache.get(request_id)
    except NotFound:
        log.info("request %s for a size has expired", request_id)
        return

    def fail(error: str) -> None:
        cache.save(request_id, prediction.model_copy(update={"status": Status.FAILED, "error": error}))

    with failures_recorded(fail):
        cache.save(request_id, _predicted(context, prediction))


def _predicted(context: WorkerContext, prediction: SizePrediction) -> SizePrediction:
    request = prediction.request
    run = context.records.run(request.run)
    loaded = context.scored_model(run)
    units, budget = _units_of(context, run, loaded, prediction)
    scores = context.storage.load_map(run.id, request.method).scores[request.unit]
    sizes = budget.predict(units)
    return prediction.model_copy(
        update={
            "status": Status.DONE,
            "parameters": sizes.size.parameters,
            "parent_parameters": budget.whole.parameters,
            "bytes": sizes.size.bytes,
            "parent_bytes": budget.whole.bytes,
            "predicted": float(np.sum([scores[unit] for unit in units.of_kind(request.unit)])),
            "off": Off.from_deactivation(units),
        }
    )


def _units_of(
    context: WorkerContext, run: Run, loaded: LoadedModel, prediction: SizePrediction
) -> tuple[Deactivation, Budget]:
    """Return the units to remove for a size. Raises ModelShapleyError where this kind cannot reach it."""
    request = prediction.request
    whole = whole_size(loaded)
    budget = Budget(loaded, whole, int((1 - request.share) * whole.parameters))
    shares = budget.divided({request.unit: 1.0}) if budget.possible(request.unit) else None
    if shares is None:
        raise ModelShapleyError(
            f"{100 * request.share:.0f} % of the parameters cannot be removed as {request.unit.value}s alone: there "
            "are too few of them, or the family keeps their number. Choose a smaller share, or another kind of unit."
        )
    chooser = Chooser(context.storage.load_map(run.id, request.method))
    return chooser.choose(loaded, shares), budget
