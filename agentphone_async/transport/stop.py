"""Sleeping and waiting that a stop ends, whoever is asleep and for whatever reason."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from agentphone_async.errors import RunStoppedError
from agentphone_async.waiting import first_of


class Stop:
    """Once it is closed, every wait through it ends with `RunStoppedError`, and none begins.

    Belongs to one event loop.

    Args:
        sleep: ``asyncio.sleep``, or a virtual one.

    Attributes:
        closed: whether waiting is over.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._ended = asyncio.Event()
        self.closed = False

    def close(self) -> None:
        """End all waits. Closing twice is fine."""
        self.closed = True
        self._ended.set()

    def reopen(self) -> None:
        """Let waits begin again."""
        self.closed = False
        self._ended.clear()

    def check(self) -> None:
        """Continue only if it is not closed.

        Raises:
            RunStoppedError: it is.
        """
        if self.closed:
            raise RunStoppedError

    async def sleep(self, seconds: float) -> None:
        """Sleep.

        Raises:
            RunStoppedError: closed before, or meanwhile.
        """
        self.check()
        await first_of(self._sleep(seconds), self._ended.wait())
        self.check()

    async def wait(self, event: asyncio.Event, seconds: float | None = None) -> None:
        """Wait until this happens, or so many seconds have passed.

        Raises:
            RunStoppedError: closed before, or meanwhile.
        """
        self.check()
        others = () if seconds is None else (self._sleep(seconds),)
        await first_of(event.wait(), self._ended.wait(), *others)
        self.check()
