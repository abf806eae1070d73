"""The parts that a run of many downloads is put together from: bounded queues.

Passing an item through an ``anyio`` memory stream costs two trips through the event loop, and an
``asyncio.Queue`` cannot be closed before Python 3.13; a recording passes two queues, so both matter
here.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
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


@dataclass(slots=True, eq=False)
class Queue(Generic[T]):
    """A bounded queue for one event loop, closed when all of its producers are done.

    Attributes:
        size: items that it holds at most; `put` waits while it is full.
        producers: how many tasks put into it; it is closed when each has called `done`.
        items: keeps them; first in, first out by default.
        held: items that are in it now.
    """

    size: int
    producers: int = field(default=1, kw_only=True)
    items: Items[T] = field(default_factory=deque, kw_only=True)
    held: int = field(default=0, init=False)
    _getters: deque[asyncio.Future[None]] = field(default_factory=deque, init=False)
    _putters: deque[asyncio.Future[None]] = field(default_factory=deque, init=False)

    async def put(self, item: T) -> None:
        """Add an item, when there is room."""
        while self.held >= self.size:
            await _wait_in(self._putters)
        self.items.append(item)
        self.held += 1
        if self._getters:
            _wake_one(self._getters)

    async def get(self) -> T:
        """Take the next item, when there is one.

        Raises:
            Closed: there is none, and none will come.
        """
        while not self.held:
            if not self.producers:
                raise Closed
            await _wait_in(self._getters)
        item = self.items.popleft()
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
                if not self.producers:
                    raise Closed
                await _wait_in(self._getters)
            if linger and self.producers and self.held < most:
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
            taken.append(self.items.popleft())
            self.held -= 1
            if self._putters:
                _wake_one(self._putters)
        return taken

    def done(self) -> None:
        """One producer will put nothing more."""
        self.producers -= 1
        if not self.producers:
            while self._getters:
                _wake_one(self._getters)

    def close(self) -> None:
        """No producer will put anything more, whether it said so or not."""
        self.producers = 1
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


@dataclass(slots=True, eq=False)
class LongestFirst(Generic[T]):
    """The items of a bounded queue, the longest first, so that no run ends on one straggler.

    Scheduling the longest job first is never worse than 4/3 of the best possible makespan (Graham
    1969), where arrival order may be almost 2. Among items of equal length, the first that came is
    the first that goes. One whose length is not known counts as the median of those known (or all
    are alike, if none is).

    Attributes:
        length: how long an item is, in any unit (``duration_seconds`` of a call); None if
            not known.
        patience: later items by which one is overtaken at most; then it goes next, whatever its
            length, so that an infinite stream starves nothing.
    """

    length: Callable[[T], float | None]
    patience: int
    _numbers: Iterator[int] = field(default_factory=count, init=False)
    _taken: int = field(default=0, init=False)
    # Ascending by (length, -number): the last is the longest, and the first to come of those.
    _known: list[tuple[float, int]] = field(default_factory=list, init=False)
    _unknown: deque[int] = field(default_factory=deque, init=False)
    # By number, the oldest first: how many were taken when it came, its place in the order.
    _items: dict[int, tuple[int, tuple[float, int] | None, T]] = field(
        default_factory=dict, init=False
    )

    def append(self, item: T, /) -> None:
        """Add an item."""
        number, length = next(self._numbers), self.length(item)
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
        if known and self._taken - came < self.patience:
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
