"""Durations and sizes as people write them on a command line."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

from agentphone_async.archive.selection.error import SelectionError
from agentphone_async.protocol.display import printable

__all__ = ["parse_duration", "parse_size"]

_AMOUNT = r"[0-9]{1,12}(?:\.[0-9]{1,9})?"
_SECONDS = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>{_AMOUNT}){unit})?" for unit in _SECONDS))
_LONGEST = timedelta(days=36_525)

_POWERS = {"": 0, "B": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_SIZE = re.compile(rf"(?P<amount>{_AMOUNT})(?P<unit>B|(?P<prefix>[KMGTP])(?:iB?)?|)", re.IGNORECASE)
_LARGEST = 2**63 - 1


def parse_duration(text: str) -> timedelta:
    """A duration such as ``90s``, ``10m``, ``24h``, ``7d``, ``2w``, ``1h30m``, ``1.5h`` or ``0``.

    Units go from large to small, each once; a day is 24 hours. At most 100 years.

    Raises:
        SelectionError: anything else, a number without a unit included.
    """
    plain = text.strip().lower()
    if plain == "0":
        return timedelta(0)
    found = _DURATION.fullmatch(plain)
    if found is None or not plain:
        raise SelectionError(
            f"'{printable(text, 40)}' is no duration; write it like 90s, 10m, 24h, 7d or 1h30m"
        )
    amounts = found.groupdict(default="0")
    seconds = sum((Decimal(amounts[unit]) * size for unit, size in _SECONDS.items()), Decimal(0))
    if seconds > _LONGEST.total_seconds():
        raise SelectionError(f"'{printable(text, 40)}' is more than 100 years; write a shorter one")
    return timedelta(seconds=float(seconds))


def parse_size(text: str) -> int:
    """A size in bytes from ``8M``, ``1.5G``, ``500k``, ``64KiB``, ``100B`` or ``100`` (bytes).

    Suffixes are multiples of 1024, in either case and with or without ``i`` or ``iB``, as in
    rclone. Unlike there, a number alone counts bytes. A part of a byte is dropped.

    Raises:
        SelectionError: anything else, or 8 EiB and more. ``KB`` and ``MB`` are refused, since they
            mean two things.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise SelectionError(
            f"'{printable(text, 40)}' is no size; write it like 500k, 8M, 1.5G or 100 (bytes)"
        )
    size = int(Decimal(found["amount"]) * 1024 ** _POWERS[(found["prefix"] or "").upper()])
    if size > _LARGEST:
        raise SelectionError(f"'{printable(text, 40)}' is larger than any disk; write less")
    return size
