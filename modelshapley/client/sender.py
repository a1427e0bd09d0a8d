"""A blocking sender of calls, with the event streams of the API: what :class:`modelshapley.client.Client` stands on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol, Self, TypeVar

import httpx
from httpx_sse import ServerSentEvent, connect_sse

from modelshapley.client.base import ROOT, Call, headers_of, problem_of, read, unreachable
from modelshapley.contracts import RunEvent, Status, TrialEvent

T = TypeVar("T")
Event = TypeVar("Event", RunEvent, TrialEvent)
DEFAULT_URL = "http://127.0.0.1:8050"
RECONNECT_S = 1.0
POLL_S = 0.5


class _HasStatus(Protocol):
    @property
    def status(self) -> Status: ...


Result = TypeVar("Result", bound=_HasStatus)


def until_ended(fetch: Callable[[], Result], state: Result | None = None) -> Result:
    """Poll until the status has ended. state: the first state, if it is known already."""
    state = fetch() if state is None else state
    while not state.status.ended:
        time.sleep(POLL_S)
        state = fetch()
    return state


class Sender:
    """Sends calls and reads event streams, blocking."""

    def __init__(self, base_url: str = DEFAULT_URL, api_key: str | None = None, timeout: float = 30.0) -> None:
        self._http = httpx.Client(base_url=base_url, headers=headers_of(api_key), timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def send(self, call: Call[T]) -> T:
        try:
            return read(call, self._http.send(call.request(self._http)))
        except httpx.TransportError as error:
            raise unreachable(self._http.base_url, error) from error

    def events(self, path: str, kind: type[Event]) -> Iterator[Event]:
        """Yield the events of a run or trial until it has ended."""
        for sse in self.stream(path):
            event = kind.model_validate({"id": sse.id, "event": sse.event, "data": sse.json()})
            yield event
            if event.data.status.ended:
                return

    def stream(self, path: str) -> Iterator[ServerSentEvent]:
        """Yield events without end, and reconnect to a stream that the server closes early (when Redis was down)."""
        last_id: str | None = None
        while True:
            headers: dict[str, str] = {"Last-Event-ID": last_id} if last_id else {}
            timeout = httpx.Timeout(30.0, read=None)
            try:
                with connect_sse(self._http, "GET", ROOT + path, headers=headers, timeout=timeout) as source:
                    if not source.response.is_success:
                        source.response.read()
                        raise problem_of(source.response)
                    for event in source.iter_sse():
                        yield event
                        last_id = event.id
            except httpx.TransportError as error:
                raise unreachable(self._http.base_url, error) from error
            time.sleep(RECONNECT_S)
