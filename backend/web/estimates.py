"""What a run will take: passes from its methods, time from finished runs, memory from the model's files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Literal, get_args

from backend.web.dependencies import Services
from backend.web.validation import check_run
from modelshapley.contracts import Dtype, Estimate, Memory, Pace, Run, RunRequest, WorkerInfo
from modelshapley.contracts.tasks import TaskInfo
from modelshapley.formatting import bytes_as_text
from modelshapley.methods.cost import cost_of
from modelshapley.scoring.footprint import BYTES, activation_bytes
from modelshapley.units import UnitKind, UnitShapes

REMEMBERED = 20  # finished runs, the newest


def estimate(request: RunRequest, services: Services) -> Estimate:
    """Raises what submitting it would raise."""
    request, anatomy = check_run(request, services.catalog, services.tasks)
    task, workers = services.tasks.info(request.task), services.queues.workers()
    examples = min(request.limit, task.probe_examples or request.limit)
    cost = cost_of(request.methods, {kind: anatomy.shapes.count(kind) for kind in request.units})
    memory = _memory(request.model, task, services, workers)
    return Estimate(
        examples=examples,
        exact=task.probe_examples is not None,
        passes=cost.backward,
        forwards=cost.forward,
        pace=_pace(request, examples * cost.work, services),
        memory=memory,
        workers=len(workers),
        problems=_problems(memory, workers),
    )


def _pace(request: RunRequest, work: float, services: Services) -> Pace | None:
    known = services.records.finished_runs(request.model, REMEMBERED)
    same = [(run, rate) for run, rate in known if run.task == request.task]
    ways: list[tuple[list[tuple[Run, float]], Literal["model and task", "model"]]]
    ways = [(same, "model and task"), (known, "model")]
    for runs, of in ways:
        found = [seconds for run, rate in runs if (seconds := seconds_like(run, rate, work)) is not None]
        if found and work:
            between = (round(min(found), 2), round(max(found), 2))
            return Pace(seconds=round(median(found), 2), between=between, runs=len(found), of=of)
    return None


def seconds_like(run: Run, rate: float, work: float) -> float | None:
    """Seconds of a run of so much work, in passes over one example, if it went like this finished one.

    What that one took besides scoring, to load the model and to measure its intact accuracy, does not grow with
    the work. rate: examples that it scored a second. None where it made no pass.
    """
    shapes = UnitShapes.from_dict(run.shapes, run.layout.ragged)
    cost = cost_of(run.methods, _counts(shapes, run.units)).work
    if run.started is None or run.finished is None or not cost:
        return None
    besides = (run.finished - run.started).total_seconds() - run.progress.total / rate
    return work / (rate * cost) + max(besides, 0.0)


def _counts(shapes: UnitShapes, units: Sequence[UnitKind]) -> Mapping[UnitKind, int]:
    return {kind: shapes.count(kind) for kind in units}


def _memory(model: str, task: TaskInfo, services: Services, workers: Sequence[WorkerInfo]) -> Memory:
    """On the worker whose device has most memory."""
    config, parameters = services.catalog.config_and_parameters(model)
    told = [worker.warm for worker in workers if worker.warm is not None and worker.warm.memory is not None]
    roomiest = max(told, key=lambda warm: warm.memory or 0, default=None)
    named = roomiest.dtype if roomiest else None
    dtype: Dtype = named if named in get_args(Dtype) else services.settings.dtype  # type: ignore[assignment]
    return Memory(
        weights=None if parameters is None else parameters * BYTES[dtype],
        activations=activation_bytes(config, services.catalog.anatomy(model), task, dtype),
        there=roomiest.memory if roomiest else None,
        dtype=dtype,
    )


def _problems(memory: Memory, workers: Sequence[WorkerInfo]) -> list[str]:
    found = []
    if not workers:
        found.append("No worker is listening, so it will wait. Start one: modelshapley worker")
    if memory.weights is not None and memory.there is not None and memory.weights > memory.there:
        found.append(
            f"The weights take {bytes_as_text(memory.weights)} as {memory.dtype}, more than the "
            f"{bytes_as_text(memory.there)} of any worker's device; use a larger device, several of them "
            "(MODELSHAPLEY_DEVICE=spread), or a shorter dtype (MODELSHAPLEY_DTYPE=bfloat16)."
        )
    return found
