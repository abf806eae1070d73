"""Sleeping and waiting that a stop ends, whoever is asleep and for whatever reason."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from agentphone_async.errors import RunStoppedError


class Stop:
    """Once it is closed, every wait through it ends with `RunStoppedError`, and none begins.

    Belongs to one event loop.

    Args:
        sleep: ``asyncio.sleep``, or a virtual one.

    Attributes:
        closed: whether waiting is over.
    """

    __slots__ = ("_ended", "_sleep", "closed")

    def __init__(self, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._ended: asyncio.Future[None] | None = None
        self.closed = False

    def close(self) -> None:
        """End all waits. Closing twice is fine."""
        self.closed = True
        ended, self._ended = self._ended, None
        if ended is not None:
            ended.set_result(None)

    def reopen(self) -> None:
        """Let waits begin again."""
        self.closed = False

    def check(self) -> None:
        """Continue only if it is not closed.

        Raises:
            RunStoppedError: it is.
        """
        if self.closed:
            raise RunStoppedError

    async def sleep(self, seconds: float, *unless: asyncio.Future[Any]) -> None:
        """Sleep, but not on after one of ``unless`` is done.

        Raises:
            RunStoppedError: closed before, or meanwhile.
        """
        timer = asyncio.ensure_future(self._sleep(seconds))
        try:
            await self.wait(timer, *unless)
        finally:
            timer.cancel()
            await asyncio.wait((timer,))

    async def wait(self, *events: asyncio.Future[Any]) -> None:
        """Wait until one of these is done; none of them is cancelled.

        Raises:
            RunStoppedError: closed before, or meanwhile.
        """
        self.check()
        if self._ended is None:
            self._ended = asyncio.get_running_loop().create_future()
        await asyncio.wait((*events, self._ended), return_when=asyncio.FIRST_COMPLETED)
        self.check()
