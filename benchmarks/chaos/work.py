"""What is asked of a server while its processes are killed, and whether all of it came out as it should."""

from __future__ import annotations

import hashlib
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.support.live_service import count_wrong, random_off
from modelshapley.client import ApiError, ApiUnreachable, Client
from modelshapley.contracts import Run, RunRequest, Status, TrialRequest
from modelshapley.models.catalog import ASSETS, DIGITS_VIT
from modelshapley.units import UnitKind

T = TypeVar("T")
REPEAT_S, ANSWER_TIMEOUT_S, END_TIMEOUT_S = 0.3, 240.0, 300.0
SEEDS = 3
TRIALS = 4
BASE = RunRequest(
    model=DIGITS_VIT, task="digits", methods=["two-sided", "path-shapley,points=8"], limit=256, faithfulness="none"
)
KINDS = ("run", "shards", "trials", "upload")


class Work:
    """Everything that was sent, and what came of it. sent: number of attempts by request; accepted: ids of answers."""

    def __init__(self, url: str, folder: Path, rng: random.Random) -> None:
        self._api, self._folder, self._rng = Client(url, timeout=20), folder, rng
        self._sent: Counter[str] = Counter()
        self._runs: dict[str, RunRequest] = {}
        self._trials: list[str] = []
        self._uploads: list[str] = []
        self._expected: dict[str, Any] = {}
        self._base = ""
        self._next = 0

    def learn(self) -> None:
        """Score every kind of run undisturbed, for comparison."""
        for seed in range(SEEDS):
            for request in (self._checked(seed), self._sharded(seed)):
                run = self._api.wait(self._api.submit_run(request).id)
                self._sent[_name(request)] += 1
                if request.faithfulness != "none":
                    self._api.checked(run.id)
                self._expected[_name(request)] = self._outcome(run)
                self._base = run.id

    def submit(self) -> None:
        """Send work of the next kind, again until there is an answer."""
        kind = KINDS[self._next % len(KINDS)]
        seed = self._next // len(KINDS) % SEEDS
        self._next += 1
        if kind in ("run", "shards"):
            request = self._checked(seed) if kind == "run" else self._sharded(seed)
            run = self._insist(lambda: self._api.submit_run(request), _name(request))
            self._runs[run.id] = request
        elif kind == "trials":
            for _ in range(TRIALS):
                trial = TrialRequest(run=self._base, off=random_off(self._rng))
                self._trials.append(self._insist(partial(self._api.submit_trial, trial)).id)
        else:
            self._upload(f"model-{self._next}")

    def examine(self) -> dict[str, Any]:
        """Wait until everything has ended, and compare."""
        lost: list[str] = []
        stuck: list[str] = []
        different: list[str] = []
        final: dict[str, float] = {}
        deadline = time.monotonic() + END_TIMEOUT_S
        for run_id, request in self._runs.items():
            state = self._until_ended(partial(self._api.run, run_id), deadline)
            if state is None or state.checks is Status.FAILED or state.status in (Status.FAILED, Status.CANCELLED):
                lost.append(f"run {run_id}: {state and state.error}")
            elif not state.status.ended or (request.faithfulness != "none" and not _checked(state)):
                stuck.append(f"run {run_id}")
            elif self._outcome(state) != self._expected[_name(request)]:
                different.append(f"run {run_id}")
        for trial_id in self._trials:
            trial = self._until_ended(partial(self._api.trial, trial_id), deadline)
            if trial is None or trial.status in (Status.FAILED, Status.CANCELLED):
                lost.append(f"trial {trial_id}: {trial and trial.error}")
            elif not trial.status.ended:
                stuck.append(f"trial {trial_id}")
            elif trial.accuracy is not None:
                final[trial.off.model_dump_json()] = trial.accuracy
        different += [f"upload {name}" for name in self._uploads if not self._is_whole(name)]
        return {
            "runs": len(self._runs),
            "trials": len(self._trials),
            "uploads": len(self._uploads),
            "lost": len(lost),
            "stuck": len(stuck),
            "duplicated": self._duplicated(),
            "different": len(different) + count_wrong(final),
            "details": (lost + stuck + different)[:10],
        }

    def _checked(self, seed: int) -> RunRequest:
        return BASE.model_copy(update={"seed": seed, "faithfulness": "quick"})

    def _sharded(self, seed: int) -> RunRequest:
        return BASE.model_copy(update={"seed": seed, "shards": 3})

    def _insist(self, send: Callable[[], T], name: str = "") -> T:
        """Send until there is an answer; `name` counts the attempts, each of which may have been accepted."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            try:
                self._sent[name] += 1
                return send()
            except (ApiError, ApiUnreachable) as error:
                refused = isinstance(error, ApiError) and error.problem.status < 500
                if refused or time.monotonic() > deadline:
                    raise
                time.sleep(REPEAT_S)

    def _upload(self, name: str) -> None:
        """Upload a copy of the demo model in pieces; one that was finished without an answer is there already."""
        source = self._folder / name
        shutil.copytree(ASSETS / "digits-vit", source)
        try:
            self._insist(lambda: self._api.upload_model(source, name))
        except ApiError as error:
            if error.problem.status != 409:
                raise
        self._uploads.append(name)

    def _is_whole(self, name: str) -> bool:
        """Return whether an uploaded model can be used and has the bytes that were sent."""
        listed = {model.id: model for model in self._api.models()}
        model = listed.get(f"local:{name}")
        ours, theirs = self._folder / name, self._folder / "data" / "models" / name
        files = ("config.json", "model.safetensors")
        return model is not None and model.usable and all(_hash(ours / f) == _hash(theirs / f) for f in files)

    def _outcome(self, run: Run) -> Any:
        """Return the maps of a run, every digit of them, and the report of its check."""
        maps = [
            (data.scores, data.standard_errors)
            for method in run.methods
            for data in (self._api.importance_map(run.id, method, kind) for kind in (UnitKind.NEURON, UnitKind.HEAD))
        ]
        if run.faithfulness == "none":
            return maps
        return maps, self._api.faithfulness(run.id).model_dump(exclude={"run"})

    def _until_ended(self, fetch: Callable[[], Any], deadline: float) -> Any:
        """Poll until something has ended, with its check; return its last state, None if it is not there."""
        state: Any = None
        while True:
            try:
                state = fetch()
            except ApiError as error:
                if error.problem.status == 404:
                    return None
            except ApiUnreachable:
                pass
            ended = state is not None and state.status.ended and (not isinstance(state, Run) or _checked(state))
            if ended or time.monotonic() > deadline:
                return state
            time.sleep(REPEAT_S)

    def _duplicated(self) -> int:
        """Return how many runs there are beyond those that were sent."""
        page = self._api.runs(limit=200)
        runs = [*page.items]
        while len(runs) < page.total:
            runs += self._api.runs(limit=200, offset=len(runs)).items
        recorded = Counter(_name(run.request()) for run in runs)
        return sum(max(0, count - self._sent[name]) for name, count in recorded.items())


def _checked(run: Run) -> bool:
    return run.faithfulness == "none" or (run.checks is not None and run.checks.ended)


def _name(request: RunRequest) -> str:
    return f"seed {request.seed}, {request.shards} shards, {request.faithfulness}"


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else f"no {file}"
