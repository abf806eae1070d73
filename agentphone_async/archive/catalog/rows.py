"""The catalog's rows as values, and how text and moments are written in them."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple, Protocol

from agentphone_async.archive.catalog.paths import path_of_row
from agentphone_async.models import Call

State = Literal[
    "archived", "not_ready", "no_recording", "failed", "suspect", "empty", "disputed", "erased"
]
"""What is known of a recording: on disk and sound; absent so far; absent for good; could not be
fetched; on disk, although header and bytes disagree; on disk, without audio; absent, although the
list of calls says that it exists; erased on demand."""

ON_DISK: frozenset[str] = frozenset({"archived", "suspect", "empty"})
OPEN: frozenset[str] = frozenset({"not_ready", "failed", "disputed"})
"""States that later runs ask for again."""

UNPROVED = "its header does not prove that it is whole"

_ESCAPE = "base64:"
_ENCODER = json.JSONEncoder(separators=(",", ":"))

NAMES = (
    "call_id", "version", "state", "path", "size", "sha256", "media_type", "sample_rate",
    "channels", "duration", "etag", "attempts", "created", "updated", "last_error", "run",
    "disputed", "ask_after",
)  # fmt: skip
COLUMNS = ", ".join(NAMES)
"""In the order that `recording_row` takes."""

SIDECAR_NAMES = ("call_id", "kind", "path", "size", "sha256", "updated")
"""In the order that `sidecar_row` takes."""

STATE, PATH, SIZE = (NAMES.index(name) for name in ("state", "path", "size"))
"""Where these are in a row of `COLUMNS`."""


@dataclass(frozen=True, slots=True)
class CallRow:
    """A call of the catalog; moments are in UTC, ``raw`` is its JSON text."""

    id: str
    raw: str
    started: datetime | None
    ended: datetime | None
    status: str | None
    direction: str | None
    duration: float | None
    first_seen: datetime
    last_seen: datetime


class RecordingRow(NamedTuple):
    """What is known of one version of a call's recording.

    A tuple, since a frozen dataclass of 18 fields takes six times as long to be made.

    Attributes:
        version: from 1; the highest is the current one.
        path: relative to the archive; None while there is no file.
        size: bytes.
        duration: seconds of audio.
        attempts: requests so far, over all runs.
        last_error: why it failed, or why it is suspect.
        run: the run that settled it last; None if no run did.
        disputed: since when the server answers 404, although the list says that it exists.
        ask_after: it is not asked for before.
    """

    call_id: str
    state: State
    created: datetime
    updated: datetime
    version: int = 1
    path: PurePosixPath | None = None
    size: int | None = None
    sha256: str | None = None
    media_type: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    duration: float | None = None
    etag: str | None = None
    attempts: int = 0
    last_error: str | None = None
    run: int | None = None
    disputed: datetime | None = None
    ask_after: datetime | None = None

    @property
    def on_disk(self) -> bool:
        """Whether there is a file, as far as the catalog knows."""
        return self.state in ON_DISK


@dataclass(frozen=True, slots=True)
class SidecarRow:
    """A file beside a recording: ``metadata``, ``transcript`` or ``transcript_text``."""

    call_id: str
    kind: str
    path: PurePosixPath
    size: int
    sha256: str
    updated: datetime


@dataclass(frozen=True, slots=True)
class CatalogFile:
    """A file that the catalog knows of.

    Attributes:
        path: relative to the archive.
        size: bytes; None if it never was on the disk.
        sha256: in hexadecimal, likewise.
        call_id: whose it is.
        kind: ``recording``, or a sidecar's kind.
        version: of a recording; 0 for sidecars.
        state: of a recording; ``archived`` for sidecars.
        note: a recording's last error; why it is suspect or lost.
    """

    path: PurePosixPath
    size: int | None
    sha256: str | None
    call_id: str
    kind: str
    version: int
    state: str
    note: str | None


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run of the archive; ``finished`` is None if it is in progress or died."""

    id: int
    started: datetime
    finished: datetime | None
    since: datetime | None
    until: datetime | None
    status: str | None
    direction: str | None
    complete: bool
    covered_until: datetime | None
    stop_reason: str | None
    counts: Mapping[str, int]


@lru_cache(maxsize=64)  # all rows of a batch say the same "now"
def stamp(moment: datetime) -> str:
    """An aware moment as text that sorts: ``2026-11-21T08:30:00.000000Z``."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def stamp_or_none(moment: datetime | None) -> str | None:
    """The same for a moment from the network, which may lie outside of what UTC can express."""
    try:
        return None if moment is None else stamp(moment)
    except (OverflowError, ValueError):
        return None


def moment_of(text: str) -> datetime:
    """The moment that `stamp` wrote."""
    return datetime.fromisoformat(text)


def moment_or_none(text: str | None) -> datetime | None:
    """The moment that `stamp_or_none` wrote."""
    return None if text is None else datetime.fromisoformat(text)


@lru_cache(maxsize=1024)  # a batch of ids is written several times
def id_to_text(call_id: str) -> str:
    """A call id as text that SQLite takes; one-to-one.

    Lone surrogates, which JSON can carry, cannot be written in UTF-8, and NUL ends a text for
    some of SQLite's functions; such ids are written in base64.
    """
    if call_id.isascii() and "\0" not in call_id and not call_id.startswith(_ESCAPE):
        return call_id
    data = call_id.encode("utf-8", "surrogatepass")
    if "\0" not in call_id and not call_id.startswith(_ESCAPE):
        try:
            data.decode()
        except UnicodeDecodeError:
            pass
        else:
            return call_id
    return _ESCAPE + base64.urlsafe_b64encode(data).decode()


def id_from_text(text: str) -> str:
    """The id that `id_to_text` wrote."""
    if not text.startswith(_ESCAPE):
        return text
    return base64.urlsafe_b64decode(text[len(_ESCAPE) :]).decode("utf-8", "surrogatepass")


def plain(text: str | None) -> str | None:
    """Any text from the network as text that SQLite takes; not one-to-one."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()


