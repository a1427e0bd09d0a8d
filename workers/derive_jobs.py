"""Jobs of what maps are used for: derived models and reports on units; and predictions of sizes.

A job may start twice (because its worker was killed): what was chosen is kept, what was trained goes on from its last
checkpoint, and what was saved is not saved again.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from modelshapley.applications.pruning import whole_size
from modelshapley.applications.recommending.candidates import Budget, Chooser
from modelshapley.contracts import Off, Run, Status
from modelshapley.contracts.applications.derived import Derived, SizePrediction
from modelshapley.contracts.applications.requests import AmplifyRequest, FinetuneRequest, ProbeRequest, QuantiseRequest
from modelshapley.errors import ModelShapleyError, NotFound
from modelshapley.models.loaded import LoadedModel
from modelshapley.units import Deactivation
from workers.context import WorkerContext, get_context
from workers.running.failures import failures_recorded
from workers.uses.finetuning import forget_checkpoints, make_finetuned
from workers.uses.job import Cancelled, UseJob
from workers.uses.pruning import make_smaller
from workers.uses.quantising import make_quantised
from workers.uses.reports import make_amplified, make_probe

log = logging.getLogger(__name__)


def derive_model(derived_id: str) -> None:
    """Do what a queued use of a map asks for."""
    context = get_context()
    derived = context.records.begin_derived(derived_id, context.name)
    if derived is None:
        log.info("derived model %s is not open any more", derived_id)
        forget_checkpoints(context, derived_id)  # its worker may have been killed when it was cancelled
        return

    def fail(error: str) -> None:
        context.records.update_derived(derived_id, status=Status.FAILED, error=error)
        forget_checkpoints(context, derived_id)

    with failures_recorded(fail), context.warm.in_use(derived.parent):
        try:
            outcome = _outcome(context, derived)
        except Cancelled:
            log.info("derived model %s was cancelled", derived_id)
        else:
            context.records.update_derived(derived_id, status=Status.DONE, info=outcome)
        forget_checkpoints(context, derived_id)


def _outcome(context: WorkerContext, derived: Derived) -> dict[str, Any]:
    """Return the outcome of a use as JSON. Raises Cancelled."""
    job = UseJob(context, derived)
    if derived.use == "prune":
        return make_smaller(job)
    request = context.records.use_request(derived.id)
    if isinstance(request, FinetuneRequest):
        return make_finetuned(job, request)
    if isinstance(request, QuantiseRequest):
        return make_quantised(job, request)
    if isinstance(request, ProbeRequest):
        return make_probe(job, request)
    assert isinstance(request, AmplifyRequest)
    return make_amplified(job, request)


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
