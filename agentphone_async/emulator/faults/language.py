"""Faults as one line of text: ``route=recording,status=503,times=3,retry_after=2``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
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
    found: dict[str, Any] = {}
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
        if name in found:
            raise ValueError(f"{key} is given twice")
        try:
            found[name] = reader(value if equals else "true")
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error
    if not found.keys() | headers.keys():
        raise ValueError("it says nothing; try route=recording,status=503,times=3")
    return Fault(**_typed(found | {"headers": headers}))


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


def _typed(found: dict[str, Any]) -> FaultFields:
    return found  # type: ignore[return-value] # every reader returns what its field takes


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


_SPECIAL: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(("reset", "stall"), _place),
    **dict.fromkeys(
        ("gzip_bomb", "shift_range", "bandwidth", "content_length", "length_off_by", "truncate",
         "surplus", "cut_every"),
        parse_size,
    ),
    "delay": parse_seconds,
    "probability": _chance,
    "retry_after": _wait,
}  # fmt: skip
"""Fields that are more than their type says: sizes, times, places."""

_BY_TYPE: dict[str, Callable[[str], object]] = {"bool": _switch, "int": _whole, "float": _number}

_READERS = {
    item.name: _SPECIAL.get(item.name) or _BY_TYPE.get(str(item.type).removesuffix(" | None"), str)
    for item in fields(Fault)
    if item.name not in {"headers", "edit"}
}
