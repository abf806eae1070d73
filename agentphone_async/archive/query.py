"""What an archive holds, call by call: the catalog for people, for spreadsheets and programs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.erased import ErasedRow, erased_after
from agentphone_async.archive.catalog.recordings import count_states
from agentphone_async.archive.catalog.rows import (
    COLUMNS,
    CallRow,
    RecordingRow,
    RunRow,
    call_row,
    raw_text,
    recording_row,
    stamp,
    stamp_or_none,
)
from agentphone_async.archive.catalog.runs import runs
from agentphone_async.archive.selection import Selection
from agentphone_async.models import Call

PENDING = "pending"
"""The state of a call that runs have met, and of whose recording none has settled anything."""

ERASED: Final = "erased"
"""The state of calls that were erased: when, and how much, but not whose."""

STATES = (
    "archived", "not_ready", "no_recording", "failed", "suspect", "empty", "disputed", "erased",
    PENDING,
)  # fmt: skip

_CALLS = (
    "calls.id, calls.raw, calls.started, calls.ended, calls.status, calls.direction, "
    "calls.duration, calls.first_seen, calls.last_seen"
)
_CALL_COLUMNS = 9
_RECORDINGS = ", ".join(f"recordings.{name}" for name in COLUMNS.split(", "))


@dataclass(frozen=True)
class Entry:
    """A call, and what is known of its recording.

    Attributes:
        call: as it was listed last.
        recording: None if no run has settled anything about it.
    """

    call: CallRow
    recording: RecordingRow | None

    @property
    def state(self) -> str:
        """One of `STATES`."""
        return PENDING if self.recording is None else self.recording.state

    @cached_property
    def parsed(self) -> Call:
        """The call as a value."""
        return Call.from_json(json.loads(self.call.raw))

    def as_dict(self) -> dict[str, Any]:
        """Everything that is known, ready for JSON; ``call`` is the API's own object."""
        recording = self.recording
        fields: dict[str, Any] = {
            "call_id": self.call.id,
            "state": self.state,
            "started": stamp_or_none(self.call.started),
            "ended": stamp_or_none(self.call.ended),
            "direction": self.call.direction,
            "status": self.call.status,
            "first_seen": stamp(self.call.first_seen),
            "last_seen": stamp(self.call.last_seen),
        }
        for name in _RECORDING_FIELDS:
            fields[name] = None if recording is None else getattr(recording, name)
        if recording is not None:
            fields["path"] = None if recording.path is None else recording.path.as_posix()
            fields["updated"] = stamp(recording.updated)
        return fields | {"call": json.loads(self.call.raw)}


_RECORDING_FIELDS = (
    "path", "version", "size", "sha256", "media_type", "sample_rate", "channels", "duration",
    "etag", "attempts", "last_error", "updated",
)  # fmt: skip


async def entries(
    catalog: Catalog,
    selection: Selection | None = None,
    *,
    states: Sequence[str] = (),
    versions: bool = False,
    at_once: int = 500,
) -> AsyncGenerator[list[Entry]]:
    """Calls of the catalog by the time that they began, in lists; memory does not grow.

    Args:
        catalog: open.
        selection: which calls; all by default. Calls without a known beginning lie in no span.
        states: only of these; all by default, but for ``erased``, of which no call is known.
        versions: every version of each recording instead of the current one.
        at_once: how many in a list.

    Raises:
        ValueError: there is no such state.
    """
    unknown = [state for state in states if state not in STATES]
    if unknown:
        raise ValueError(f"there is no state {unknown[0]!r}; use one of {', '.join(STATES)}")
    selection = selection or Selection()
    more = await catalog.run(_begin, selection, tuple(states), versions)
    while found := await catalog.run(more, at_once):
        wanted = [entry for entry in found if _wants(selection, entry)]
        if wanted:
            yield wanted
    last = ("", "")
    while ERASED in states and (rows := await catalog.run(erased_after, last, at_once)):
        last = (stamp(rows[-1].erased), rows[-1].hash)
        wanted = [entry for entry in map(_erased_entry, rows) if _wants(selection, entry)]
        if wanted:
            yield wanted


