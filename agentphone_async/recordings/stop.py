"""A stop token: ends downloads, and whatever else is waited for, gently or at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from agentphone_async.errors import RunStoppedError
from agentphone_async.recordings.downloader import Downloader
from agentphone_async.waiting import first_of

T = TypeVar("T")


class StopToken:
    """Stops a downloader, and whatever else is waited for through it.

    Closing it closes the session's limits; dropping it cancels what is under way, too.

    Attributes:
        closed: nothing more begins.
        dropping: nothing goes on, either.
    """

    def __init__(self) -> None:
        self.closed = False
        self.dropping = False
        self._downloader: Downloader | None = None
        self._ended: asyncio.Event = asyncio.Event()
        self._dropped: asyncio.Event = asyncio.Event()

    def watch(self, downloader: Downloader) -> None:
        """Stop this one, too."""
        self._downloader = downloader
        if self.dropping:
            downloader.drop()
        elif self.closed:
            downloader.stop()

    def close(self) -> None:
        """Let nothing more begin."""
        self.closed = True
        self._ended.set()
        if self._downloader is not None:
            self._downloader.stop()

    def drop(self) -> None:
        """Close, and let go of everything that is under way."""
        self.close()
        self.dropping = True
        self._dropped.set()
        if self._downloader is not None:
            self._downloader.drop()

    async def through(self, begin: Callable[[None], Awaitable[T]]) -> T:
        """Do something that is given up at a stop.

        Raises:
            RunStoppedError: closed before, or meanwhile.
        """
        return await self._unless(self._ended, begin(None))

    async def to_the_end(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something that is worth finishing even after a stop.

        Raises:
            RunStoppedError: dropped before, or on the way.
        """
        return await self._unless(self._dropped, work())

    @staticmethod
    async def _unless(event: asyncio.Event, work: Awaitable[T]) -> T:
        task = asyncio.ensure_future(work)
        if await first_of(task, event.wait()) is not task:
            raise RunStoppedError
        return task.result()
