"""Which bytes a ``Range`` header asks for, as a server reads it (RFC 9110, section 14)."""

from __future__ import annotations

import re
from typing import Literal

_ONE_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.IGNORECASE)

Wanted = tuple[int, int] | Literal["all", "unsatisfiable"]


def wanted_range(header: str | None, size: int) -> Wanted:
    """First byte and the one after the last, or everything, or nothing that exists.

    A header that is not understood, and one that asks for several ranges, is ignored, as the
    RFC allows.
    """
    match = _ONE_RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.groups() == ("", ""):
        return "all"
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        return (size - length, size) if length else "unsatisfiable"
    start = int(first)
    if last and int(last) < start:
        return "all"
    stop = min(int(last) + 1, size) if last else size
    return (start, stop) if start < size else "unsatisfiable"


def range_applies(if_range: str | None, etag: str | None) -> bool:
    """Whether the representation is still the one that ``If-Range`` names (section 13.1.5).

    The emulator's own validators are strong and it sends no dates, so equality decides.
    """
    return if_range is None or if_range == etag
