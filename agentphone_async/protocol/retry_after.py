"""How long a server asks us to wait (`Retry-After`, RFC 9110, section 10.2.3)."""

from __future__ import annotations

import re
import sys
from datetime import datetime

from agentphone_async.protocol.http_date import parse_http_date

__all__ = ["parse"]

_DELTA = re.compile(r"[0-9]+(?:\.[0-9]*)?")


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
    moment = parse_http_date(text, now)
    return None if moment is None else max(0.0, (moment - now).total_seconds())
