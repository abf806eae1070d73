"""Manifests: what a run has stored, as rows of the catalog, in one immutable object each.

A manifest is JSON lines in zstandard. The first line says what it is, the last one how many rows
came before it, so that one that is cut off is not taken for a whole one::

    {"format": "agentphone-archive", "version": 1, "run": "…", "shard": 0, "attempt": 1}
    {"table": "calls", "id": "call_1", "raw": "{…}", …}
    {"table": "recordings", "call_id": "call_1", "version": 1, "state": "archived", …}
    {"gone": "pending", "key": ["call_1", "transcript"], "at": "2026-11-21T08:30:00.000000Z"}
    {"rows": 3}

Columns are those of the catalog's tables; those that are NULL are left out.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

from agentphone_async.errors import CatalogError, ConfigurationError
from agentphone_async.protocol.display import printable

FORMAT = "agentphone-archive"
VERSION = 1
PARTS = "_catalog/parts"
"""Where manifests are, below the archive's prefix."""

ENDING = ".jsonl.zst"
_NAME = re.compile(r"_catalog/parts/([0-9A-Za-z-]+)/(\d+)-(\d+)(\.jsonl\.zst|\.parquet)")

_AT_ONCE = 512 * 1024
"""Bytes of lines that are parsed at a time."""

LARGEST = 128 * 1024 * 1024
"""Bytes that a manifest may have, unpacked; one of 40,000 rows has about 50 MB."""

LONGEST = 32 * 1024 * 1024
"""Bytes of one of its lines."""

_TEXT = 32 * 1024 * 1024
"""Characters in the rows of a manifest that we write; JSON in JSON may take twice as many bytes."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One manifest's name and head.

    Attributes:
        run: whose it is; of a compacted one, ``compact-…``.
        shard: which part of the run's work.
        attempt: counts a run's manifests for a shard.
        covers: names of manifests that it replaces.
        ending: of its name; ``.parquet`` for some that are compacted.
    """

    run: str
    shard: int
    attempt: int
    covers: tuple[str, ...] = field(default=())
    ending: str = ENDING

    @property
    def name(self) -> str:
        """The object's key below the archive's prefix."""
        return f"{PARTS}/{self.run}/{self.shard:06}-{self.attempt:06}{self.ending}"

    @classmethod
    def of_name(cls, name: str) -> Part | None:
        """The part that a key names; None if it is not one of a manifest."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        return cls(found[1], int(found[2]), int(found[3]), ending=found[4])


def encode(part: Part, rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A manifest's bytes.

    Raises:
        CatalogError: a row is so large that no reader would take it.
    """
    lines = [dump(head(part))]
    lines.extend(map(dump, rows))
    lines.append(dump({"rows": len(lines) - 1}))
    return pack(lines, part.name)


def pack(lines: Sequence[bytes], name: str) -> bytes:
    """Lines in zstandard.

    Raises:
        CatalogError: one is so large that no reader would take it.
    """
    longest = max(map(len, lines))
    if longest > LONGEST:
        raise CatalogError(
            f"a row has {longest} bytes; a manifest takes {LONGEST} at most", filename=name
        )
    return compress(b"\n".join([*lines, b""]))


def portions(rows: Iterable[Row], most: int) -> Iterator[list[Row]]:
    """Rows in portions, each for a manifest of no more than so many; at least one, if empty."""
    some: list[Row] = []
    text = 0
    for row in rows:
        size = sum(len(value) for value in row.values() if type(value) is str)
        if some and (len(some) == most or text + size > _TEXT):
            yield some
            some, text = [], 0
        some.append(row)
        text += size
    yield some


def head(part: Part) -> Row:
    """What the first line of a manifest says."""
    said: Row = {
        "format": FORMAT,
        "version": VERSION,
        "run": part.run,
        "shard": part.shard,
        "attempt": part.attempt,
    }
    if part.covers:
        said["covers"] = list(part.covers)
    return said


def head_of(data: bytes, name: str) -> Part:
    """The head of a manifest, with what it covers."""
    with decompress(data, name) as reader:
        return part_of(checked(line_of(reader, name), name))


def part_of(head: Row) -> Part:
    """The part that the first line of a manifest names.

    Raises:
        ValueError, TypeError: it does not.
    """
    return Part(
        str(head.get("run")),
        int(head.get("shard", 0)),
        int(head.get("attempt", 0)),
        tuple(map(str, head.get("covers", ()))),
    )


