"""Ending many downloads gently: nothing more begins, and what is under way may be let go of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from agentphone_async.errors import AgentPhoneError

T = TypeVar("T")

_STOPPED = "the run was stopped"


class LeftError(AgentPhoneError):
    """Not done in this run, because the run was stopped; no failure of the call's."""


class Passage:
    """One transfer on its way through a `Valve`: it waits for its turn, or it is under way.

    Attributes:
        under_way: its turn has come.
        cancelled: it was let go of, and has not left yet.
    """

    __slots__ = ("_task", "_valve", "cancelled", "under_way")

    def __init__(self, valve: Valve, task: asyncio.Task[Any]) -> None:
        self._valve = valve
        self._task = task
        self.under_way = self.cancelled = False

    def begin(self) -> None:
        """Its turn has come.

        Raises:
            LeftError: too late.
        """
        if self._valve.closed:
            raise LeftError(_STOPPED)
        self.under_way = True

    def wait(self) -> None:
        """It was in vain, and another turn may come."""
        self.under_way = False
        if self._valve.closed:
            self.let_go()

    def let_go(self) -> None:
        """Cancel it as soon as it waits for something; it may be what is running just now."""
        asyncio.get_running_loop().call_soon(self._cancel)

    def _cancel(self) -> None:
        if not self.cancelled and self._valve.is_inside(self):
            self.cancelled = self._task.cancel()


class Valve:
    """Lets transfers through until it is closed, and drops those inside when it is asked to.

    Whoever starts downloads keeps it, and closes it; what is not begun or dropped then becomes
    `Failed` with a `LeftError`. Belongs to one event loop.

    Attributes:
        closed: nothing more begins, not even what waits for its turn already.
        dropping: nothing goes on, either.
    """

    def __init__(self) -> None:
        self.closed = False
        self.dropping = False
        self._inside: set[Passage] = set()

    def close(self) -> None:
        """Let nothing more begin."""
        if not self.closed:
            self.closed = True
            self._cut(all_of_it=False)

    def drop(self) -> None:
        """Close, and let go of everything that is under way."""
        if not self.dropping:
            self.closed = self.dropping = True
            self._cut(all_of_it=True)

    def is_inside(self, passage: Passage) -> bool:
        """Whether it has not left yet."""
        return passage in self._inside

    def _cut(self, *, all_of_it: bool) -> None:
        for passage in self._inside:
            if all_of_it or not passage.under_way:
                passage.let_go()

    async def through(self, begin: Callable[[Passage], Awaitable[T]]) -> T:
        """Do something that waits for its turn first, and return what it returns.

        Args:
            begin: does it, and tells its passage when its turn has come.

        Raises:
            LeftError: closed before its turn, or dropped on the way.
        """
        if self.closed:
            raise LeftError(_STOPPED)
        return await self._inside_of(begin)

    async def to_the_end(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something that is worth finishing even when the valve is closed.

        Raises:
            LeftError: dropped before, or on the way.
        """
        if self.dropping:
            raise LeftError(_STOPPED)

        async def begin(passage: Passage) -> T:
            passage.under_way = True
            return await work()

        return await self._inside_of(begin)

    async def _inside_of(self, begin: Callable[[Passage], Awaitable[T]]) -> T:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a valve is passed inside a task")
        before = task.cancelling()
        passage = Passage(self, task)
        self._inside.add(passage)
        # As asyncio.timeout does it: a cancel scope of anyio would take as long as all else here.
        try:
            return await begin(passage)
        except asyncio.CancelledError:
            if passage.cancelled:
                passage.cancelled = False
                if task.uncancel() <= before:
                    raise LeftError(_STOPPED) from None
            raise
        finally:
            self._inside.discard(passage)
            if passage.cancelled:  # and something else came of it
                task.uncancel()
