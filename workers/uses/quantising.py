"""Quantises the model of a run, in a process of its own; trials are served meanwhile."""

from __future__ import annotations

from typing import Any

from modelshapley.applications.quantising.quantise import quantise
from modelshapley.applications.quantising.schemes import scheme_named
from modelshapley.contracts.applications.quantising import QuantisedInfo
from modelshapley.contracts.applications.requests import QuantiseRequest
from workers.uses.job import UseJob


def make_quantised(job: UseJob, request: QuantiseRequest) -> dict[str, Any]:
    """Return the record of the model that was saved."""
    return (job.saved_before(QuantisedInfo) or _made(job, request)).model_dump(mode="json")


def _made(job: UseJob, request: QuantiseRequest) -> QuantisedInfo:
    context, run = job.context, job.run
    scheme_named(request.scheme)  # before anything is loaded: the worker may lack the extra
    job.step("Loading the model")
    loaded = context.warm.in_float32(context.scored_model(run))
    return quantise(
        loaded,
        context.scored_task(run),
        request.scheme,
        job.folder,
        parent_folder=context.warm.folder(run.model).path,
        beta=request.beta,
        limit=request.limit,
        seed=run.seed,
        job=job.derived.id,
        notify=job.step,
        pause=job.pause,
    )
