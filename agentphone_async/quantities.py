"""Durations and sizes as people write them, and as they are printed: alike everywhere.

A bare number counts seconds or bytes. ``k``, ``M``, ``G`` and ``KiB``, ``MiB``, ``GiB`` are
multiples of 1024, as in rclone; ``kB``, ``MB``, ``GB`` are multiples of 1000. What is printed is in
multiples of 1000, with those units.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta
from decimal import Decimal

from agentphone_async.protocol.display import printable

_AMOUNT = r"(?:[0-9]{1,12}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})"
_SECONDS: dict[str, Decimal | int] = {
    "w": 604_800,
    "d": 86_400,
    "h": 3600,
    "m": 60,
    "s": 1,
    "ms": Decimal("0.001"),
}
_WRITTEN = {"m": "m(?:in)?(?!s)"}
_DURATION = re.compile(
    "".join(rf"(?:(?P<{unit}>{_AMOUNT}) ?{_WRITTEN.get(unit, unit)} ?)?" for unit in _SECONDS)
)
_LONGEST = timedelta(days=36_525)

_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_SIZE = re.compile(
    rf"(?P<amount>{_AMOUNT}) ?(?:(?P<prefix>[KMGTP])(?P<rest>iB|i|B|)|B|)", re.IGNORECASE
)
_LARGEST = 2**63 - 1


class QuantityError(ValueError):
    """A text that is not a duration or a size; the message is one harmless line."""


def parse_duration(text: str) -> timedelta:
    """A duration such as ``5`` (seconds), ``80ms``, ``90s``, ``1h30m``, ``7d``, ``2w``, ``1.5h``.

    Units go from large to small, each once; a day is 24 hours. Spaces may stand between, and
    ``min`` is ``m``, so that what `duration_text` prints is taken, too. At most 100 years.

    Raises:
        QuantityError: anything else.
    """
    plain = text.strip().lower()
    if re.fullmatch(_AMOUNT, plain):
        plain += "s"
    found = _DURATION.fullmatch(plain)
    if found is None or not plain:
        raise QuantityError(
            f"'{printable(text, 40)}' is not a duration; write it like 80ms, 90s, 10m, 24h, 7d "
            "or 1h30m"
        )
    amounts = found.groupdict(default="0")
    seconds = sum((Decimal(amounts[unit]) * size for unit, size in _SECONDS.items()), Decimal(0))
    if seconds > _LONGEST.total_seconds():
        raise QuantityError(f"'{printable(text, 40)}' is more than 100 years; write a shorter one")
    return timedelta(seconds=float(seconds))


def parse_size(text: str) -> int:
    """A size in bytes from ``100``, ``100B``, ``8M``, ``8MiB`` (both 8 * 1024²) or ``8MB``.

    Case does not matter. A part of a byte is dropped.

    Raises:
        QuantityError: anything else, or 8 EiB and more.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise QuantityError(
            f"'{printable(text, 40)}' is not a size; write it like 500k, 8M, 8MiB, 10MB or 100 "
            "(bytes)"
        )
    factor = 1000 if (found["rest"] or "").upper() == "B" else 1024
    size = int(Decimal(found["amount"]) * factor ** _POWERS[(found["prefix"] or "").upper()])
    if size > _LARGEST:
        raise QuantityError(f"'{printable(text, 40)}' is larger than any disk; write less")
    return size


def size_text(size: float) -> str:
    """Bytes for people, in multiples of 1000: ``1.7 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < (1000 if unit == "B" else 999.95):
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def duration_text(seconds: float) -> str:
    """A duration for people: ``0 s``, ``80 ms``, ``1.5 s``, ``90 s``, ``5 min``, ``1 h 30 min``."""
    if not math.isfinite(seconds):
        return "forever"
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes = round(seconds / 60)
    days, minutes = divmod(minutes, 1440)
    hours, minutes = divmod(minutes, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def counted(number: int, noun: str) -> str:
    """``1 file``, ``2 files``, ``1,000 entries``."""
    if number == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{noun}s"
    return f"{number:,} {plural}"
