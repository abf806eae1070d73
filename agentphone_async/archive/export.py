"""The catalog as CSV, as JSON lines, or as Parquet for pandas, polars, DuckDB and Spark.

Parquet is one folder for each day: ``DIR/date=2026-11-21/part-0.parquet``; the day is that of the
call's beginning in UTC, and calls without a known beginning lie in
``date=__HIVE_DEFAULT_PARTITION__``, as Hive has it. Moments are timestamps in UTC. Whoever has a
call's id can fetch its recording, so ids, and paths that contain them, are only written there on
demand.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from importlib import import_module
from itertools import groupby
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import Any, Literal

from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.settings import known_hash_key
from agentphone_async.archive.query import Entry, entries
from agentphone_async.archive.selection import Selection
from agentphone_async.errors import ConfigurationError, DestinationError
from agentphone_async.protocol.display import printable
from agentphone_async.protocol.recording import Audio
from agentphone_async.sinks.disk import destination_errors, sync_folder
from agentphone_async.sinks.interface import Target
from agentphone_async.sinks.local import Fsync, LocalSink
from agentphone_async.sinks.threads import FilePool

Format = Literal["csv", "jsonl"]

COLUMNS = (
    "call_id", "state", "started", "ended", "direction", "status", "from_number", "to_number",
    "call_duration", "agent_id", "agent_name", "path", "version", "size", "sha256", "media_type",
    "sample_rate", "channels", "duration", "etag", "attempts", "last_error", "updated",
)  # fmt: skip
"""Of the CSV. ``call_duration`` is what the API says, ``duration`` what the audio has; seconds."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_LONGEST_CELL = 30_000  # spreadsheets take 32,767 characters


async def export(
    catalog: Catalog,
    format: Format,  # noqa: A002 - the command's word for it
    selection: Selection | None = None,
    *,
    states: Sequence[str] = (),
    versions: bool = False,
    excel: bool = False,
) -> AsyncGenerator[str]:
    """The catalog as text, in pieces of some hundred lines; memory does not grow.

    ``jsonl`` is exact: an object a line (`Entry.as_dict`), in ASCII. ``csv`` (RFC 4180 with line
    feeds, UTF-8, a head line) is for spreadsheets: control characters are written as escapes, and
    a cell that would be taken for a formula begins with an apostrophe. Plain numbers stay as they
    are, telephone numbers such as ``+15551230000`` among them.

    Args:
        catalog: open.
        format: ``csv`` or ``jsonl``.
        selection: which calls, as for `entries`.
        states: likewise.
        versions: likewise.
        excel: begin CSV with a byte-order mark, without which Excel does not read UTF-8.
    """
    if format == "csv":
        yield ("\ufeff" if excel else "") + ",".join(COLUMNS) + "\n"
    write = _csv if format == "csv" else _jsonl
    found = entries(catalog, selection, states=states, versions=versions)
    async with aclosing(found) as batches:
        async for batch in batches:
            yield write(batch)


async def export_to(path: Path, pieces: AsyncGenerator[str]) -> None:
    """Write an export into a file that appears, or is replaced, when it is whole; mode 0600.

    Raises:
        DestinationError: the disk failed; what was there before is there still.
    """
    sink = LocalSink(path.parent, fsync=Fsync.EACH, overwrite=True)
    try:
        upload = await sink.begin(Target(PurePosixPath(), path.name, extension=""))
        async with aclosing(pieces) as texts:
            async for text in texts:
                await upload.write([text.encode()])
        await sink.publish([await upload.stage(Audio("text/plain"))])
    finally:
        await sink.aclose()


def _jsonl(batch: Sequence[Entry]) -> str:
    return "".join(json.dumps(entry.as_dict()) + "\n" for entry in batch)


