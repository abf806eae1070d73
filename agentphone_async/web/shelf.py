"""What `serve` reads of an archive: the catalog, and files that it names; nothing is written there.

The catalog may be somebody else's work. A path from it is followed only if it stays within the
archive, and a file is opened without following links. Blocking, for a thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from agentphone_async.archive.catalog.opening import catalog_errors, connect, path_of
from agentphone_async.archive.catalog.rows import stamp
from agentphone_async.errors import CatalogError, DestinationError
from agentphone_async.models import Transcript
from agentphone_async.web.peaks import Peaks, peaks_of
from agentphone_async.web.search import FILE_NAME, Index, Text

_BATCH = 500
_MARGIN = timedelta(minutes=2)
_LONGEST = 8 * 2**20
"""Bytes of a transcript that are read."""

_ROWS = """
SELECT archive.call_id, coalesce(archive.started, ''), archive.direction, archive.from_number,
       archive.to_number, archive.status, archive.state,
       coalesce(archive.audio_duration, archive.call_duration), archive.path, archive.media_type,
       transcript.path, event.path,
       coalesce(transcript.sha256, '') || coalesce(event.sha256, '')
FROM archive
LEFT JOIN sidecars AS transcript
       ON transcript.call_id = archive.call_id AND transcript.kind = 'transcript'
LEFT JOIN sidecars AS event ON event.call_id = archive.call_id AND event.kind = 'event'
"""
_NAMES = (
    "call_id", "started", "direction", "from_number", "to_number", "status", "state", "seconds",
    "path", "media_type", "transcript", "event", "wanted",
)  # fmt: skip
_CHANGED = """
SELECT id FROM calls WHERE last_seen >= :mark
   OR id IN (SELECT call_id FROM recordings WHERE updated >= :mark)
   OR id IN (SELECT call_id FROM sidecars WHERE updated >= :mark)
