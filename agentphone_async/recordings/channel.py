"""A bounded channel between stages: cheap when nothing has to wait, closed by its makers.

Passing an item through an ``anyio`` memory stream costs two trips through the event loop, and an
``asyncio.Queue`` cannot be closed before Python 3.13; a recording passes three channels, so both
matter here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class Shelf(Protocol[T]):
    """What a channel keeps its items on; it decides which one comes next."""

    def __len__(self) -> int: ...

    def push(self, item: T) -> None:
        """Put an item there."""

    def pop(self) -> T:
        """Take the next one."""


class InOrder(Generic[T]):
    """First in, first out."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def push(self, item: T) -> None:
        """Put an item at the end."""
        self._items.append(item)

    def pop(self) -> T:
        """Take the first one."""
        return self._items.popleft()


class Closed(Exception):  # noqa: N818 - a signal like StopIteration, not an error
    """The channel is empty, and nothing will come any more."""


class Channel(Generic[T]):
    """A bounded channel for one event loop.

    Args:
        size: items that it holds at most; `put` waits while it is full.
        makers: how many tasks put into it; it is closed when each has called `done`.
        shelf: keeps the items; first in, first out by default.
    """

    def __init__(self, size: int, *, makers: int = 1, shelf: Shelf[T] | None = None) -> None:
        self._size = size
        self._makers = makers
        self._shelf: Shelf[T] = shelf if shelf is not None else InOrder()
        self._getters: deque[asyncio.Future[None]] = deque()
        self._putters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._shelf)

    async def put(self, item: T) -> None:
        """Add an item, when there is room."""
        while len(self._shelf) >= self._size:
            await self._wait_in(self._putters)
        self._shelf.push(item)
        _wake_one(self._getters)

    async def filled(self) -> None:
        """Return when there is an item; for a taker that is alone, since it wakes no other.

        Raises:
            Closed: there is none, and none will come.
        """
        while not len(self._shelf):
            if not self._makers:
                raise Closed
            await self._wait_in(self._getters)

    async def get(self) -> T:
        """Take the next item, when there is one.

        Raises:
            Closed: there is none, and none will come.
        """
        if not len(self._shelf):
            await self.filled()
        item = self._shelf.pop()
        _wake_one(self._putters)
        return item

    async def drain(self, most: int, *, linger: float = 0.0) -> list[T]:
        """Take all that is there, ``most`` at the most, when there is at least one.

        Args:
            most: items.
            linger: seconds to let more come, once there is one.

        Raises:
            Closed: there is none, and none will come.
        """
        items = [await self.get()]
        if linger and self._makers and len(self._shelf) < most - 1:
            await asyncio.sleep(linger)
        while len(items) < most and len(self._shelf):
            items.append(self._shelf.pop())
            _wake_one(self._putters)
        return items

    def done(self) -> None:
        """One maker will put nothing more."""
        self._makers -= 1
        if not self._makers:
            while self._getters:
                _wake_one(self._getters)

    def abandon(self) -> None:
        """No maker will put anything more, whether it said so or not."""
        self._makers = 1
        self.done()

    async def _wait_in(self, queue: deque[asyncio.Future[None]]) -> None:
        waiter = asyncio.get_running_loop().create_future()
        queue.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter.cancelled():
                with suppress(ValueError):  # passed over already
                    queue.remove(waiter)
            else:
                _wake_one(queue)  # woken and cancelled at once: the next one takes the turn
            raise


def _wake_one(queue: deque[asyncio.Future[None]]) -> None:
    while queue:
        waiter = queue.popleft()
        if not waiter.done():
            waiter.set_result(None)
            return
