"""The catalog as Parquet for pandas, polars, DuckDB and Spark: one folder for each day.

``DIR/date=2026-11-21/part-0.parquet``; the day is that of the call's beginning in UTC, and calls
without a known beginning lie in ``date=__HIVE_DEFAULT_PARTITION__``, as Hive has it. Moments are
timestamps in UTC. Whoever has a call's id can fetch its recording, so ids, and paths that contain
them, are only written on demand.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import aclosing
from importlib import import_module
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.settings import known_hash_key
from agentphone_async.archive.query import Entry, entries
from agentphone_async.archive.selection import Selection
from agentphone_async.errors import ConfigurationError, DestinationError
from agentphone_async.sinks.disk import destination_errors, sync_folder
from agentphone_async.sinks.threads import FilePool

_UNDATED = "__HIVE_DEFAULT_PARTITION__"
_TEXTS = (
    "call_id", "state", "direction", "status", "from_number", "to_number", "agent_id", "agent_name",
    "path", "sha256", "media_type", "etag", "last_error",
)  # fmt: skip
_NUMBERS = ("version", "size", "sample_rate", "channels", "attempts")
_SECONDS = ("call_duration", "duration")
_MOMENTS = ("started", "ended", "first_seen", "last_seen", "updated")
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
            **dict.fromkeys(_MOMENTS, pa.timestamp("us", tz="UTC")),
            **dict.fromkeys(_TEXTS, pa.string()),
            **dict.fromkeys(_NUMBERS, pa.int64()),
            **dict.fromkeys(_SECONDS, pa.float64()),
        }
        return pa.schema([(name, kind) for name, kind in kinds.items() if name not in left_out])

    def write(self, batch: Sequence[Entry]) -> None:
        """Add calls; they come in the order of their beginnings."""
        start = 0
        for end in range(1, len(batch) + 1):
            if end == len(batch) or _day(batch[end]) != _day(batch[start]):
                self._write_day(_day(batch[start]), batch[start:end])
                start = end

    def _write_day(self, day: str, batch: Sequence[Entry]) -> None:
        with destination_errors(self._folder):
            if day != self._day:
                self._open(day)
            rows = [_row(entry) for entry in batch]
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


def _row(entry: Entry) -> dict[str, Any]:
    call, row = entry.call, entry.recording
    parsed = entry.parsed()
    fields: dict[str, Any] = {
        "call_id": call.id,
        "state": entry.state,
        "started": call.started,
        "ended": call.ended,
        "first_seen": call.first_seen,
        "last_seen": call.last_seen,
        "direction": call.direction,
        "status": call.status,
        "from_number": parsed.from_number,
        "to_number": parsed.to_number,
        "agent_id": parsed.agent_id,
        "agent_name": parsed.agent_name,
        "call_duration": parsed.duration_seconds,
    }
    if row is not None:
        names = (*_NUMBERS, "sha256", "media_type", "etag", "last_error", "duration", "updated")
        fields |= {name: getattr(row, name) for name in names}
        fields["path"] = None if row.path is None else row.path.as_posix()
    return {name: _sayable(value) for name, value in fields.items()}


def _sayable(value: Any) -> Any:
    """Lone surrogates, which JSON can carry, are not text for Parquet."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode()
    return value