def raw_text(raw: Mapping[str, Any]) -> str:
    """A call's JSON in one line; equal for equal calls, pure ASCII."""
    return _ENCODER.encode(raw)


def call_row(row: Sequence[object]) -> CallRow:
    """A `CallRow` from the columns of the table, in their order."""
    id_, raw, started, ended, status, direction, duration, first, last = row
    return CallRow(
        id=id_from_text(str(id_)),
        raw=str(raw),
        started=moment_or_none(_text(started)),
        ended=moment_or_none(_text(ended)),
        status=_text(status),
        direction=_text(direction),
        duration=float(duration) if isinstance(duration, int | float) else None,
        first_seen=moment_of(str(first)),
        last_seen=moment_of(str(last)),
    )


def parsed_call(row: CallRow) -> Call:
    """The call of a row, as a value."""
    return Call.from_json(json.loads(row.raw))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def recording_row(row: Sequence[Any], connection: sqlite3.Connection | None = None) -> RecordingRow:
    """A `RecordingRow` from the columns of `COLUMNS`."""
    return RecordingRow(
        call_id=id_from_text(row[0]),
        version=row[1],
        state=row[2],
        path=None if row[3] is None else path_of_row(connection, row[3]),
        size=row[4],
        sha256=row[5],
        media_type=row[6],
        sample_rate=row[7],
        channels=row[8],
        duration=row[9],
        etag=row[10],
        attempts=row[11],
        created=moment_of(row[12]),
        updated=moment_of(row[13]),
        last_error=row[14],
        run=row[15],
        disputed=moment_or_none(row[16]),
        ask_after=moment_or_none(row[17]),
    )


def sidecar_row(row: Sequence[Any], connection: sqlite3.Connection | None = None) -> SidecarRow:
    """A `SidecarRow` from the table's columns, in their order."""
    path = path_of_row(connection, row[2])
    return SidecarRow(id_from_text(row[0]), row[1], path, row[3], row[4], moment_of(row[5]))


def run_row(row: Sequence[Any]) -> RunRow:
    """A `RunRow` from the columns of `runs`."""
    return RunRow(
        id=row[0],
        started=moment_of(row[1]),
        finished=moment_or_none(row[2]),
        since=moment_or_none(row[3]),
        until=moment_or_none(row[4]),
        status=row[5],
        direction=row[6],
        complete=bool(row[7]),
        covered_until=moment_or_none(row[8]),
        stop_reason=row[9],
        counts=json.loads(row[10]) if row[10] else {},
    )


def file_row(row: Sequence[Any], connection: sqlite3.Connection | None = None) -> CatalogFile:
    """A `CatalogFile` from the columns of `files_after`."""
    text, size, sha256, call_id, kind, version, state, note = row
    path = path_of_row(connection, text)
    return CatalogFile(path, size, sha256, id_from_text(call_id), kind, version, state, note)


class Sound(Protocol):
    """What was found out about the bytes of a recording."""

    @property
    def media_type(self) -> str:
        """What the bytes are."""

    @property
    def sample_rate(self) -> int | None:
        """Frames a second."""

    @property
    def channels(self) -> int | None:
        """Of WAVE."""

    @property
    def duration_seconds(self) -> float | None:
        """Of audio."""

    @property
    def suspect(self) -> str | None:
        """Why header and bytes disagree."""


def _state_of(sound: Sound | None) -> State:
    if sound is None or sound.suspect is not None:
        return "suspect"
    return "empty" if sound.duration_seconds == 0 else "archived"


def with_file(
    row: RecordingRow,
    path: PurePosixPath,
    size: int,
    sha256: str,
    sound: Sound | None,
    now: datetime,
    **more: Any,
) -> RecordingRow:
    """A row of what now lies on the disk; ``sound`` is None if the file does not tell."""
    return row._replace(
        state=_state_of(sound),
        path=path,
        size=size,
        sha256=sha256,
        media_type=row.media_type if sound is None else sound.media_type,
        sample_rate=None if sound is None else sound.sample_rate,
        channels=None if sound is None else sound.channels,
        duration=None if sound is None else sound.duration_seconds,
        updated=now,
        last_error=UNPROVED if sound is None else sound.suspect,
        disputed=None,
        ask_after=None,
        **more,
    )
