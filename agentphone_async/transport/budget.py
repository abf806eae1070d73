"""Bytes in memory, or requests under way: so much at a time, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from agentphone_async.errors import RunStoppedError


class Budget:
    """``total`` of something, lent in the order in which it was asked for.

    A request larger than the total is granted when nothing else is out, so that a recording
    larger than the budget is slow instead of stuck. Nobody overtakes: a small request waits
    behind a large one. A cancelled waiter leaves nothing behind.

    Args:
        total: greater than 0.

    Attributes:
        total: how much may be out; after a change, `admit`.
        held: how much is.
        waiters: who waits, and for how much, in order.
    """

    __slots__ = ("held", "total", "waiters")

    def __init__(self, total: int) -> None:
        if total <= 0:
            raise ValueError(f"a budget must be greater than 0, not {total}")
        self.total = total
        self.held = 0
        self.waiters: deque[tuple[asyncio.Future[None], int]] = deque()

    def try_acquire(self, amount: int = 1) -> bool:
        """Take ``amount`` if that needs no waiting; False, and nothing taken, otherwise."""
        held = self.held + amount
        if self.waiters or not (held <= self.total or held == amount):
            return False
        self.held = held
        return True

    async def acquire(self, amount: int = 1) -> None:
        """Take ``amount``; returns without a task switch when it is free.

        Raises:
            RunStoppedError: sent away meanwhile.
        """
        if self.try_acquire(amount):
            return
        waiter = asyncio.get_running_loop().create_future()
        entry = (waiter, amount)
        self.waiters.append(entry)
        try:
            await waiter
        except BaseException:
            if not waiter.done() or waiter.cancelled():
                with suppress(ValueError):  # sending away has removed it
                    self.waiters.remove(entry)
            elif waiter.exception() is None:
                self.held -= amount  # granted in the same moment as cancelled: pass it on
            self.admit()
            raise

    def release(self, amount: int = 1) -> None:
        """Give ``amount`` back; parts of what was acquired may be given back singly."""
        if amount > self.held:
            raise RuntimeError(f"{amount} given back, but only {self.held} are out")
        self.held -= amount
        if self.waiters:
            self.admit()

    def admit(self) -> None:
        """Give what is free to who waits longest."""
        while self.waiters:
            waiter, amount = self.waiters[0]
            if waiter.done():  # cancelled; it removes itself and calls here again
                return
            held = self.held + amount
            if not (held <= self.total or held == amount):
                return
            self.waiters.popleft()
            self.held = held
            waiter.set_result(None)

    def send_away(self) -> None:
        """End all waiting with a `RunStoppedError`."""
        while self.waiters:
            waiter, _ = self.waiters.popleft()
            if not waiter.done():
                waiter.set_exception(RunStoppedError())
