"""A list of calls that can be awaited for one page or iterated over all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any

from agentphone_async.models import Call, CallPage, RowProblem
from agentphone_async.protocol.endpoints import PAGE_SIZE_LIMIT
from agentphone_async.protocol.paging import Crawl

ONE_PAGE = 20
"""Calls on a page that is awaited without a ``limit``, as the API and the official SDK have it."""

PageOf = Callable[[int, int], Callable[[], Coroutine[Any, Any, CallPage]]]
"""Checks a limit and an offset, and gives what fetches the page."""


class CallListing(Coroutine[Any, Any, CallPage]):
    """Calls, page by page.

    ``await listing`` gives one `CallPage`; it may also become a task (``create_task``), as the
    coroutine may that the official SDK returns. ``async for call in listing`` walks over all pages
    and gives every call once, whatever the server inserts, removes or repeats meanwhile.

    Attributes:
        complete: True after a walk that saw every call which existed throughout; False before its
            end, and after one whose server lost calls or went in circles.
        problems: rows that could not be read during the last walk.
        total: the number of calls, as the server told last; None if it does not tell.
    """

    def __init__(self, page_of: PageOf, *, limit: int | None, offset: int) -> None:
        self._page_of = page_of
        self._limit = limit
        self._offset = offset
        self._task: Coroutine[Any, Any, CallPage] | None = None
        self.complete = False
        self.problems: list[RowProblem] = []
        self.total: int | None = None
        page_of(ONE_PAGE if limit is None else limit, offset)  # bad values: at once

    def __await__(self) -> Generator[Any, None, CallPage]:
        return self._one_page().__await__()

    def send(self, value: Any) -> Any:
        """Continue with the coroutine that a task makes of this."""
        return self._as_coroutine().send(value)

    def throw(self, *error: Any) -> Any:
        """Let that coroutine fail where it is."""
        return self._as_coroutine().throw(*error)

    def close(self) -> None:
        """End that coroutine, if there is one."""
        if self._task is not None:
            self._task.close()

    def _as_coroutine(self) -> Coroutine[Any, Any, CallPage]:
        self._task = self._task or self._one_page()
        return self._task

    def _one_page(self) -> Coroutine[Any, Any, CallPage]:
        limit = ONE_PAGE if self._limit is None else self._limit
        return self._page_of(limit, self._offset)()

    async def __aiter__(self) -> AsyncGenerator[Call]:
        """All calls from the offset on, each once.

        When half of a page has been taken, the next one is fetched meanwhile; never more.

        Raises:
            AgentPhoneError: a page could not be fetched, after all attempts; what was on the pages
                before it was given.
        """
        crawl = Crawl(PAGE_SIZE_LIMIT if self._limit is None else self._limit, self._offset)
        self.complete = False
        self.problems = []
        ahead: asyncio.Task[CallPage] | None = None
        try:
            while not crawl.done:
                page = await (ahead or self._page_of(crawl.limit, crawl.offset)())
                ahead = None
                new = self._take(crawl, page)
                for taken, place in enumerate(new):
                    if taken == len(new) // 2:
                        ahead = self._ahead(crawl)
                    yield page.data[place]
        finally:
            if ahead is not None:
                ahead.cancel()
                # Its result, even an error, is of no interest to one who does not read on.
                await asyncio.gather(ahead, return_exceptions=True)
        self.complete = crawl.complete

    def _take(self, crawl: Crawl, page: CallPage) -> list[int]:
        self.problems += page.problems
        new = crawl.take(
            [call.id for call in page.data],
            rows=len(page.data) + len(page.problems),
            has_more=said if isinstance(said := page.raw.get("hasMore"), bool) else None,
            total=page.total,
        )
        self.total = crawl.total
        return new

    def _ahead(self, crawl: Crawl) -> asyncio.Task[CallPage] | None:
        if crawl.done:
            return None
        return asyncio.create_task(self._page_of(crawl.limit, crawl.offset)())
