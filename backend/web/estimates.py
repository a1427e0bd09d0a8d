"""Estimates of a run: passes from its methods, time from finished runs, memory from the model's files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Literal, get_args

from backend.web.dependencies import Services
from backend.web.validation import check_run
from modelshapley.contracts import Dtype, Estimate, Memory, Pace, Run, RunRequest, WorkerInfo
from modelshapley.contracts.task_files.descriptions import TaskInfo
from modelshapley.formatting import bytes_as_text
from modelshapley.methods.cost import cost_of
from modelshapley.scoring.footprint import BYTES, activation_bytes
from modelshapley.units import UnitKind, UnitShapes

MAX_EARLIER_RUNS = 20  # newest finished runs that the time is based on


def estimate(request: RunRequest, services: Services) -> Estimate:
    """Estimate the cost of a run. Raises what submitting it would raise."""
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
    earlier = services.records.finished_runs(request.model, MAX_EARLIER_RUNS)
    same_task = [(run, rate) for run, rate in earlier if run.task == request.task]
    candidates: list[tuple[list[tuple[Run, float]], Literal["model and task", "model"]]]
    candidates = [(same_task, "model and task"), (earlier, "model")]
    for runs, of in candidates:
        predictions = [seconds for run, rate in runs if (seconds := seconds_like(run, rate, work)) is not None]
        if predictions and work:
            between = (round(min(predictions), 2), round(max(predictions), 2))
            return Pace(seconds=round(median(predictions), 2), between=between, runs=len(predictions), of=of)
    return None


def seconds_like(run: Run, rate: float, work: float) -> float | None:
    """Predict the seconds of a run with so much work, in passes over one example, from a finished run.

    The time of the finished run besides scoring, for loading the model and measuring its intact accuracy, does not
    grow with the work. rate: examples a second of the finished run. Returns None if it made no pass.
    """
    shapes = UnitShapes.from_dict(run.shapes, run.layout.ragged)
    cost = cost_of(run.methods, _counts(shapes, run.units)).work
    if run.started is None or run.finished is None or not cost:
        return None
    overhead = (run.finished - run.started).total_seconds() - run.progress.total / rate
    return work / (rate * cost) + max(overhead, 0.0)


def _counts(shapes: UnitShapes, units: Sequence[UnitKind]) -> Mapping[UnitKind, int]:
    return {kind: shapes.count(kind) for kind in units}


def _memory(model: str, task: TaskInfo, services: Services, workers: Sequence[WorkerInfo]) -> Memory:
    """Estimate the memory on the worker whose device has most."""
    config, parameters = services.catalog.config_and_parameters(model)
    reported = [worker.warm for worker in workers if worker.warm is not None and worker.warm.memory is not None]
    largest = max(reported, key=lambda warm: warm.memory or 0, default=None)
    largest_dtype = largest.dtype if largest else None
    dtype: Dtype = largest_dtype if largest_dtype in get_args(Dtype) else services.settings.dtype  # type: ignore[assignment]
    return Memory(
        weights=None if parameters is None else parameters * BYTES[dtype],
        activations=activation_bytes(config, services.catalog.anatomy(model), task, dtype),
        there=largest.memory if largest else None,
        dtype=dtype,
    )


def _problems(memory: Memory, workers: Sequence[WorkerInfo]) -> list[str]:
    problems = []
    if not workers:
        problems.append("No worker is listening, so it will wait. Start one: modelshapley worker")
    if memory.weights is not None and memory.there is not None and memory.weights > memory.there:
        problems.append(
            f"The weights take {bytes_as_text(memory.weights)} as {memory.dtype}, more than the "
            f"{bytes_as_text(memory.there)} of any worker's device; use a larger device, several of them "
            "(MODELSHAPLEY_DEVICE=spread), or a shorter dtype (MODELSHAPLEY_DTYPE=bfloat16)."
        )
    return problems
