"""Requests, their responses, and the errors of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from modelshapley.contracts import Problem
from modelshapley.errors import ModelShapleyError

T = TypeVar("T")
ROOT = "/api/v1"


class ApiError(ModelShapleyError):
    """The API responded with an error; `problem` is its body."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        fields = "".join(f"\n  {error.field}: {error.message}" for error in problem.errors)
        super().__init__(f"{problem.title} ({problem.status}): {problem.detail}{fields}")


class ApiUnreachable(ModelShapleyError):
    """The server did not respond: the address is wrong, or it is down."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and the reader of its response. content: a body other than JSON, with its media type."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    params: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    content: tuple[str | bytes, str] | None = None

    def request(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """Build the request, without the parameters that are None."""
        params = {key: value for key, value in self.params.items() if value is not None}
        if self.content is not None:
            data, media_type = self.content
            headers = {"Content-Type": media_type}
            return http.build_request(self.method, ROOT + self.path, params=params, content=data, headers=headers)
        return http.build_request(self.method, ROOT + self.path, params=params, json=self.body)


def json_reader(kind: Any) -> Callable[[httpx.Response], Any]:
    """Return a function that validates a response as `kind`."""
    adapter = TypeAdapter(kind)
    return lambda response: adapter.validate_json(response.content)


def read(call: Call[T], response: httpx.Response) -> T:
    """Read a response. Raises ApiError, or ApiUnreachable for a response that is not this API's."""
    if response.is_success:
        try:
            return call.read(response)
        except ValidationError as error:
            raise ApiUnreachable(f"{response.url} did not respond like this API: {error}") from error
    raise problem_of(response)


def problem_of(response: httpx.Response) -> ApiError:
    """Return the error of a response."""
    try:
        return ApiError(Problem.model_validate_json(response.content))
    except ValidationError:
        return ApiError(Problem(title="Unexpected answer", status=response.status_code, detail=response.text[:200]))


def unreachable(base_url: httpx.URL, error: httpx.TransportError) -> ApiUnreachable:
    """Return the error for a server that does not respond."""
    return ApiUnreachable(f"No answer from {base_url} ({error or type(error).__name__}). Is `modelshapley up` running?")


def headers_of(api_key: str | None) -> dict[str, str]:
    """Return the headers that carry the API key."""
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}
