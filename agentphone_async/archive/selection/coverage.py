"""Up to when an archive has seen everything, told from what its runs were asked and what they saw.

Pure: no clock, no catalog.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

BEGINNING = datetime.min.replace(tzinfo=UTC)
"""Before every call."""


@dataclass(frozen=True, slots=True)
class Span:
    """What one run was asked, and how far it has seen.

    Attributes:
        since: calls from here on were asked for; None for all that there ever were.
        covered_until: all of them up to here were seen; None if the run was not complete.
    """

    since: datetime | None
    covered_until: datetime | None


def covered_without_gap(spans: Iterable[Span]) -> datetime:
    """Up to when everything was seen that was ever asked for; `BEGINNING` if nothing is certain.

    What an incomplete run was asked, and no complete one has seen, is still owed; and what lies
    between two complete runs was seen by neither.
    """
    asked = [(span.since or BEGINNING, span.covered_until) for span in spans]
    mark = min((since for since, _ in asked), default=BEGINNING)
    seen = sorted((since, until) for since, until in asked if until is not None)
    for since, until in seen:
        if since > mark:
            break
        mark = max(mark, until)
    return mark