ORDER BY started DESC
"""


class Shelf:
    """An archive to be read, and the index of it; to be closed.

    Args:
        folder: the archive.
        full_text: as for `Index`.

    Raises:
        CatalogError: there is no archive, or its catalog cannot be read.
    """

    def __init__(self, folder: Path, *, full_text: bool = True) -> None:
        self.folder = folder
        self._catalog = connect(folder, write=False)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        try:
            self.index = Index(self._place_of_index(), full_text=full_text)
        except BaseException:
            self._catalog.close()
            raise
        self._seen = -1
        self._mark = ""
        self._changed: list[str] = []

    def close(self) -> None:
        """Let everything go."""
        self.index.close()
        self._catalog.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _place_of_index(self) -> Path:
        """Beside the catalog; of an archive that cannot be written, in a folder that goes away."""
        place = self.folder / FILE_NAME
        try:
            os.close(os.open(place, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600))
        except OSError:
            self._temporary = tempfile.TemporaryDirectory(prefix="agentphone-serve-")
            place = Path(self._temporary.name) / FILE_NAME
        return place

    # ---------------------------------------------------------------- the index

    def sync(self, now: datetime) -> bool:
        """Bring a part of the index up to date with the catalog; whether more is to be done."""
        with catalog_errors(path_of(self.folder)):
            (version,) = self._catalog.execute("PRAGMA data_version").fetchone()
            if not self._changed and version == self._seen:
                return False
            if not self._changed:
                self._look(now)
                self._seen = version
            if self._changed:
                part, self._changed = self._changed[:_BATCH], self._changed[_BATCH:]
                self.index.store(self._rows(part))
        if not self._changed:
            self.index.keep_setting("mark", self._mark)
        return bool(self._changed)

    def _look(self, now: datetime) -> None:
        """Find out what is new, the newest first, and forget what is gone."""
        mark = self.index.setting("mark") or ""
        self._mark = stamp(now - _MARGIN)
        self._changed = [one for (one,) in self._catalog.execute(_CHANGED, {"mark": mark})]
        ids = {each for (each,) in self._catalog.execute("SELECT id FROM calls")}
        self.index.keep_only(ids)

    def _rows(self, call_ids: Sequence[str]) -> list[dict[str, Any]]:
        rows = self._catalog.execute(
            f"{_ROWS} WHERE archive.call_id IN (SELECT value FROM json_each(?))",  # noqa: S608
            (json.dumps(call_ids),),
        )
        return [dict(zip(_NAMES, row, strict=True)) for row in rows]

    def read_words(self, most: int = 100) -> bool:
        """Take in what was said in some calls; False if there is nothing left to be read."""
        texts: list[Text] = []
        for row_id, transcript, event, wanted in self.index.to_index(most):
            told = self.event(event)
            said = "\n".join(turn["said"] for turn in self.turns(transcript, "", None))
            successful = told.get("callSuccessful")
            texts.append(
                Text(
                    row_id,
                    wanted,
                    said,
                    _text_of(told.get("summary")),
                    _text_of(told.get("userSentiment")),
                    successful if isinstance(successful, bool) else None,
                )
            )
        self.index.put_words(texts)
        return len(texts) == most

    # ---------------------------------------------------------------- files

    @contextlib.contextmanager
    def opened(self, path: str) -> Iterator[int]:
        """A file of the archive, as a descriptor.

        Raises:
            CatalogError: the path leads out of the archive.
            DestinationError: there is no such file, or it is a link or no file at all.
        """
        self._catalog.inside(path)
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        flags |= getattr(os, "O_NONBLOCK", 0)  # for pipes, which are refused below
        try:
            descriptor = os.open(self.folder / path, flags)
        except OSError as error:
            raise DestinationError(
                f"a file of the archive cannot be read: {error.strerror}", errno=error.errno
            ) from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DestinationError("what the catalog names is not a file")
            yield descriptor
        finally:
            os.close(descriptor)

    def peaks(self, path: str) -> Peaks | None:
        """How loud a recording is; None where that cannot be told."""
        with self.opened(path) as descriptor:
            size = os.fstat(descriptor).st_size
            return peaks_of(lambda offset, count: os.pread(descriptor, count, offset), size)

    def event(self, path: str | None) -> dict[str, Any]:
        """What a webhook told; empty if nothing is there."""
        found = self._json(path)
        return found if isinstance(found, dict) else {}

    def turns(self, path: str | None, started: str, seconds: float | None) -> list[dict[str, Any]]:
        """What was said, each with the second at which it was, as well as that is known."""
        found = self._json(path)
        try:
            transcript = Transcript.from_json(found if isinstance(found, dict) else {})
        except ValueError:
            return []
        turns = [
            {"role": turn.role or "", "said": _text_of(turn.content) or "", "at": turn.created_at}
            for turn in transcript.turns
            if turn.content
        ]
        return _timed(turns, _moment(started), seconds)

    def _json(self, path: str | None) -> Any:
        if path is None:
            return None
        try:
            with self.opened(path) as descriptor:
                body = os.pread(descriptor, _LONGEST + 1, 0)
            return json.loads(body) if len(body) <= _LONGEST else None
        except (CatalogError, DestinationError, ValueError, RecursionError):
            return None


def _text_of(value: object) -> str | None:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _timed(
    turns: list[dict[str, Any]], started: datetime | None, seconds: float | None
) -> list[dict[str, Any]]:
    """Seconds from the call's beginning; where moments are missing, guessed from the lengths."""
    known = started is not None and all(turn["at"] is not None for turn in turns)
    total = sum(len(turn["said"]) for turn in turns) or 1
    so_far = 0
    for turn in turns:
        if known and started is not None:
            at = max(0.0, (turn["at"] - started).total_seconds())
            turn["at"] = round(at if seconds is None else min(at, seconds), 2)
        else:
            turn["at"] = None if seconds is None else round(seconds * so_far / total, 2)
        so_far += len(turn["said"])
    return turns
