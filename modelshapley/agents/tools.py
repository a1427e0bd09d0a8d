"""The tools: each is one step of a user's work, by the client of the API. Agents read their docstrings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from mcp.server.mcpserver import Context
from pydantic import Field

import modelshapley.client as calls
from modelshapley.agents.files import FORMS, MOST_TEXT, new_file, write
from modelshapley.agents.results import (
    Compared,
    Exported,
    KindVerdict,
    MapSummary,
    MapVerdict,
    ModelList,
    ModelSummary,
    RunList,
    RunState,
    Submitted,
    TaskList,
    TaskSummary,
    TrialState,
    Verdicts,
)
from modelshapley.agents.summaries import comparison, extremes, layer_sums
from modelshapley.agents.waiting import Reporter, wait
from modelshapley.client import AsyncClient
from modelshapley.contracts import Faithfulness, Mark, Run, RunRequest, Status, TrialRequest
from modelshapley.contracts.base import Whole
from modelshapley.contracts.runs import Effort
from modelshapley.contracts.trials import Off
from modelshapley.errors import ModelShapleyError, NotFound
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import DEFAULT_KINDS, OFF, Treatment, UnitKind

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Method = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,=-]{1,200}$", description="default: the run's first method")]
Search = Annotated[str, Field(max_length=200, description="words that must be in the id or title")]
Most = Annotated[Whole, Field(ge=1, le=200, description="at most this many")]
Seconds = Annotated[
    float, Field(ge=0, le=300, description="wait at most this long; the result then says how far it is")
]


class Tools:
    """The tools of one server. folder: the only folder that maps are written to."""

    def __init__(self, api: AsyncClient, url: str, folder: Path) -> None:
        self._api, self._url, self._folder = api, url.rstrip("/"), folder

    async def list_models(self, search: Search = "", limit: Most = 50) -> ModelList:
        """List the models of the server, with the number of units of each kind."""
        found = [model for model in await self._api.send(calls.models()) if _matches(search, model.id, model.title)]
        names = set(ModelSummary.model_fields)
        items = [ModelSummary(**{name: getattr(model, name) for name in names}) for model in found[:limit]]
        return ModelList(models=items, total=len(found))

    async def list_tasks(self, search: Search = "", limit: Most = 50) -> TaskList:
        """List the tasks that models can be scored on."""
        found = [task for task in await self._api.send(calls.tasks()) if _matches(search, task.id, task.title)]
        names = set(TaskSummary.model_fields)
        items = [TaskSummary(**{name: getattr(task, name) for name in names}) for task in found[:limit]]
        return TaskList(tasks=items, total=len(found))

    async def list_runs(
        self, search: Search = "", status: Status | None = None, limit: Annotated[Whole, Field(ge=1, le=50)] = 20
    ) -> RunList:
        """List runs, newest first. A finished run has maps, which need not be computed again."""
        page = await self._api.send(calls.runs(limit, 0, search, status))
        return RunList(runs=[RunState.of(run, self._url) for run in page.items], total=page.total)

    async def submit_run(
        self,
        model: Annotated[str, Field(min_length=1, max_length=200, description="id of a model, or hub:OWNER/NAME")],
        task: Annotated[str, Field(min_length=1, max_length=200, description="id of a task")],
        methods: Annotated[Sequence[str], Field(min_length=1, max_length=32)] = ("two-sided",),
        units: Annotated[Sequence[UnitKind], Field(min_length=1)] = DEFAULT_KINDS,
        limit: Annotated[Whole, Field(ge=1, le=1_000_000, description="at most this many probe examples")] = 256,
        seed: Annotated[Whole, Field(ge=0, le=2**31 - 1)] = 0,
        faithfulness: Annotated[
            Effort, Field(description="how thoroughly the maps are checked by switching units off")
        ] = "quick",
        estimate_only: Annotated[bool, Field(description="return the cost without queueing")] = False,
    ) -> Submitted:
        """Queue a run: score all units of a model on a task. Returns its estimated cost; then call wait_run."""
        request = RunRequest(
            model=model,
            task=task,
            methods=list(methods),
            units=list(units),
            limit=limit,
            seed=seed,
            faithfulness=faithfulness,
        )
        estimate = await self._api.send(calls.estimate_run(request))
        if estimate_only:
            return Submitted(run=None, estimate=estimate)
        run = await self._api.send(calls.submit_run(request))
        return Submitted(run=RunState.of(run, self._url), estimate=estimate)

    async def wait_run(
        self,
        run: Id,
        context: Context,
        seconds: Seconds = 30,
        checks: Annotated[bool, Field(description="also wait until its maps have been checked")] = True,
    ) -> RunState:
        """Wait until a run has ended, and return its state; call it again if it has not."""

        def ended(state: Run) -> bool:
            return state.status.ended and not (checks and state.checks is not None and not state.checks.ended)

        reporter = Reporter(context)

        async def fetch() -> Run:
            state = await self._api.send(calls.run(run))
            await reporter.report(state.progress.done, state.progress.total, state.status.value)
            return state

        return RunState.of(await wait(fetch, ended, seconds), self._url)

    async def cancel_run(self, run: Id) -> RunState:
        """Cancel a run that is queued or running."""
        return RunState.of(await self._api.send(calls.cancel_run(run)), self._url)

    async def map_summary(
        self,
        run: Id,
        unit: UnitKind,
        method: Method | None = None,
        top: Annotated[Whole, Field(ge=1, le=100, description="number of units at each end of the ranking")] = 10,
    ) -> MapSummary:
        """Summarise the map of a finished run: most and least important units, sums of layers, how far to trust it."""
        state = await self._api.send(calls.run(run))
        importance_map = await self._map(state, unit, method)
        most, least = extremes(importance_map, unit, top)
        provenance = importance_map.provenance
        scores = importance_map.scores[unit]
        return MapSummary(
            run=run,
            model=state.model,
            task=state.task,
            method=importance_map.method,
            unit=unit,
            shape=list(scores.shape),
            units=int((scores == scores).sum()),  # NaN is not a unit
            n=provenance["n"],
            quantity=importance_map.quantity,
            signed=importance_map.signed,
            most=most,
            least=least,
            layers=layer_sums(importance_map, unit),
            verdict=_verdict(await self._api.send(calls.faithfulness(run)), method or state.methods[0], unit),
        )

    async def trial(
        self,
        run: Id,
        context: Context,
        off: Annotated[Off | None, Field(description="units by index; or give unit, which and fraction")] = None,
        unit: UnitKind | None = None,
        which: Literal["least", "most"] | None = None,
        fraction: Annotated[float, Field(ge=0, le=1, description="share of the units of this kind")] | None = None,
        method: Method | None = None,
        treatment: Annotated[Treatment, Field(description="what is done to the units; default: off")] = OFF,
        half_width: Annotated[
            float, Field(gt=0, lt=0.5, description="stop once the interval is this narrow; default: all examples")
        ]
        | None = None,
        seconds: Seconds = 30,
    ) -> TrialState:
        """Measure the accuracy on held-out examples with some units off, and its difference from the intact model.

        Needs a finished run. Name units by `off`, such as {"head": [[3, 7]], "layer": [2]}, or by their rank on the
        run's map: unit "head", which "least", fraction 0.4. If it takes longer than `seconds`, call wait_trial.
        """
        ranked = off is None
        if ranked and method is None:
            method = (await self._api.send(calls.run(run))).methods[0]
        request = TrialRequest(
            run=run,
            off=off,
            method=method if ranked else None,
            unit=unit,
            which=which,
            fraction=fraction,
            treatment=treatment,
            half_width=half_width,
        )
        submitted = await self._api.send(calls.submit_trial(request))
        return await self.wait_trial(submitted.id, context, seconds)

    async def wait_trial(self, trial: Id, context: Context, seconds: Seconds = 30) -> TrialState:
        """Wait until a trial has ended, and return what is measured so far; call it again if it has not."""

        reporter = Reporter(context)

        async def fetch() -> TrialState:
            state = TrialState.of(await self._api.send(calls.trial(trial)))
            await reporter.report(state.n, state.total, state.status.value)
            return state

        return await wait(fetch, lambda state: state.status.ended, seconds)

    async def compare_runs(
        self,
        run: Id,
        other: Id,
        unit: Annotated[UnitKind | None, Field(description="default: all kinds that both runs have")] = None,
        method: Method | None = None,
        other_method: Method | None = None,
        different_tasks: Annotated[bool, Field(description="compare even if the examples differ")] = False,
    ) -> Compared:
        """Compare the rankings of two finished runs of models of equal shape: correlation, and shared top units."""
        first, second = await self._api.send(calls.run(run)), await self._api.send(calls.run(other))
        both = {link.unit for link in first.maps} & {link.unit for link in second.maps}
        kinds = [kind for kind in UnitKind if kind in both] if unit is None else [unit]
        if not kinds:
            raise NotFound(f"Runs {run} and {other} have maps of no common kind of unit; wait until both are done.")
        pairs = [(await self._map(first, kind, method), await self._map(second, kind, other_method)) for kind in kinds]
        return comparison((run, other), pairs, different_tasks)

    async def verdict(self, run: Id) -> Verdicts:
        """Return how far the maps of a run can be trusted, from measurements, with the findings behind it."""
        report = await self._api.send(calls.faithfulness(run))
        verdicts = [
            KindVerdict(
                method=entry.method,
                unit=entry.unit,
                mark=entry.verdict.mark,
                sentence=entry.verdict.sentence,
                findings=entry.verdict.findings,
            )
            for entry in report.maps
            if entry.verdict is not None
        ]
        return Verdicts(
            run=run, effort=report.effort, status=report.status, progress=report.progress, verdicts=verdicts
        )

    async def check_maps(self, run: Id, effort: Literal["quick", "full"] = "quick") -> Verdicts:
        """Queue a check of the maps of a finished run, or a more thorough one; then call wait_run and verdict."""
        await self._api.send(calls.check_maps(run, effort))
        return await self.verdict(run)

    async def export_map(
        self,
        run: Id,
        unit: UnitKind,
        method: Method | None = None,
        file: Annotated[
            str | None,
            Field(min_length=1, max_length=500, description="a new .csv, .parquet or .safetensors file; default: text"),
        ] = None,
    ) -> Exported:
        """Export all scores of one kind of unit: to a file below the working directory, or as CSV if that is short."""
        target = None if file is None else new_file(self._folder, file)
        form = "csv" if target is None else FORMS[target.suffix]
        chosen = method or (await self._api.send(calls.run(run))).methods[0]
        data = await self._api.send(calls.map_file(run, chosen, unit, form))
        if target is None:
            if len(data) > MOST_TEXT:
                raise ModelShapleyError(
                    f"The map has {len(data):,} bytes of CSV, more than the {MOST_TEXT:,} of a text; name a file."
                )
            return Exported(run=run, method=chosen, unit=unit, bytes=len(data), text=data.decode())
        write(target, data)
        return Exported(run=run, method=chosen, unit=unit, bytes=len(data), file=file)

    async def _map(self, run: Run, unit: UnitKind, method: str | None) -> ImportanceMap:
        call = calls.map_file(run.id, method or run.methods[0], unit, "safetensors")
        return ImportanceMap.from_bytes(await self._api.send(call))


def _matches(search: str, *texts: str) -> bool:
    return all(word in " ".join(texts).lower() for word in search.lower().split())


def _verdict(report: Faithfulness, method: str, unit: UnitKind) -> MapVerdict:
    """Return the verdict on one kind of unit. A reading of a map with another weight of harm is not checked."""
    for entry in report.maps:
        if (entry.method, entry.unit) == (method, unit) and entry.verdict is not None:
            return MapVerdict(mark=entry.verdict.mark, sentence=entry.verdict.sentence)
    return MapVerdict(
        mark=Mark.UNCHECKED, sentence="No check covers this map yet; check_maps checks the maps by the run's methods."
    )
