"""Waiting for work of the server, for a bounded time and with progress."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mcp.server.mcpserver import Context

T = TypeVar("T")
POLL_S = 0.5


class Reporter:
    """Reports progress to the agent's program, only where it has grown: the protocol allows no other."""

    def __init__(self, context: Context) -> None:
        self._context, self._last = context, -1.0

    async def report(self, done: float, total: float, message: str) -> None:
        if done > self._last:
            self._last = done
            await self._context.report_progress(done, total, message)


async def wait(fetch: Callable[[], Awaitable[T]], ended: Callable[[T], bool], seconds: float) -> T:
    """Fetch a state until it has ended, or until the time is over."""
    until = asyncio.get_running_loop().time() + seconds
    while True:
        state = await fetch()
        left = until - asyncio.get_running_loop().time()
        if ended(state) or left <= 0:
            return state
        await asyncio.sleep(min(POLL_S, left))
