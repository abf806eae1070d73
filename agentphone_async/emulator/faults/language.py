"""Faults as one line of text: ``route=recording,status=503,times=3,retry_after=2``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from agentphone_async import quantities
from agentphone_async.emulator.faults.fault import Fault, FaultFields

_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


def parse_fault(text: str) -> Fault:
    """Read a fault from ``key=value`` pairs with commas between them.

    Keys are those of ``Fault``, with hyphens or underscores; a key alone switches something
    on; ``header.NAME=VALUE`` adds a header. Sizes are like ``24k``, ``2M`` or ``2MB``,
    times like ``0.5``, ``80ms`` or ``10m``.

    Raises:
        ValueError: In one line: what is not understood, and what would be.
    """
    fields: dict[str, Any] = {}
    headers: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key.lower().startswith("header."):
            headers[key[len("header.") :]] = value
            continue
        name = key.replace("-", "_")
        reader = _READERS.get(name)
        if reader is None:
            raise ValueError(f"unknown key {key!r} (one of {', '.join(_READERS)}, header.NAME)")
        if name in fields:
            raise ValueError(f"{key} is given twice")
        try:
            fields[name] = reader(value if equals else "true")
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error
    if not fields.keys() | headers.keys():
        raise ValueError("it says nothing; try route=recording,status=503,times=3")
    return Fault(**_typed(fields | {"headers": headers}))


def parse_size(text: str) -> int:
    """A number of bytes, like ``24k``, ``2M`` or ``2MB``, as everywhere; it may be negative.

    Raises:
        ValueError: It is not one.
    """
    plain = text.strip()
    size = quantities.parse_size(plain.removeprefix("-"))
    return -size if plain.startswith("-") else size


def parse_seconds(text: str) -> float:
    """Seconds of a duration like ``0.5``, ``80ms`` or ``10m``, as everywhere; ``inf`` is forever.

    Raises:
        ValueError: It is not one.
    """
    if text.strip().lower() == "inf":
        return math.inf
    return quantities.parse_duration(text).total_seconds()


def _typed(fields: dict[str, Any]) -> FaultFields:
    return fields  # type: ignore[return-value] # every reader returns what its field takes


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a whole number") from error


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a number") from error


def _chance(text: str) -> float:
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a probability, like 0.1 or 10%") from error


def _switch(text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise ValueError(f"{text!r} is neither true nor false")


def _place(text: str) -> int | str:
    return text if text in {"connection", "headers"} else parse_size(text)


def _wait(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


_READERS: dict[str, Callable[[str], object]] = {
    "route": str,
    "call_id": str,
    "times": _whole,
    "skip": _whole,
    "per_call": _switch,
    "probability": _chance,
    "processed": _switch,
    "status": _whole,
    "error_shape": str,
    "retry_after": _wait,
    "body": str,
    "media_type": str,
    "html": _switch,
    "mpeg": _switch,
    "wav": str,
    "gzip": _switch,
    "gzip_bomb": parse_size,
    "coding": str,
    "redirect": str,
    "expired_redirect": _switch,
    "redirect_status": _whole,
    "ignore_range": _switch,
    "shift_range": parse_size,
    "content_range": str,
    "etag": str,
    "change_recording": _switch,
    "delay": parse_seconds,
    "bandwidth": parse_size,
    "framing": str,
    "content_length": parse_size,
    "length_off_by": parse_size,
    "truncate": parse_size,
    "reset": _place,
    "stall": _place,
    "after_events": _whole,
    "surplus": parse_size,
    "endless": _switch,
    "hang_up": _switch,
    "arrive": _whole,
    "vanish": _whole,
    "page": str,
    "concurrency_limit": _whole,
    "rate_limit": _number,
    "limit_headers": str,
    "maintenance": _switch,
    "not_ready_status": _whole,
    "offset_limit": _whole,
    "cut_every": parse_size,
    "duplicate_answer": _switch,
    "late_answer": _switch,
    "drip_extensions": _switch,
    "other_call": _switch,
    "webhook": str,
    "numeric_ids": _switch,
    "call_status": str,
    "recording_available": str,
    "recording_url": str,
}
