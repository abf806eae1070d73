"""How long a server asks us to wait (`Retry-After`, RFC 9110, section 10.2.3), and HTTP dates."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

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

_REMAINING = ("RateLimit-Remaining", "X-RateLimit-Remaining", "X-Rate-Limit-Remaining")
_RESET = (
    "RateLimit-Reset",
    "X-RateLimit-Reset",
    "X-Rate-Limit-Reset",
    "X-RateLimit-Reset-After",
)
_ASKING = frozenset(
    name.lower() for name in ("Retry-After", "Retry-After-Ms", "RateLimit", *_REMAINING, *_RESET)
)

_PART = re.compile(
    r"(?:^|[;,\s])(r|t|remaining|reset)\s*=\s*\"?([0-9]+(?:\.[0-9]+)?)", re.IGNORECASE
)


def of(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """The seconds that a refusal asks to wait, in whichever way it says it; None if it does not.

    ``Retry-After`` comes first. Without it, the reset of a rate limit that is used up:
    ``RateLimit`` (IETF draft ``"default";r=0;t=30``, or the older ``limit=…, remaining=…,
    reset=…``), ``RateLimit-Reset``, ``X-RateLimit-Reset``, ``X-Rate-Limit-Reset`` or
    ``X-RateLimit-Reset-After``, in seconds or as a moment. Moments are compared with the server's
    own ``Date`` where it sends one: its clock and ours may differ.

    Args:
        headers: looked up without regard to case.
        now: our clock (aware); the system's if None.
    """
    if _ASKING.isdisjoint(map(str.lower, headers)):
        return None
    clock = parse_http_date(headers.get("Date") or "") or now or datetime.now(UTC)
    asked = parse(headers.get("Retry-After"), clock)
    if asked is not None:
        return asked
    milliseconds = _number(headers.get("Retry-After-Ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    left, reset = _rate_limit(headers.get("RateLimit"))
    if reset is None:
        left = next(filter(_given, (_number(headers.get(name)) for name in _REMAINING)), None)
        resets = (_moment_or_number(headers.get(name), clock) for name in _RESET)
        reset = next(filter(_given, resets), None)
    if reset is None or left:
        return None
    if reset > _EPOCH * 1000:  # milliseconds since 1970
        reset /= 1000
    return max(0.0, reset - clock.timestamp()) if reset > _EPOCH else reset


def _given(value: float | None) -> bool:
    return value is not None


def _rate_limit(value: str | None) -> tuple[float | None, float | None]:
    """What remains, and the seconds until more does; of several limits, the longest one used up."""
    items = [value or ""] if "reset" in (value or "").lower() else (value or "").split(",")
    longest: tuple[float | None, float | None] = None, None
    for item in items:
        field = {name.lower(): float(number) for name, number in _PART.findall(item)}
        left = field.get("r", field.get("remaining"))
        reset = field.get("t", field.get("reset"))
        if reset is not None and not left and reset >= (longest[1] or 0.0):
            longest = left, reset
    return longest


def _moment_or_number(value: str | None, clock: datetime) -> float | None:
    number = _number(value)
    if number is not None or not value:
        return number
    moment = parse_http_date(value)
    if moment is None:
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - clock).total_seconds())


def _number(value: str | None) -> float | None:
    text = (value or "").strip()
    return min(float(text), sys.float_info.max) if _DELTA.fullmatch(text) else None
