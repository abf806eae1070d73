"""How long a server asks us to wait (`Retry-After`, RFC 9110, section 10.2.3), and HTTP dates."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["of", "parse", "parse_http_date"]

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


_EPOCH = 1_000_000_000
"""Seconds; a reset beyond this is a moment since 1970 and no delay."""

_PART = re.compile(
    r"(?:^|[;,\s])(r|t|remaining|reset)\s*=\s*\"?([0-9]+(?:\.[0-9]+)?)", re.IGNORECASE
)


def of(headers: Mapping[str, str], now: datetime) -> float | None:
    """The seconds that a refusal asks to wait, in whichever way it says it; None if it does not.

    ``Retry-After`` comes first. Without it, the reset of a rate limit that is used up:
    ``RateLimit`` (IETF draft ``"default";r=0;t=30``, or the older ``limit=…, remaining=…,
    reset=…``), ``RateLimit-Reset``, ``X-RateLimit-Reset`` or ``X-RateLimit-Reset-After``, in
    seconds or as a moment. Moments are compared with the server's own ``Date`` where it sends
    one: its clock and ours may differ.

    Args:
        headers: looked up without regard to case.
        now: our clock (aware).
    """
    clock = parse_http_date(headers.get("Date") or "") or now
    asked = parse(headers.get("Retry-After"), clock)
    if asked is not None:
        return asked
    field = dict(_parts(headers.get("RateLimit")))
    reset = field.get("t", field.get("reset"))
    left = field.get("r", field.get("remaining"))
    if reset is None:
        left = _number(headers.get("RateLimit-Remaining") or headers.get("X-RateLimit-Remaining"))
        for name in ("RateLimit-Reset", "X-RateLimit-Reset", "X-RateLimit-Reset-After"):
            reset = _number(headers.get(name))
            if reset is not None:
                break
            moment = parse_http_date(headers.get(name) or "")
            if moment is not None:
                reset = max(0.0, (moment - clock).total_seconds())
                break
    if reset is None or left:
        return None
    if reset > _EPOCH * 1000:  # milliseconds since 1970
        reset /= 1000
    return max(0.0, reset - clock.timestamp()) if reset > _EPOCH else reset


def _parts(value: str | None) -> list[tuple[str, float]]:
    return [(name.lower(), float(number)) for name, number in _PART.findall(value or "")]


def _number(value: str | None) -> float | None:
    text = (value or "").strip()
    return min(float(text), sys.float_info.max) if _DELTA.fullmatch(text) else None