def _erased_entry(row: ErasedRow) -> Entry:
    """What is left to be told of a call that was erased."""
    name = f"erased:{row.hash[:12]}"
    call = CallRow(
        name, raw_text({"id": name}), None, None, None, None, None, row.erased, row.erased
    )
    return Entry(
        call,
        RecordingRow(name, ERASED, row.erased, row.erased, size=row.bytes, last_error=row.reason),
    )


def _begin(
    connection: sqlite3.Connection, selection: Selection, states: tuple[str, ...], versions: bool
) -> Callable[[sqlite3.Connection, int], list[Entry]]:
    """Start a query, and return a function for the next rows; both for the catalog's thread."""
    conditions: list[str] = []
    values: list[str] = []
    if selection.since is not None:
        conditions.append("calls.started >= ?")
        values.append(stamp(selection.since))
    if selection.until is not None:
        conditions.append("calls.started < ?")
        values.append(stamp(selection.until))
    if states:
        marks = ",".join("?" * len(states))
        conditions.append(f"coalesce(recordings.state, '{PENDING}') IN ({marks})")
        values += states
    latest = (
        "" if versions else "AND recordings.version = (SELECT max(version) FROM recordings AS r "
        "WHERE r.call_id = calls.id)"
    )  # fmt: skip
    where = "WHERE " + " AND ".join(conditions) if conditions else ""
    cursor = connection.execute(
        f"SELECT {_CALLS}, {_RECORDINGS} FROM calls LEFT JOIN recordings "  # noqa: S608 - our names
        f"ON recordings.call_id = calls.id {latest} {where} ORDER BY calls.started, calls.rowid",
        values,
    )

    def more(_: sqlite3.Connection, at_once: int) -> list[Entry]:
        return [_entry(connection, row) for row in cursor.fetchmany(at_once)]

    return more


def _entry(connection: sqlite3.Connection, row: Sequence[Any]) -> Entry:
    known = row[_CALL_COLUMNS:]
    recording = None if known[0] is None else recording_row(known, connection)
    return Entry(call_row(row[:_CALL_COLUMNS]), recording)


@dataclass(frozen=True, slots=True)
class _Dated:
    started_at: datetime | None
    status: str | None
    direction: str | None


def _wants(selection: Selection, entry: Entry) -> bool:
    call = entry.call
    return selection.wants(_Dated(call.started, call.status, call.direction))


@dataclass(frozen=True, slots=True)
class Overview:
    """An archive in numbers.

    Attributes:
        schema: of the catalog.
        calls: that runs have met.
        states: recordings, all versions, by their state.
        bytes: of the recordings that are on the disk.
        sidecars: files beside recordings.
        runs: the latest runs, newest first.
    """

    schema: int
    calls: int
    states: dict[str, int]
    bytes: int
    sidecars: int
    runs: list[RunRow]


def overview(connection: sqlite3.Connection, latest_runs: int = 5) -> Overview:
    """An archive in numbers; for `Catalog.run`."""

    def one(query: str) -> int:
        (value,) = connection.execute(query).fetchone()
        return int(value)

    return Overview(
        schema=one("PRAGMA user_version"),
        calls=one("SELECT count(*) FROM calls"),
        states=count_states(connection),
        bytes=one(
            "SELECT coalesce(sum(size), 0) FROM recordings "
            "WHERE state IN ('archived', 'suspect', 'empty')"
        ),
        sidecars=one("SELECT count(*) FROM sidecars"),
        runs=runs(connection, latest_runs),
    )


def damage(connection: sqlite3.Connection, most: int = 20) -> list[str]:
    """What SQLite finds wrong with the catalog's file; empty if it is sound. For `Catalog.run`."""
    found = [str(line) for (line,) in connection.execute(f"PRAGMA integrity_check({most})")]
    return [] if found == ["ok"] else found