def _csv(batch: Sequence[Entry]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = map(_fields, batch)
    writer.writerows([cell(row[name]) for name in COLUMNS] for row in rows)
    return text.getvalue()


def _fields(entry: Entry) -> dict[str, Any]:
    """What is known of a call, in one row."""
    call = entry.parsed
    return entry.as_dict() | {
        "from_number": call.from_number,
        "to_number": call.to_number,
        "call_duration": call.duration_seconds,
        "agent_id": call.agent_id,
        "agent_name": call.agent_name,
    }


def cell(value: Any) -> str:
    """A value as a cell that no spreadsheet takes for a formula, and no terminal for a command."""
    if value is None:
        return ""
    text = printable(str(value), _LONGEST_CELL)
    if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        return "'" + text
    return text


# ---------------------------------------------------------------- Parquet

_UNDATED = "__HIVE_DEFAULT_PARTITION__"
_TEXTS = (
    "call_id", "state", "direction", "status", "from_number", "to_number", "agent_id", "agent_name",
    "path", "sha256", "media_type", "etag", "last_error",
)  # fmt: skip
_NUMBERS = ("version", "size", "sample_rate", "channels", "attempts")
_SECONDS = ("call_duration", "duration")
_MOMENTS = ("started", "ended", "first_seen", "last_seen")
_OF_IDS = frozenset({"call_id", "path"})


async def export_parquet(
    catalog: Catalog,
    folder: Path,
    selection: Selection | None = None,
    *,
    states: Sequence[str] = (),
    versions: bool = False,
    ids: bool = False,
) -> int:
    """Write the catalog into a folder that appears, or is replaced, when it is whole; the rows.

    Args:
        catalog: open.
        folder: made; one that is there is only replaced if an earlier export made it.
        selection: which calls, as for `entries`.
        states: likewise.
        versions: likewise.
        ids: write call ids, and paths even if they contain them.

    Raises:
        ConfigurationError: the extra is not installed: ``pip install 'agentphone-async[parquet]'``.
        DestinationError: the disk failed, or something else lies there.
    """
    _refuse_foreign(folder)
    hashed = await catalog.run(known_hash_key) is not None
    left_out = frozenset() if ids else _OF_IDS - ({"path"} if hashed else set())
    pool = FilePool(1)
    writer = await pool.run(_Writer, folder, left_out)
    try:
        found = entries(catalog, selection, states=states, versions=versions)
        async with aclosing(found) as batches:
            async for batch in batches:
                await pool.run(writer.write, batch)
        await pool.run(writer.publish)
    finally:
        await pool.run(writer.discard)
        pool.close()
    return writer.rows


class _Writer:
    """Writes aside, a file for each day; for one thread."""

    def __init__(self, folder: Path, left_out: frozenset[str]) -> None:
        self._pyarrow, self._parquet = _libraries()
        self._folder = folder
        self._schema = self._schema_of(left_out)
        with destination_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            self._aside = Path(mkdtemp(prefix=".agentphone-", dir=folder.parent))
        self._published = False
        self._day: str | None = None
        self._file: Any = None
        self.rows = 0

    def _schema_of(self, left_out: frozenset[str]) -> Any:
        pa = self._pyarrow
        kinds = {
            **dict.fromkeys((*_MOMENTS, "updated"), pa.timestamp("us", tz="UTC")),
            **dict.fromkeys(_TEXTS, pa.string()),
            **dict.fromkeys(_NUMBERS, pa.int64()),
            **dict.fromkeys(_SECONDS, pa.float64()),
        }
        return pa.schema([(name, kind) for name, kind in kinds.items() if name not in left_out])

    def write(self, batch: Sequence[Entry]) -> None:
        """Add calls; they come in the order of their beginnings."""
        with destination_errors(self._folder):
            for day, some in groupby(batch, _day):
                if day != self._day:
                    self._open(day)
                rows = [_parquet_row(entry) for entry in some]
                self._file.write_table(self._pyarrow.Table.from_pylist(rows, schema=self._schema))
                self.rows += len(rows)

    def _open(self, day: str) -> None:
        self._close()
        place = self._aside / f"date={day}"
        place.mkdir(mode=0o700)
        path = place / "part-0.parquet"
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        self._file = self._parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._day = day

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def publish(self) -> None:
        """Put what was written in the place of what an earlier export has left."""
        with destination_errors(self._folder):
            self._close()
            if self._folder.exists():
                old = Path(mkdtemp(prefix=".agentphone-", dir=self._folder.parent))
                self._folder.rename(old / "old")
                self._aside.rename(self._folder)
                shutil.rmtree(old)
            else:
                self._aside.rename(self._folder)
            self._published = True
            sync_folder(self._folder.parent)

    def discard(self) -> None:
        """Remove what was not published."""
        self._close()
        if not self._published:
            shutil.rmtree(self._aside, ignore_errors=True)


def _refuse_foreign(folder: Path) -> None:
    """Replace only what an earlier export has made."""
    with destination_errors(folder):
        if not os.path.lexists(folder):
            return
        ours = folder.is_dir() and all(
            path.is_dir() and path.name.startswith("date=") for path in folder.iterdir()
        )
    if not ours:
        raise DestinationError(
            f"{folder} is there, and no earlier export has made it; choose another folder",
            filename=os.fspath(folder),
        )


def _libraries() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigurationError(
            "Parquet needs pyarrow; install it with: pip install 'agentphone-async[parquet]'"
        ) from error


def _day(entry: Entry) -> str:
    started = entry.call.started
    return _UNDATED if started is None else f"{started:%Y-%m-%d}"


def _parquet_row(entry: Entry) -> dict[str, Any]:
    row = {name: _sayable(value) for name, value in _fields(entry).items()}
    row |= {name: getattr(entry.call, name) for name in _MOMENTS}
    return row | {"updated": None if entry.recording is None else entry.recording.updated}


def _sayable(value: Any) -> Any:
    """Lone surrogates, which JSON can carry, are not text for Parquet."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode()
    return value