def decode(data: bytes, name: str) -> Iterator[Row]:
    """A manifest's rows; whoever takes them may keep them only if this does not raise.

    Raises:
        CatalogError: it is cut off, damaged, newer than we are, or not a manifest at all.
    """
    count = 0
    end: int | None = None
    with decompress(data, name) as reader:
        checked(line_of(reader, name), name)
        while some := reader.read(_AT_ONCE) + line_of(reader, name):
            rows = _load_many(some, name)
            if end is not None:
                raise torn(name, "lines after its end")
            if "rows" in rows[-1] and "table" not in rows[-1]:
                end = rows.pop()["rows"]
            count += len(rows)
            yield from rows
    if end != count:
        raise torn(name, f"{count} rows of {end if end is not None else 'an unknown number'}")


def compress(data: bytes) -> bytes:
    """Bytes in zstandard."""
    return cast("bytes", _zstandard().ZstdCompressor(level=3).compress(data))


def decompress(data: bytes, name: str) -> io.BufferedReader:
    """A reader of what `compress` made; errors come while reading.

    Raises:
        CatalogError: it says that it unpacks to more than `LARGEST`.
    """
    zstandard = _zstandard()
    with suppress(zstandard.ZstdError):  # no frame at all: said while reading
        refuse_size(zstandard.frame_content_size(data), name)
    reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data))
    return io.BufferedReader(_Guarded(reader, name), 256 * 1024)


def refuse_size(size: int, name: str) -> None:
    """Refuse a manifest that has so many bytes, packed or not, if that is too much."""
    if size > LARGEST:
        raise torn(name, f"it has more than {LARGEST // 1024**2} MiB")


def line_of(reader: io.BufferedReader, name: str) -> bytes:
    """The next line, or what is left of one; nothing at the end."""
    line = reader.readline(LONGEST + 1)
    if len(line) > LONGEST:
        raise torn(name, f"a line of more than {LONGEST // 1024**2} MiB")
    return line


class _Guarded(io.RawIOBase):
    """Raw bytes whose damage is said in our words."""

    def __init__(self, reader: Any, name: str) -> None:
        self._reader = reader
        self._name = name
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            size = cast("int", self._reader.readinto(buffer))
        except Exception as error:  # noqa: BLE001 - ZstdError, which only the extra knows
            raise torn(self._name, printable(str(error), 80)) from None
        self._size += size
        refuse_size(self._size, self._name)
        return size


def _zstandard() -> Any:
    try:
        import zstandard  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "an archive in a bucket needs the extra for object stores; run: "
            "pip install 'agentphone-async[s3]'"
        ) from None
    return zstandard


def dump(row: Mapping[str, Any]) -> bytes:
    """A line, without its end."""
    return json.dumps(row, separators=(",", ":")).encode()


def _load_many(lines: bytes, name: str) -> list[Row]:
    """Many lines at once: for each of its own, the parser takes three times as long."""
    lines = lines.removesuffix(b"\n")
    try:
        rows: list[Row] = json.loads(b"[" + lines.replace(b"\n", b",") + b"]")
    except (ValueError, RecursionError):
        raise torn(name, "a line that is not JSON") from None
    if len(rows) != lines.count(b"\n") + 1 or set(map(type, rows)) != {dict}:
        raise torn(name, "a line that is not an object")
    return rows


def checked(line: bytes, name: str) -> Row:
    """The first line of a manifest, if it is one that we can read."""
    if not line:
        raise torn(name, "it is empty or cut off")
    head = _load_many(line, name)[0]
    if head.get("format") != FORMAT or type(head.get("version")) is not int:
        raise CatalogError(
            f"{printable(name, 200)} is not a manifest of ours; choose another prefix, or move "
            "it away",
            filename=name,
        )
    refuse_newer(head["version"], name)
    return head


def refuse_newer(version: int, name: str) -> None:
    """Refuse what is written in a format that is newer than ours."""
    if version > VERSION:
        raise CatalogError(
            f"{printable(name, 200)} has format {version}, and this version of agentphone-async "
            f"knows {VERSION} at most; update agentphone-async",
            filename=name,
        )


def torn(name: str, what: str) -> CatalogError:
    """The error for a manifest that is damaged."""
    return CatalogError(
        f"the manifest {printable(name, 200)} is damaged ({what}); restore it, or delete it and "
        "run again: what it named is found again",
        filename=name,
    )
