"""The list of calls as it comes in: a task that walks the pages, and batches for who takes them.

The API promises no order. So a run that wants recent calls stops listing early only where the list
itself shows that it may: every page so far went back in time, and whole pages lie before what is
asked for and hold no call that the catalog does not know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Collection, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from agentphone_async.errors import (
    AgentPhoneError,
    AuthenticationError,
    ConfigurationError,
    PermissionDeniedError,
)
from agentphone_async.models import Call, RowProblem
from agentphone_async.protocol.endpoints import PAGE_SIZE_LIMIT
from agentphone_async.protocol.paging import OVERLAP
from agentphone_async.recordings.jobs import refuse_single
from agentphone_async.recordings.pipeline import Closed, Queue

BATCH = 256
"""Calls that are looked up in the catalog at once."""

SMALL_BATCH = 40
"""The same in a run that may leave the list early."""

FATAL = (AuthenticationError, PermissionDeniedError, ConfigurationError)
"""Errors of the list after which the rest of the run makes no sense."""

TOLERANCE = timedelta(hours=1)
"""A call may stand so much too late in the list."""

PAGES = 3
"""Whole pages of old and known calls after which the rest is taken for the same."""

_REFUSALS = frozenset({400, 404, 409, 413, 414, 416, 422})
_FIRST_PAGES = 100


class Listing(Protocol):
    """What `AsyncAgentPhone.calls.list` returns."""

    complete: bool
    problems: list[RowProblem]

    def __aiter__(self) -> AsyncGenerator[Call]:
        """All calls, each once."""


class GivenCalls:
    """Calls that the caller has chosen, in the place of a list.

    Raises:
        ConfigurationError: it is one call, or nothing to iterate over.
    """

    def __init__(self, calls: Iterable[Call] | AsyncIterable[Call]) -> None:
        refuse_single(calls, "calls", "use a list of calls")
        self._calls = calls
        self.complete = False
        self.problems: list[RowProblem] = []

    async def __aiter__(self) -> AsyncGenerator[Call]:
        """All of them."""
        if isinstance(self._calls, AsyncIterable):
            async for call in self._calls:
                yield call
        else:
            for call in self._calls:
                yield call
        self.complete = True


class Prefetcher:
    """Walks a list in a task of its own, at most one batch ahead.

    Args:
        listing: the calls.
        recent: the rest of the list may turn out not to be needed: no more than one page is
            fetched ahead of what was taken.

    Attributes:
        listed: calls so far.
        error: what ended the walk early; None if nothing did.
    """

    def __init__(self, listing: Listing, *, recent: bool = False) -> None:
        self._listing = listing
        self._batch = SMALL_BATCH if recent else BATCH
        self._queue = Queue[Call](self._batch)
        self._task: asyncio.Task[None] | None = None
        self._first: list[Call] = []
        self.listed = 0
        self.error: AgentPhoneError | None = None

    @property
    def empty_handed(self) -> bool:
        """Whether not a single call has come so far."""
        return not self.listed

    @property
    def complete(self) -> bool:
        """Whether the walk is over, and saw every call that existed throughout."""
        return self._listing.complete and self.error is None

    @property
    def problems(self) -> list[RowProblem]:
        """Rows that could not be read."""
        return self._listing.problems

    async def open(self) -> None:
        """Start, and return when the first page is there.

        Raises:
            AgentPhoneError: there is not a single page.
        """
        self._task = asyncio.create_task(self._walk(), name="agentphone-list")
        with suppress(Closed):
            self._first = await self._queue.drain(self._batch)
        if not self._first:
            await self._over()
            if self.error is not None:
                raise self.error

    async def batches(self) -> AsyncGenerator[list[Call]]:
        """The calls, in lists of what is there at a time.

        Raises:
            AuthenticationError, PermissionDeniedError, ConfigurationError: the key was refused in
                the middle. Other errors end the walk and are kept in `error`.
        """
        batch, self._first = self._first, []
        with suppress(Closed):
            while True:
                if batch:
                    yield batch
                batch = await self._queue.drain(self._batch)
        await self._over()
        if isinstance(self.error, FATAL):
            raise self.error

    @property
    def cut_off(self) -> bool:
        """Whether the server refused to continue the list, as from an offset that is too large."""
        status = getattr(self.error, "status", None)
        return status in _REFUSALS and self.listed >= _FIRST_PAGES

    def fail(self, error: AgentPhoneError) -> None:
        """Something that belongs to the list could not be fetched."""
        self.error = self.error or error

    def stop(self) -> None:
        """Walk no further."""
        if self._task is not None:
            self._task.cancel()

    async def aclose(self) -> None:
        """Stop, and wait until that has happened."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.exception()  # seen; it was raised above unless the run ended first

    async def _over(self) -> None:
        """Wait for the end of the walk; an error that nobody foresaw is raised."""
        if self._task is not None:
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()

    async def _walk(self) -> None:
        try:
            async with aclosing(aiter(self._listing)) as calls:
                async for call in calls:
                    self.listed += 1
                    await self._queue.put(call)
        except AgentPhoneError as error:
            self.error = error
        finally:
            self._queue.close()


@dataclass(slots=True)
class NewestFirst:
    """What the pages of one walk have shown so far.

    Attributes:
        since: calls from here on are asked for; None for all.
        broken: the list is not newest-first.
    """

    since: datetime | None
    broken: bool = False
    _lowest: datetime | None = field(default=None)
    _old: int = 0

    def add(self, calls: Iterable[Call], unknown: Collection[str]) -> None:
        """Look at the next calls of the list, some of which the catalog did not know."""
        for call in calls:
            began = call.started_at
            if began is None:
                continue
            if self._lowest is None or began < self._lowest:
                self._lowest = began
            elif began > self._lowest + TOLERANCE:
                self.broken = True
            old = self.since is not None and began < self.since and call.id not in unknown
            self._old = self._old + 1 if old else 0

    @property
    def proved(self) -> bool:
        """Whether the rest of the list need not be read."""
        return not self.broken and self._old >= PAGES * (PAGE_SIZE_LIMIT - OVERLAP)

    @property
    def seen_since(self) -> datetime | None:
        """From where on every call was seen, if the walk has ended here; None if nobody knows."""
        return None if self.broken or self._lowest is None else self._lowest + TOLERANCE
