"""How long a server asks us to wait (`Retry-After`, RFC 9110, section 10.2.3), and HTTP dates."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["parse", "parse_http_date"]

_DELTA = re.compile(r"[0-9]+(?:\.[0-9]*)?")
_DATE = re.compile(r"[a-z]{3,9},? .*[0-9]{2}:[0-9]{2}:[0-9]{2}.*", re.IGNORECASE | re.ASCII)


def parse(value: str | None, now: datetime) -> float | None:
    """The seconds to wait, from a number of seconds or from an HTTP date.

    Args:
        value: the header as it came, or None when there was none.
        now: the current time (aware); only dates are compared with it.

    Returns:
        A finite number, 0.0 for a moment that has passed, None for anything that is neither form
        (negative numbers included: they say nothing about when to come back). However large, it
        is not clamped here; that is for the retry policy.
    """
    if value is None:
        return None
    text = value.strip()
    if _DELTA.fullmatch(text):
        return min(float(text), sys.float_info.max)
    moment = parse_http_date(text)
    return None if moment is None else max(0.0, (moment - now).total_seconds())


def parse_http_date(value: str) -> datetime | None:
    """The moment that an HTTP date names (RFC 9110, section 5.6.7), in UTC; None if it is none."""
    if not _DATE.fullmatch(value):
        return None
    try:
        moment = parsedate_to_datetime(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
