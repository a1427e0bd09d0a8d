"""Makes a smaller model: recommends what to remove, unless the request names it, and removes it."""

from __future__ import annotations

from typing import Any

from backend.store.derived_records import Chosen
from modelshapley.applications.pruning import prune
from modelshapley.applications.recommending.recommend import METHODS, recommend
from modelshapley.contracts import Off
from modelshapley.contracts.applications.derived import DerivedInfo
from modelshapley.models.loaded import LoadedModel
from workers.uses.job import Cancelled, UseJob


def make_smaller(job: UseJob) -> dict[str, Any]:
    """Return the record of the model that was saved. The list of kept units may be long, and stays in the folder."""
    info = job.saved_before(DerivedInfo) or _made(job)
    return info.model_dump(mode="json") | {"kept": info.kept.model_dump(mode="json", include={"layers"})}


def _made(job: UseJob) -> DerivedInfo:
    context, derived, run = job.context, job.derived, job.run
    job.step("Loading the model")
    parent = context.scored_model(run)
    loaded, task = context.warm.in_float32(parent), context.scored_task(run)
    chosen = context.records.chosen(derived.id) or _recommend(job, loaded)
    stored = context.storage.load_intact(run.id) is not None and parent is loaded
    return prune(
        loaded,
        task,
        chosen.off.deactivation(),
        job.folder,
        importance_map=job.map_of(chosen),
        settings={
            "derived": derived.id,
            "run": run.id,
            "share": derived.share,
            **({} if derived.milliseconds is None else {"milliseconds": derived.milliseconds}),
        },
        repaired="least-squares" if derived.repair is True else derived.repair or None,
        probe_limit=run.limit,
        seed=run.seed,
        intact=context.intact(run, loaded, task) if stored else None,
        notify=job.step,
        pause=job.pause,
    )


def _recommend(job: UseJob, loaded: LoadedModel) -> Chosen:
    """Find what to remove, and record it, so that a restart does not have to find it again."""
    context, run = job.context, job.run
    job.step("Scoring with several methods")
    methods = tuple(dict.fromkeys((*METHODS, *run.methods)))
    recommended = recommend(
        loaded,
        context.scored_task(run),
        share=job.derived.share,
        milliseconds=job.derived.milliseconds,
        methods=[method for method in methods if method.partition(",")[0] in METHODS],
        limit=run.limit,
        seed=run.seed,
        on_progress=lambda done, total: job.count("Measuring candidates", done, total),
        pause=job.pause,
    )
    best = recommended.best_map
    chosen = Chosen(Off.from_deactivation(recommended.best), best.method, dict(best.provenance))
    if context.records.choose(job.derived.id, chosen, recommended.report) is None:
        raise Cancelled
    context.turns.progressed()
    return chosen
