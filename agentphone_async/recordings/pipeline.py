"""The parts that a run of many downloads is put together from: bounded queues.

Passing an item through an ``anyio`` memory stream costs two trips through the event loop, and an
``asyncio.Queue`` cannot be closed before Python 3.13; a recording passes two queues, so both matter
here.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from itertools import count
from math import isnan
from typing import Generic, Protocol, TypeVar

import anyio

T = TypeVar("T")


class Items(Protocol[T]):
    """What a queue keeps its items in; a ``deque``, or something that knows a better order."""

    def append(self, item: T, /) -> None:
        """Put an item in."""

    def popleft(self) -> T:
        """Take the next one out."""


class Closed(Exception):  # noqa: N818 - a signal like StopIteration, not an error
    """The queue is empty, and nothing will come any more."""


class Queue(Generic[T]):
    """A bounded queue for one event loop, closed when all of its producers are done.

    Args:
        size: items that it holds at most; `put` waits while it is full.
        producers: how many tasks put into it; it is closed when each has called `done`.
        items: keeps them; first in, first out by default.

    Attributes:
        held: items that are in it now.
    """

    def __init__(self, size: int, *, producers: int = 1, items: Items[T] | None = None) -> None:
        self._size = size
        self._producers = producers
        self._items: Items[T] = deque() if items is None else items
        self.held = 0
        self._getters: deque[asyncio.Future[None]] = deque()
        self._putters: deque[asyncio.Future[None]] = deque()

    async def put(self, item: T) -> None:
        """Add an item, when there is room."""
        while self.held >= self._size:
            await _wait_in(self._putters)
        self._items.append(item)
        self.held += 1
        if self._getters:
            _wake_one(self._getters)

    async def get(self) -> T:
        """Take the next item, when there is one.

        Raises:
            Closed: there is none, and none will come.
        """
        while not self.held:
            if not self._producers:
                raise Closed
            await _wait_in(self._getters)
        item = self._items.popleft()
        self.held -= 1
        if self._putters:
            _wake_one(self._putters)
        return item

    async def drain(self, most: int, *, linger: float = 0.0) -> list[T]:
        """Take all that is there, ``most`` at the most, when there is at least one.

        Nothing has been taken if this is cancelled.

        Args:
            most: items.
            linger: seconds to let more come, once there is one.

        Raises:
            Closed: there is none, and none will come.
        """
        while True:
            while not self.held:
                if not self._producers:
                    raise Closed
                await _wait_in(self._getters)
            if linger and self._producers and self.held < most:
                try:
                    await asyncio.sleep(linger)
                except BaseException:
                    _wake_one(self._getters)  # what woke us is still there
                    raise
            if taken := self.take(most):
                return taken

    def take(self, most: int) -> list[T]:
        """Take what is there now, ``most`` at the most, without waiting."""
        taken: list[T] = []
        while self.held and len(taken) < most:
            taken.append(self._items.popleft())
            self.held -= 1
            if self._putters:
                _wake_one(self._putters)
        return taken

    def done(self) -> None:
        """One producer will put nothing more."""
        self._producers -= 1
        if not self._producers:
            while self._getters:
                _wake_one(self._getters)

    def close(self) -> None:
        """No producer will put anything more, whether it said so or not."""
        self._producers = 1
        self.done()


async def _wait_in(line: deque[asyncio.Future[None]]) -> None:
    waiter = asyncio.get_running_loop().create_future()
    line.append(waiter)
    try:
        await waiter
    except BaseException:
        if waiter.cancelled():
            with suppress(ValueError):  # passed over already
                line.remove(waiter)
        else:
            _wake_one(line)  # woken and cancelled at once: the next one takes the turn
        raise


def _wake_one(line: deque[asyncio.Future[None]]) -> None:
    while line:
        waiter = line.popleft()
        if not waiter.done():
            waiter.set_result(None)
            return


class LongestFirst(Generic[T]):
    """The items of a bounded queue, the longest first, so that no run ends on one straggler.

    Scheduling the longest job first is never worse than 4/3 of the best possible makespan (Graham
    1969), where arrival order may be almost 2. Among items of equal length, the first that came is
    the first that goes. One whose length is not known counts as the median of those known (or all
    are alike, if none is).

    Args:
        length: how long an item is, in any unit (``duration_seconds`` of a call); None if
            not known.
        patience: later items by which one is overtaken at most; then it goes next, whatever its
            length, so that an infinite stream starves nothing.
    """

    def __init__(self, length: Callable[[T], float | None], patience: int) -> None:
        self._length = length
        self._patience = patience
        self._numbers = count()
        self._taken = 0
        # Ascending by (length, -number): the last is the longest, and the first to come of those.
        self._known: list[tuple[float, int]] = []
        self._unknown: deque[int] = deque()
        # By number, the oldest first: how many were taken when it came, its place in the order.
        self._items: dict[int, tuple[int, tuple[float, int] | None, T]] = {}

    def append(self, item: T, /) -> None:
        """Add an item."""
        number, length = next(self._numbers), self._length(item)
        place = None
        if length is None or isnan(length):  # NaN has no place in any order
            self._unknown.append(number)
        else:
            insort(self._known, place := (length, -number))
        self._items[number] = self._taken, place, item

    def popleft(self) -> T:
        """Remove and return the next item; there must be one."""
        known, unknown = self._known, self._unknown
        number, (came, place, _) = next(iter(self._items.items()))
        if known and self._taken - came < self._patience:
            place = known[-1]
            number = -place[1]
            if unknown and (known[len(known) // 2][0], -unknown[0]) > place:
                number, place = unknown[0], None
        if place is None:
            unknown.popleft()
        else:
            del known[bisect_left(known, place)]
        self._taken += 1
        return self._items.pop(number)[2]


def first_of(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure that began it; the others followed from it."""
    first: BaseException = failures
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


async def work_on(
    items: Iterable[T], work: Callable[[T], Awaitable[object]], *, at_once: int
) -> None:
    """Await ``work(item)`` for every item, at most ``at_once`` at a time.

    Raises:
        Exception: the first one that ``work`` raises, as it is; the others are cancelled.
    """
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    try:
        async with anyio.create_task_group() as group:
            for _ in range(at_once):
                group.start_soon(worker)
    except BaseExceptionGroup as failures:
        raise first_of(failures) from failures
