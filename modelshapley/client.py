"""The REST API from Python. `Client` is for scripts; `AsyncClient` is what the dashboard uses.

Both send the same `Call`s, so a route is written down once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, Self, TypeVar

import httpx
from httpx_sse import ServerSentEvent, connect_sse
from pydantic import TypeAdapter, ValidationError

from modelshapley.contracts import (
    ArchitectureInfo,
    Faithfulness,
    Group,
    GroupRequest,
    Harm,
    Health,
    MapData,
    MethodInfo,
    ModelInfo,
    Problem,
    Run,
    RunEvent,
    RunPage,
    RunRequest,
    Trial,
    TrialEvent,
    TrialRequest,
    WorkerInfo,
)
from modelshapley.errors import ModelShapleyError
from modelshapley.tasks.shown import TaskCheck, TaskCheckRequest, TaskInfo
from modelshapley.tasks.spec import TaskFile
from modelshapley.units import UnitKind

T = TypeVar("T")
Event = TypeVar("Event", RunEvent, TrialEvent)
ROOT = "/api/v1"
DEFAULT_URL = "http://127.0.0.1:8050"
RECONNECT_S = 1.0
POLL_S = 0.5


class ApiError(ModelShapleyError):
    """The API's answer was an error; `problem` is its body."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        fields = "".join(f"\n  {error.field}: {error.message}" for error in problem.errors)
        super().__init__(f"{problem.title} ({problem.status}): {problem.detail}{fields}")


