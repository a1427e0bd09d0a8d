"""Reports on chosen units: what a linear classifier reads from them, and what scaling them up does."""

from __future__ import annotations

from typing import Any

from modelshapley.applications.probing.amplify import amplify
from modelshapley.applications.probing.probe import probe
from modelshapley.contracts.applications.requests import AmplifyRequest, ProbeRequest
from workers.uses.job import UseJob


def make_probe(job: UseJob, request: ProbeRequest) -> dict[str, Any]:
    """Return the report of a probe."""
    context, run = job.context, job.run

    def on_progress(done: int, total: int) -> None:
        job.count("Recording activations", done, total)
        job.pause()

    job.step("Loading the model")
    report = probe(
        context.scored_model(run),
        context.scored_task(run),
        job.chosen().off.deactivation(),
        run.limit,
        run.seed,
        request.draws,
        request.same_layers,
        on_progress,
    )
    return report.model_dump(mode="json")


def make_amplified(job: UseJob, request: AmplifyRequest) -> dict[str, Any]:
    """Return the report of amplifying."""
    context, run = job.context, job.run
    job.step("Loading the model")
    report = amplify(
        context.scored_model(run),
        context.scored_task(run),
        job.chosen().off.deactivation(),
        request.factors,
        run.seed,
        request.draws,
        request.same_layers,
        lambda done, total: job.count("Scaling units", done, total),
        job.pause,
    )
    return report.model_dump(mode="json")
