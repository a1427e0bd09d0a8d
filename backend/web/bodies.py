"""Bodies of requests: the media types that a route reads, and JSON within limits of depth and number of fields."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

JSON = "application/json"
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")
MAX_DEPTH = 32
MAX_FIELDS = 2000  # of one object; each unknown field is an error of its own
SMALL_BYTES = 64 * 1024  # too few for depth or fields to matter
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def media_type(request: Request) -> str:
    """Return the content type in lower case, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_json(kind: str) -> bool:
    return kind == JSON or (kind.startswith("application/") and kind.endswith("+json"))


class BoundedRequest(Request):
    """A request that reads its JSON in a thread, and refuses what takes more work than its length."""

    async def json(self) -> Any:
        return await run_in_threadpool(load_json, await self.body())


def load_json(body: bytes) -> Any:
    """Read JSON. Raises JSONDecodeError, and HTTPException 422 for what is nested too deep or has too many fields."""
    try:
        data = json.loads(body)
    except RecursionError:
        raise HTTPException(422, f"The JSON is nested more than {MAX_DEPTH} levels deep.") from None
    except UnicodeDecodeError as error:
        raise HTTPException(400, f"The JSON is not UTF-8 text: {error}.") from None
    except json.JSONDecodeError:
        raise
    except ValueError as error:  # a number of thousands of digits
        raise HTTPException(422, f"The JSON cannot be read: {error}.") from None
    if len(body) > SMALL_BYTES:
        check_size(data)
    return data


def check_size(data: Any) -> None:
    """Raise HTTPException 422 for JSON that is nested too deep, or has an object with too many fields."""
    level = [data]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                if len(value) > MAX_FIELDS:
                    raise HTTPException(422, f"The JSON has an object with more than {MAX_FIELDS:,} fields.")
                inner.extend(value.values())
            elif isinstance(value, list):
                inner.extend(value)
        level = [value for value in inner if isinstance(value, dict | list)]
        if not level:
            return
    raise HTTPException(422, f"The JSON is nested more than {MAX_DEPTH} levels deep.")


class BodyRoute(APIRoute):
    """A route that answers 415 to a body of a media type that it does not read.

    It reads JSON, unless `openapi_extra` declares other content. Browsers send some types (text/plain, forms) to other
    sites without asking, so none of them may mean JSON.
    """

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()
        allowed = self._media_types()

        async def handle(request: Request) -> Response:
            bounded = BoundedRequest(request.scope, request.receive)
            kind = media_type(request)
            if await bounded.body() and not (kind in allowed or (JSON in allowed and is_json(kind))):
                raise HTTPException(
                    415, f"This route reads {' or '.join(allowed)}, not {kind or 'a body of no type'!r}."
                )
            return await handler(bounded)

        return handle

    def _media_types(self) -> tuple[str, ...]:
        content = tuple((self.openapi_extra or {}).get("requestBody", {}).get("content", {}))
        return (
            (*content, *(kind for kind in YAML_TYPES if kind not in content))
            if YAML_TYPES[0] in content
            else (content or (JSON,))
        )
