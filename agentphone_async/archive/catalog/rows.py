"""The catalog's rows as values, and how text and moments are written in them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, Literal

State = Literal["archived", "not_ready", "no_recording", "failed", "suspect"]
"""What is known of a recording: on disk and sound; absent so far; absent for good; could not be
had; on disk, although header and bytes disagree."""

ON_DISK: frozenset[str] = frozenset({"archived", "suspect"})
OPEN: frozenset[str] = frozenset({"not_ready", "failed"})
"""States that are asked again on every run."""

_ESCAPE = "base64:"


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


@dataclass(frozen=True, slots=True)
class RecordingRow:
    """What is known of one version of a call's recording.

    Attributes:
        version: from 1; the highest is the current one.
        path: relative to the archive; None while there is no file.
        size: bytes.
        duration: seconds of audio.
        attempts: requests so far, over all runs.
        last_error: why it failed, or why it is suspect.
        run: the run that settled it last; None if no run did.
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
class RunRow:
    """A run of the archive; ``finished`` is None if it goes on or died."""

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
    return json.dumps(raw, separators=(",", ":"))
