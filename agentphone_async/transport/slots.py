"""So many at a time, first come, first served, and the number may change meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from agentphone_async.errors import RunStoppedError


class Slots:
    """A semaphore whose number changes, and whose waiters can all be sent away.

    Who finds one free counts itself in ``held``; else it waits.

    Attributes:
        limit: how many may be held.
        held: how many are.
        waiters: who waits, in order.
    """

    __slots__ = ("held", "limit", "waiters")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self.waiters: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        """Wait for one, which is held afterwards. A cancelled waiter leaves no trace.

        Raises:
            RunStoppedError: sent away meanwhile.
        """
        waiter = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        try:
            await waiter
        except BaseException:
            if not waiter.done() or waiter.cancelled():
                with suppress(ValueError):  # sending away has removed it
                    self.waiters.remove(waiter)
            elif waiter.exception() is None:
                self.held -= 1  # granted in the same moment as cancelled: pass it on
            self.admit()
            raise

    def admit(self) -> None:
        """Give those that are free to who waits longest."""
        waiters = self.waiters
        while self.held < self.limit and waiters:
            if waiters[0].done():  # cancelled; it removes itself and calls here again
                return
            waiters.popleft().set_result(None)
            self.held += 1

    def send_away(self) -> None:
        """End all waiting with a `RunStoppedError`."""
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_exception(RunStoppedError())
