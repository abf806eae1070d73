"""Does a list prove that it is newest-first, and that the rest of it is old news? Pure.

The API promises no order. So a run that wants recent calls stops listing early only where the list
itself shows that it may: every page so far went back in time, and whole pages lie before what is
asked for and hold no call that the catalog does not know.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agentphone_async.models import Call
from agentphone_async.protocol.endpoints import PAGE_SIZE_LIMIT
from agentphone_async.protocol.paging import OVERLAP

TOLERANCE = timedelta(hours=1)
"""A call may stand so much too late in the list."""

PAGES = 3
"""Whole pages of old and known calls after which the rest is taken for the same."""


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