class ApiUnreachable(ModelShapleyError):
    """No answer at all: wrong address, or the server is down."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and how to read its answer. content: a body that is no JSON, and its type."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    params: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    content: tuple[str, str] | None = None

    def request(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        given = {key: value for key, value in self.params.items() if value is not None}
        if self.content is not None:
            text, kind = self.content
            headers = {"Content-Type": kind}
            return http.build_request(
                self.method, ROOT + self.path, params=given, content=text.encode(), headers=headers
            )
        return http.build_request(self.method, ROOT + self.path, params=given, json=self.body)


def _as(kind: Any) -> Callable[[httpx.Response], Any]:
    adapter = TypeAdapter(kind)
    return lambda response: adapter.validate_json(response.content)


def health() -> Call[Health]:
    return Call("GET", "/health", _as(Health))


def models() -> Call[list[ModelInfo]]:
    return Call("GET", "/models", _as(list[ModelInfo]))


def architectures() -> Call[list[ArchitectureInfo]]:
    return Call("GET", "/architectures", _as(list[ArchitectureInfo]))


def tasks() -> Call[list[TaskInfo]]:
    return Call("GET", "/tasks", _as(list[TaskInfo]))


def task(name: str) -> Call[TaskInfo]:
    return Call("GET", f"/tasks/{name}", _as(TaskInfo))


def task_file(name: str) -> Call[str]:
    """As YAML."""
    return Call("GET", f"/tasks/{name}/file", lambda response: response.text, params={"format": "yaml"})


def add_task(file: TaskFile | str) -> Call[TaskInfo]:
    """file: a task, or the text of a task file, YAML or JSON."""
    if isinstance(file, str):
        return Call("POST", "/tasks", _as(TaskInfo), content=(file, "application/yaml"))
    return Call("POST", "/tasks", _as(TaskInfo), body=file.model_dump(mode="json", exclude_defaults=True))


def drop_task(name: str) -> Call[None]:
    return Call("DELETE", f"/tasks/{name}", lambda _: None)


def check_task(request: TaskCheckRequest) -> Call[TaskCheck]:
    body = request.model_dump(mode="json", exclude_defaults=True)
    return Call("POST", "/tasks/checks", _as(TaskCheck), body=body)


def task_check(check_id: str) -> Call[TaskCheck]:
    return Call("GET", f"/tasks/checks/{check_id}", _as(TaskCheck))


def methods() -> Call[list[MethodInfo]]:
    return Call("GET", "/methods", _as(list[MethodInfo]))


def workers() -> Call[list[WorkerInfo]]:
    return Call("GET", "/workers", _as(list[WorkerInfo]))


def submit_run(request: RunRequest) -> Call[Run]:
    return Call("POST", "/runs", _as(Run), body=request.model_dump(mode="json", exclude_unset=True))


def runs(limit: int = 20, offset: int = 0) -> Call[RunPage]:
    return Call("GET", "/runs", _as(RunPage), params={"limit": limit, "offset": offset})


def run(run_id: str) -> Call[Run]:
    return Call("GET", f"/runs/{run_id}", _as(Run))


def cancel_run(run_id: str) -> Call[Run]:
    return Call("DELETE", f"/runs/{run_id}", _as(Run))


def importance_map(
    run_id: str,
    method: str,
    unit: UnitKind | str,
    columns: int | None = None,
    harm: Harm | None = None,
    pool: Literal["maps"] | None = None,
    label: str | None = None,
) -> Call[MapData]:
    params = {"columns": columns, "harm": harm, "pool": pool, "class": label}
    return Call("GET", f"/runs/{run_id}/maps/{method}/{unit}", _as(MapData), params=params)


def map_file(
    run_id: str,
    method: str,
    unit: UnitKind | str,
    form: Literal["csv", "safetensors"],
    label: str | None = None,
) -> Call[bytes]:
    params = {"format": form, "class": label}
    return Call("GET", f"/runs/{run_id}/maps/{method}/{unit}", lambda r: r.content, params=params)


def faithfulness(run_id: str) -> Call[Faithfulness]:
    return Call("GET", f"/runs/{run_id}/faithfulness", _as(Faithfulness))


def run_trials(run_id: str, limit: int = 100) -> Call[list[Trial]]:
    return Call("GET", f"/runs/{run_id}/trials", _as(list[Trial]), params={"limit": limit})


def groups(model: str) -> Call[list[Group]]:
    return Call("GET", "/groups", _as(list[Group]), params={"model": model})


def add_group(request: GroupRequest) -> Call[Group]:
    return Call("POST", "/groups", _as(Group), body=request.model_dump(mode="json"))


def drop_group(group_id: str) -> Call[None]:
    return Call("DELETE", f"/groups/{group_id}", lambda _: None)


def submit_trial(request: TrialRequest) -> Call[Trial]:
    return Call("POST", "/trials", _as(Trial), body=request.model_dump(mode="json", exclude_none=True))


def trial(trial_id: str) -> Call[Trial]:
    return Call("GET", f"/trials/{trial_id}", _as(Trial))


def _read(call: Call[T], response: httpx.Response) -> T:
    if response.is_success:
        try:
            return call.read(response)
        except ValidationError as error:
            raise ApiUnreachable(f"{response.url} answered something other than this API: {error}") from error
    raise _problem(response)


def _problem(response: httpx.Response) -> ApiError:
    try:
        return ApiError(Problem.model_validate_json(response.content))
    except ValidationError:
        return ApiError(
            Problem(title="Unexpected answer", status=response.status_code, detail=response.text[:200])
        )


def _unreachable(base_url: httpx.URL, error: httpx.TransportError) -> ApiUnreachable:
    return ApiUnreachable(
        f"No answer from {base_url} ({error or type(error).__name__}). Is `modelshapley up` running?"
    )


def _headers(api_key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


class Client:
    """The API as plain method calls. Errors: ApiError with the API's problem, ApiUnreachable without an answer.

    >>> with Client("http://127.0.0.1:8050") as api:      # doctest: +SKIP
    ...     run = api.wait(api.submit_run(RunRequest(model="demo:digits-vit", task="digits")).id)
    """

    def __init__(self, base_url: str = DEFAULT_URL, api_key: str | None = None, timeout: float = 30.0) -> None:
        self._http = httpx.Client(base_url=base_url, headers=_headers(api_key), timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def send(self, call: Call[T]) -> T:
        try:
            return _read(call, self._http.send(call.request(self._http)))
        except httpx.TransportError as error:
            raise _unreachable(self._http.base_url, error) from error

    def health(self) -> Health:
        return self.send(health())

    def models(self) -> list[ModelInfo]:
        return self.send(models())

    def architectures(self) -> list[ArchitectureInfo]:
        return self.send(architectures())

    def tasks(self) -> list[TaskInfo]:
        return self.send(tasks())

    def task(self, name: str) -> TaskInfo:
        return self.send(task(name))

    def task_file(self, name: str) -> str:
        """The task file as YAML."""
        return self.send(task_file(name))

    def add_task(self, file: TaskFile | str) -> TaskInfo:
        """Add a task, or the text of a task file."""
        return self.send(add_task(file))

    def drop_task(self, name: str) -> None:
        self.send(drop_task(name))

    def check_task(self, request: TaskCheckRequest) -> TaskCheck:
        """Have a task's data read; see :meth:`wait_check`."""
        return self.send(check_task(request))

    def task_check(self, check_id: str) -> TaskCheck:
        return self.send(task_check(check_id))

    def wait_check(self, check_id: str) -> TaskCheck:
        """Block until the check of a task has ended, and return what it found."""
        while not (check := self.task_check(check_id)).status.ended:
            time.sleep(POLL_S)
        return check

    def methods(self) -> list[MethodInfo]:
        return self.send(methods())

    def workers(self) -> list[WorkerInfo]:
        return self.send(workers())

    def submit_run(self, request: RunRequest) -> Run:
        return self.send(submit_run(request))

    def runs(self, limit: int = 20, offset: int = 0) -> RunPage:
        return self.send(runs(limit, offset))

    def run(self, run_id: str) -> Run:
        return self.send(run(run_id))

    def cancel_run(self, run_id: str) -> Run:
        return self.send(cancel_run(run_id))

    def importance_map(
        self,
        run_id: str,
        method: str,
        unit: UnitKind | str,
        columns: int | None = None,
        harm: Harm | None = None,
        pool: Literal["maps"] | None = None,
        label: str | None = None,
    ) -> MapData:
        """`label`: of one class of examples, a label in the run's `classes`."""
        return self.send(importance_map(run_id, method, unit, columns, harm, pool, label))

    def save_map(
        self, run_id: str, method: str, unit: UnitKind | str, file: Path, label: str | None = None
    ) -> None:
        """Write a map, or that of the class `label`, as .csv or .safetensors, by the file's suffix."""
        form = file.suffix.removeprefix(".")
        if form not in ("csv", "safetensors"):
            raise ModelShapleyError(f"{file.name}: a map is saved as .csv or .safetensors.")
        called = map_file(run_id, method, unit, "csv" if form == "csv" else "safetensors", label)
        file.write_bytes(self.send(called))

    def faithfulness(self, run_id: str) -> Faithfulness:
        """How far the maps of a finished run can be trusted; grows until its `status` has ended."""
        return self.send(faithfulness(run_id))

    def checked(self, run_id: str) -> Faithfulness:
        """Block until the maps of a finished run have been checked."""
        while not (report := self.faithfulness(run_id)).status.ended:
            time.sleep(POLL_S)
        return report

    def run_trials(self, run_id: str, limit: int = 100) -> list[Trial]:
        """What was tried on a run, newest first, whoever did."""
        return self.send(run_trials(run_id, limit))

    def groups(self, model: str) -> list[Group]:
        """Units of a model that were saved under a name."""
        return self.send(groups(model))

    def add_group(self, request: GroupRequest) -> Group:
        return self.send(add_group(request))

    def drop_group(self, group_id: str) -> None:
        self.send(drop_group(group_id))

    def submit_trial(self, request: TrialRequest) -> Trial:
        return self.send(submit_trial(request))

    def trial(self, trial_id: str) -> Trial:
        return self.send(trial(trial_id))

    def run_events(self, run_id: str) -> Iterator[RunEvent]:
        """Progress and status as they happen; ends with the run."""
        return self._events(f"/runs/{run_id}/events", RunEvent)

    def trial_events(self, trial_id: str) -> Iterator[TrialEvent]:
        """The trial after every chunk; ends with it."""
        return self._events(f"/trials/{trial_id}/events", TrialEvent)

    def wait(self, run_id: str) -> Run:
        """Block until a run has ended, and return it."""
        for _ in self.run_events(run_id):
            pass
        return self.run(run_id)

    def measure(self, request: TrialRequest) -> Trial:
        """Submit a trial and block until it has ended."""
        submitted = self.submit_trial(request)
        for _ in self.trial_events(submitted.id):
            pass
        return self.trial(submitted.id)

    def _events(self, path: str, kind: type[Event]) -> Iterator[Event]:
        for sse in self._stream(path):
            event = kind.model_validate({"id": sse.id, "event": sse.event, "data": sse.json()})
            yield event
            if event.data.status.ended:
                return

    def _stream(self, path: str) -> Iterator[ServerSentEvent]:
        """Events without end: a stream that the server closes early (Redis was away) is taken up again."""
        last_id: str | None = None
        while True:
            headers: dict[str, str] = {"Last-Event-ID": last_id} if last_id else {}
            timeout = httpx.Timeout(30.0, read=None)
            try:
                with connect_sse(self._http, "GET", ROOT + path, headers=headers, timeout=timeout) as source:
                    if not source.response.is_success:
                        source.response.read()
                        raise _problem(source.response)
                    for event in source.iter_sse():
                        yield event
                        last_id = event.id
            except httpx.TransportError as error:
                raise _unreachable(self._http.base_url, error) from error
            time.sleep(RECONNECT_S)


class AsyncClient:
    """The same calls without blocking: ``await api.send(client.run(run_id))``."""

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        api_key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=base_url, headers=_headers(api_key), transport=transport, timeout=timeout
        )

    async def send(self, call: Call[T]) -> T:
        try:
            return _read(call, await self._http.send(call.request(self._http)))
        except httpx.TransportError as error:
            raise _unreachable(self._http.base_url, error) from error

    async def close(self) -> None:
        await self._http.aclose()
