"""A bound on the bytes that all workers together may hold in memory."""

from __future__ import annotations

import asyncio
from collections import deque


class ByteBudget:
    """``total`` bytes, lent in the order in which they were asked for.

    A request larger than the total is granted when nothing else is out, so that a recording
    larger than the budget is slow instead of stuck. Nobody overtakes: a small request waits
    behind a large one. A cancelled waiter leaves nothing behind.

    Args:
        total: bytes, greater than 0.
    """

    __slots__ = ("_held", "_waiters", "total")

    def __init__(self, total: int) -> None:
        if total <= 0:
            raise ValueError(f"a byte budget must be greater than 0, not {total}")
        self.total = total
        self._held = 0
        self._waiters: deque[tuple[asyncio.Future[None], int]] = deque()

    @property
    def held(self) -> int:
        """Bytes that are lent now."""
        return self._held

    def try_acquire(self, amount: int) -> bool:
        """Take ``amount`` bytes if that needs no waiting; False, and nothing taken, otherwise."""
        held = self._held + amount
        if self._waiters or not (held <= self.total or held == amount):
            return False
        self._held = held
        return True

    async def acquire(self, amount: int) -> None:
        """Take ``amount`` bytes; returns without a task switch when they are free."""
        if self.try_acquire(amount):
            return
        waiter = asyncio.get_running_loop().create_future()
        entry = (waiter, amount)
        self._waiters.append(entry)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release(amount)  # granted in the same moment as cancelled
            else:
                self._waiters.remove(entry)
                self._admit()
            raise

    def release(self, amount: int) -> None:
        """Give ``amount`` bytes back; parts of what was acquired may be given back singly."""
        if amount > self._held:
            raise RuntimeError(f"{amount} bytes given back, but only {self._held} are out")
        self._held -= amount
        if self._waiters:
            self._admit()

    def _admit(self) -> None:
        while self._waiters:
            waiter, amount = self._waiters[0]
            if waiter.done():  # cancelled, and about to remove itself
                return
            held = self._held + amount
            if not (held <= self.total or held == amount):
                return
            self._waiters.popleft()
            self._held = held
            waiter.set_result(None)
