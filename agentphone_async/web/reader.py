"""What `serve` reads of an archive: the catalog, and files that it names; nothing is written there.

Of an archive in a bucket, the catalog is the cache on this machine, which is kept up to date.
Blocking, for a thread.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from agentphone_async.archive.bucket.store import Store
from agentphone_async.archive.catalog.opening import (
    catalog_errors,
    connect,
    disconnect,
    path_of,
)
from agentphone_async.archive.catalog.rows import stamp
from agentphone_async.errors import CatalogError, DestinationError
from agentphone_async.models import Transcript
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.sinks.threads import FilePool
from agentphone_async.web.peaks import FAR_PIECES, PIECES, Peaks, peaks_of
from agentphone_async.web.place import Folder, Objects, Place
from agentphone_async.web.search import FILE_NAME, Index, Text

PULL = 30.0
"""Seconds between looks at whether a bucket has new manifests."""

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


class ArchiveReader:
    """An archive to be read, and the index of it; to be closed.

    Args:
        folder: the archive; of one in a bucket, its cache.
        pool: threads to read files on.
        bucket: where its files are, if not in the folder.
        full_text: as for `Index`.

    Raises:
        CatalogError: there is no archive, or its catalog cannot be read.
        DestinationError: the bucket cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        pool: FilePool,
        *,
        bucket: Bucket | None = None,
        full_text: bool = True,
    ) -> None:
        self.folder = folder
        with ExitStack() as stack:
            self._store: Store | None = None
            if bucket is not None:
                self._store = Store(bucket, folder)
                stack.callback(self._store.close)
                self._store.open_existing()
                self._store.pull()
            self._pulled = time.monotonic()
            self._catalog = connect(folder, write=False)
            stack.callback(disconnect, self._catalog)
            self.files: Place = Folder(folder, self._catalog, pool)
            if bucket is not None:
                self.files = Objects(bucket)
            self.index = Index(self._place_of_index(stack), full_text=full_text)
            stack.callback(self.index.close)
            self._closing = stack.pop_all()
        self._seen = -1
        self._mark = ""
        self._changed: list[str] = []

    def close(self) -> None:
        """Let everything go."""
        self._closing.close()

    def _place_of_index(self, stack: ExitStack) -> Path:
        """Beside the catalog; of an archive that cannot be written, in a folder that goes away."""
        place = self.folder / FILE_NAME
        try:
            os.close(os.open(place, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600))
        except OSError:
            folder = tempfile.TemporaryDirectory(prefix="agentphone-serve-")
            place = Path(stack.enter_context(folder)) / FILE_NAME
        return place

    # ---------------------------------------------------------------- the index

    def sync(self, now: datetime) -> bool:
        """Bring a part of the index up to date with the catalog; whether more is to be done."""
        if self._store is not None and time.monotonic() - self._pulled > PULL:
            self._pulled = time.monotonic()
            self._store.pull()
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
        rows = self.index.to_index(most)
        if rows:
            with ThreadPoolExecutor(self.files.at_once) as pool:
                self.index.put_words(list(pool.map(self._text, rows)))
        return len(rows) == most

    def _text(self, row: tuple[int, str | None, str | None, str]) -> Text:
        row_id, transcript, event, wanted = row
        told = self.event(event)
        successful = told.get("callSuccessful")
        return Text(
            row_id,
            wanted,
            "\n".join(turn["said"] for turn in self.turns(transcript, "", None)),
            _text_of(told.get("summary")),
            _text_of(told.get("userSentiment")),
            successful if isinstance(successful, bool) else None,
        )

    # ---------------------------------------------------------------- files

    def peaks(self, path: str) -> Peaks | None:
        """How loud a recording is; None where that cannot be told."""
        with closing(self.files.open(path)) as file:
            far = file.is_far and file.size > 4 * 2**20
            return peaks_of(file.read, file.size, FAR_PIECES if far else PIECES)

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
            with closing(self.files.open(path)) as file:
                (body,) = file.read([(0, _LONGEST + 1)])
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
