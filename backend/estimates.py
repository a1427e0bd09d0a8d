"""What a run will take: passes from its methods, time from finished runs, memory from the model's files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Literal, get_args

from backend.checks import check_run
from backend.deps import Rooms
from modelshapley.contracts import Dtype, Estimate, Memory, Pace, Run, RunRequest, WorkerInfo
from modelshapley.footprint import BYTES, activation_bytes
from modelshapley.methods.cost import cost_of
from modelshapley.tasks.shown import TaskInfo
from modelshapley.units import UnitKind, UnitShapes
from modelshapley.words import bytes_in_words

REMEMBERED = 20  # finished runs, the newest


def estimate(request: RunRequest, here: Rooms) -> Estimate:
    """Raises what submitting it would raise."""
    request, anatomy = check_run(request, here.catalog, here.tasks)
    task, workers = here.tasks.info(request.task), here.queues.workers()
    examples = min(request.limit, task.probe_examples or request.limit)
    cost = cost_of(request.methods, {kind: anatomy.shapes.count(kind) for kind in request.units})
    memory = _memory(request.model, task, here, workers)
    return Estimate(
        examples=examples,
        exact=task.probe_examples is not None,
        passes=cost.backward,
        forwards=cost.forward,
        pace=_pace(request, examples * cost.work, here),
        memory=memory,
        workers=len(workers),
        problems=_problems(memory, workers),
    )


def _pace(request: RunRequest, work: float, here: Rooms) -> Pace | None:
    known = here.records.finished_runs(request.model, REMEMBERED)
    same = [run for run in known if run.task == request.task]
    groups: list[tuple[list[Run], Literal["model and task", "model"]]] = [
        (same, "model and task"),
        (known, "model"),
    ]
    for runs, of in groups:
        paces = [pace for run in runs if (pace := seconds_a_pass(run)) is not None]
        if paces and work:
            fast, slow = (round(work * end, 2) for end in (min(paces), max(paces)))
            seconds = round(work * median(paces), 2)
            return Pace(seconds=seconds, between=(fast, slow), runs=len(paces), of=of)
    return None


def seconds_a_pass(run: Run) -> float | None:
    """Seconds that a finished run took for one backward pass over one example; None where it made none."""
    shapes = UnitShapes.from_dict(run.shapes, run.layout.ragged)
    work = run.progress.total * cost_of(run.methods, _counts(shapes, run.units)).work
    if run.started is None or run.finished is None or not work or run.shards > 1:
        return None
    return (run.finished - run.started).total_seconds() / work


def _counts(shapes: UnitShapes, units: Sequence[UnitKind]) -> Mapping[UnitKind, int]:
    return {kind: shapes.count(kind) for kind in units}


def _memory(model: str, task: TaskInfo, here: Rooms, workers: Sequence[WorkerInfo]) -> Memory:
    """On the worker whose device has most memory."""
    config, parameters = here.catalog.plan(model)
    told = [worker.warm for worker in workers if worker.warm is not None and worker.warm.memory is not None]
    roomiest = max(told, key=lambda warm: warm.memory or 0, default=None)
    named = roomiest.dtype if roomiest else None
    dtype: Dtype = named if named in get_args(Dtype) else here.settings.dtype  # type: ignore[assignment]
    return Memory(
        weights=None if parameters is None else parameters * BYTES[dtype],
        activations=activation_bytes(config, here.catalog.anatomy(model), task, dtype),
        there=roomiest.memory if roomiest else None,
        dtype=dtype,
    )


def _problems(memory: Memory, workers: Sequence[WorkerInfo]) -> list[str]:
    found = []
    if not workers:
        found.append("No worker is listening, so it will wait. Start one: modelshapley worker")
    if memory.weights is not None and memory.there is not None and memory.weights > memory.there:
        found.append(
            f"The weights take {bytes_in_words(memory.weights)} as {memory.dtype}, more than the "
            f"{bytes_in_words(memory.there)} of any worker's device; use a larger device, several of them "
            "(MODELSHAPLEY_DEVICE=spread), or a shorter dtype (MODELSHAPLEY_DTYPE=bfloat16)."
        )
    return found
