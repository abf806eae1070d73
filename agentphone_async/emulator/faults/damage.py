"""WAVE files and pages of a list as they occur in the wild: pure functions on proper ones."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Literal

from agentphone_async.emulator.audio import HEADER_SIZE, SAMPLE_RATE

WaveDamage = Literal[
    "streamed", "zero", "long", "short", "rf64", "odd", "header-only", "list", "mulaw"
]
"""Sizes of 0xFFFFFFFF; sizes of 0; a header that claims 1000 bytes too many, or too few; 64-bit
sizes; an odd number of bytes without the pad byte; no audio at all; a ``LIST`` chunk in front of
the audio; G.711 in place of PCM."""

_CLAIM = 1000
_STREAMED = 0xFFFFFFFF


def damaged_wave(wave: bytes, damage: WaveDamage) -> bytes:
    """A canonical WAVE file with something unusual about it.

    Args:
        wave: 44 bytes of header and PCM, as the emulator generates it.
        damage: What is to be unusual.
    """
    return _WAVES[damage](wave)


def _sizes(wave: bytes, riff: int, data: int) -> bytes:
    header = bytearray(wave[:HEADER_SIZE])
    struct.pack_into("<I", header, 4, riff)
    struct.pack_into("<I", header, 40, data)
    return bytes(header) + wave[HEADER_SIZE:]


def _claiming(wave: bytes, data_size: int) -> bytes:
    return _sizes(wave, 36 + data_size, data_size)


def _rf64(wave: bytes) -> bytes:
    data = len(wave) - HEADER_SIZE
    ds64 = struct.pack("<4sIQQQI", b"ds64", 28, 72 + data, data, data // 2, 0)
    top = struct.pack("<4sI4s", b"RF64", _STREAMED, b"WAVE")
    return top + ds64 + wave[12:36] + struct.pack("<4sI", b"data", _STREAMED) + wave[HEADER_SIZE:]


def _with_list(wave: bytes) -> bytes:
    extra = struct.pack("<4sI4s4sI5sx", b"LIST", 18, b"INFO", b"ISFT", 5, b"phone")
    data = len(wave) - HEADER_SIZE
    top = struct.pack("<4sI4s", b"RIFF", 36 + len(extra) + data, b"WAVE")
    return top + wave[12:36] + extra + wave[36:]


def _mulaw(wave: bytes) -> bytes:
    data = wave[HEADER_SIZE::2]
    form = struct.pack("<4sIHHIIHHH", b"fmt ", 18, 7, 1, SAMPLE_RATE, SAMPLE_RATE, 1, 8, 0)
    fact = struct.pack("<4sII", b"fact", 4, len(data))
    padded = data + b"\0" * (len(data) % 2)
    chunks = form + fact + struct.pack("<4sI", b"data", len(data)) + padded
    return struct.pack("<4sI4s", b"RIFF", 4 + len(chunks), b"WAVE") + chunks


def _odd(wave: bytes) -> bytes:
    return _claiming(wave[:-1], len(wave) - HEADER_SIZE - 1)


_WAVES: dict[WaveDamage, Callable[[bytes], bytes]] = {
    "streamed": lambda wave: _sizes(wave, _STREAMED, _STREAMED),
    "zero": lambda wave: _sizes(wave, 0, 0),
    "long": lambda wave: _claiming(wave, len(wave) - HEADER_SIZE + _CLAIM),
    "short": lambda wave: _claiming(wave, len(wave) - HEADER_SIZE - _CLAIM),
    "rf64": _rf64,
    "odd": _odd,
    "header-only": lambda wave: _claiming(wave[:HEADER_SIZE], 0),
    "list": _with_list,
    "mulaw": _mulaw,
}


PageDamage = Literal[
    "no-total",
    "wrong-total",
    "endless",
    "empty",
    "repeat",
    "duplicate",
    "null-ids",
    "null-rows",
    "no-data",
    "malformed",
    "no-has-more",
    "bare",
    "list",
]
"""``total`` missing, or half of the truth; ``hasMore`` always true; no rows but ``hasMore``; the
first page whatever the offset; every row twice; rows whose id is null; rows that are null;
``data`` that is null; JSON that breaks off in the middle; ``hasMore`` missing; both it and
``total`` missing; the rows as a bare list."""

Page = dict[str, Any]


def damaged_page(page: Page, damage: PageDamage) -> Any:
    """A page with one thing wrong; ``repeat`` and ``malformed`` happen elsewhere."""
    return _PAGES.get(damage, dict)(page)


def _without_total(page: Page) -> Page:
    return {name: value for name, value in page.items() if name != "total"}


_PAGES: dict[PageDamage, Callable[[Page], Any]] = {
    "no-total": _without_total,
    "wrong-total": lambda page: page | {"total": page["total"] // 2},
    "endless": lambda page: page | {"hasMore": True},
    "empty": lambda page: page | {"data": [], "hasMore": True},
    "repeat": lambda page: page | {"hasMore": True},
    "duplicate": lambda page: page | {"data": [row for row in page["data"] for _ in range(2)]},
    "null-ids": lambda page: page | {"data": [row | {"id": None} for row in page["data"]]},
    "null-rows": lambda page: page | {"data": [None, *page["data"]]},
    "no-data": lambda page: page | {"data": None},
    "no-has-more": lambda page: {"data": page["data"], "total": page["total"]},
    "bare": lambda page: {"data": page["data"]},
    "list": lambda page: page["data"],
}
