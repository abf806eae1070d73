"""A catalog that was lost or torn is made anew from what lies on the disk.

Every recording is read, hashed and judged. Whose it is, the old catalog says as far as it can still
be read; else the JSON beside it; else its name, if that is a plain one by the default template. A
name that was hashed or shortened does not tell; such files stay out of the catalog, and the next
run takes them in when it comes to their calls. The old catalog is kept aside.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from agentphone_async.archive.catalog.calls import store_calls
from agentphone_async.archive.catalog.database import (
    catalog_errors,
    connect,
    in_transaction,
    inspect,
    path_of,
)
from agentphone_async.archive.catalog.recordings import (
    owner_of,
    recordings_after,
    store_recordings,
    versions_of,
)
from agentphone_async.archive.catalog.rows import ON_DISK, RecordingRow, State, raw_text
from agentphone_async.archive.catalog.schema import FILE_NAME
from agentphone_async.archive.files import Found, examine, size_of
from agentphone_async.archive.lock import ArchiveLock
from agentphone_async.archive.names import stem_of
from agentphone_async.archive.recovery import Recovery
from agentphone_async.errors import CatalogError
from agentphone_async.models import Call
from agentphone_async.recordings.naming import safe_component
from agentphone_async.sinks.disk import destination_errors, sync_folder
from agentphone_async.sinks.threads import FilePool

BATCH = 256
_WORKSHOP = ".agentphone-rebuild"
_RECORDING = re.compile(r"(?:.*/)?recording-([a-z0-9_][a-z0-9_-]*?)(?:\.v([2-9]|[1-9][0-9]+))?")
_LIKE_A_HASH = re.compile(r"[a-z2-7]{32}")
_ALTERED = "the file is gone or was altered"
_LARGEST_METADATA = 16 * 1024 * 1024


@dataclass(slots=True)
class RebuildReport:
    """What a rebuild found.

    Attributes:
        recordings: files that are in the new catalog.
        suspect: those of them whose header and bytes disagree, as the old catalog knew.
        unknown: whole recordings whose calls nothing tells; the next run takes them in.
        unsound: files that are no whole recordings; the next run puts them aside.
        recovered: rows that came over from the old catalog.
        old: where the old catalog is now; None if there was none.
    """

    recordings: int = 0
    suspect: int = 0
    unknown: int = 0
    unsound: int = 0
    recovered: int = 0
    old: Path | None = None


async def rebuild(folder: str | Path, *, now: datetime | None = None) -> RebuildReport:
    """Make the catalog of an archive anew.

    Raises:
        ArchiveLockedError: a run is at work here.
        CatalogError: the catalog is another program's, or newer than we are.
        DestinationError: the folder is not there, or the disk failed; the old catalog stays.
    """
    thread = FilePool(1)
    try:
        return await thread.run(rebuild_now, Path(folder), now or datetime.now(UTC))
    finally:
        thread.close()


def rebuild_now(folder: Path, now: datetime) -> RebuildReport:
    """`rebuild`, blocking."""
    with destination_errors(folder):
        if not folder.is_dir():
            missing = errno.ENOTDIR if folder.exists() else errno.ENOENT
            raise OSError(missing, os.strerror(missing), str(folder))
    _refuse_foreign(folder)
    with ArchiveLock(folder) as lock:
        lock.acquire()
        workshop = folder / _WORKSHOP
        _empty(workshop)
        report = RebuildReport()
        with (
            catalog_errors(workshop),
            closing(Recovery(path_of(folder))) as old,
            closing(connect(workshop, write=True)) as new,
        ):
            report.recovered = old.copy_all(new)
            _Rebuild(folder, new, old, now, report).go()
        report.old = _quarantine(folder)
        with destination_errors(folder):
            path_of(workshop).replace(path_of(folder))
            sync_folder(folder)
        _empty(workshop)
        return report


class _Rebuild:
    def __init__(
        self,
        folder: Path,
        new: sqlite3.Connection,
        old: Recovery,
        now: datetime,
        report: RebuildReport,
    ) -> None:
        self._folder = folder
        self._new = new
        self._old = old
        self._now = now
        self._report = report

    def go(self) -> None:
        """Take in every recording, a batch at a time; then forget rows without a file."""
        files = recordings_in(self._folder)
        while batch := list(itertools.islice(files, BATCH)):
            found = [one for path in batch if (one := examine(self._folder, path)) is not None]
            in_transaction(self._new, lambda found=found: self._take(found))  # type: ignore[misc]
        in_transaction(self._new, self._disclaim)

    def _take(self, found: list[Found]) -> None:
        for file in found:
            row = owner_of(self._new, file.path) or self._fresh_row(file)
            if row is None:
                if file.sound:
                    self._report.unknown += 1
                else:
                    self._report.unsound += 1
            elif file.sound or row.sha256 == file.sha256:
                state: State = "archived" if file.sound else "suspect"
                store_recordings(self._new, [replace(_filled(row, file, self._now), state=state)])
                self._report.recordings += 1
                self._report.suspect += state == "suspect"
            else:
                self._report.unsound += 1
                store_recordings(self._new, [replace(row, state="failed", last_error=_ALTERED)])

    def _fresh_row(self, file: Found) -> RecordingRow | None:
        """The beginning of a row for a file that the old catalog did not know."""
        if not file.sound:
            return None
        call = self._metadata(file.path)
        call_id, version = identity(file.path, hashed=self._old.hashes_ids)
        if call is not None:
            call_id = call.id
            store_calls(self._new, [(call, raw_text(call.raw))], self._now)
        if call_id is None:
            return None
        known = versions_of(self._new, call_id).get(version)
        if known is not None and known.path is not None:
            if size_of(self._folder, known.path) is not None:
                return None  # it has its recording elsewhere
            return replace(known, path=file.path)
        return RecordingRow(call_id, "archived", self._now, self._now, version=version)

    def _metadata(self, path: PurePosixPath) -> Call | None:
        """The call whose JSON lies beside a recording."""
        beside = PurePosixPath(f"{stem_of(path)}.json")
        size = size_of(self._folder, beside)
        if size is None or size > _LARGEST_METADATA:
            return None
        try:
            return Call.from_json(json.loads((self._folder / beside).read_bytes()))
        except (ValueError, TypeError, ValidationError, RecursionError):
            return None

    def _disclaim(self) -> None:
        """Rows of files that are gone, or have other bytes now, must not claim them any more."""
        after: tuple[str, int] | None = None
        while page := recordings_after(self._new, after, BATCH, states=ON_DISK):
            after = (page[-1].call_id, page[-1].version)
            store_recordings(
                self._new,
                [
                    replace(row, state="failed", last_error=_ALTERED)
                    for row in page
                    if row.path is None or size_of(self._folder, row.path) != row.size
                ],
            )


def _filled(row: RecordingRow, file: Found, now: datetime) -> RecordingRow:
    """A row with what the file itself tells."""
    audio = file.audio
    same = row.sha256 == file.sha256
    return replace(
        row,
        path=file.path,
        size=file.size,
        sha256=file.sha256,
        media_type=audio.media_type if audio else row.media_type,
        sample_rate=audio.sample_rate if audio else row.sample_rate,
        channels=audio.channels if audio else row.channels,
        duration=audio.duration_seconds if audio else row.duration,
        etag=row.etag if same else None,
        last_error=row.last_error if same and not file.sound else None,
        updated=row.updated if same else now,
    )


def recordings_in(folder: Path) -> Iterator[PurePosixPath]:
    """All recordings below a folder, relative to it; links are not followed."""
    with destination_errors(folder):
        for top, folders, names in os.walk(folder, onerror=_raise):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            relative = PurePosixPath(Path(top).relative_to(folder).as_posix())
            for name in sorted(names):
                if name.endswith((".wav", ".mp3")) and not name.startswith("."):
                    yield relative / name


def identity(path: PurePosixPath, *, hashed: bool) -> tuple[str | None, int]:
    """The call id and the version that a path tells; None if the name may have been hashed."""
    match = _RECORDING.fullmatch(stem_of(path).as_posix())
    if match is None:
        return None, 1
    call_id, version = match[1], int(match[2] or 1)
    if hashed or _LIKE_A_HASH.fullmatch(call_id) or safe_component(call_id) != call_id:
        return None, version
    return call_id, version


def _raise(error: OSError) -> None:
    raise error


def _refuse_foreign(folder: Path) -> None:
    try:
        inspect(folder)
    except CatalogError as error:
        if "is no catalog of ours" not in str(error):
            raise


def _quarantine(folder: Path) -> Path | None:
    path = path_of(folder)
    if not os.path.lexists(path):
        return None
    asides = (folder / f"{FILE_NAME}.old-{number}" for number in itertools.count(1))
    aside = next(one for one in asides if not os.path.lexists(one))
    with destination_errors(path):
        path.replace(aside)
        for ending in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{path}{ending}").replace(f"{aside}{ending}")
    return aside


def _empty(workshop: Path) -> None:
    """Remove what a rebuild has left; only files that it makes itself."""
    for ending in ("", "-wal", "-shm", "-journal"):
        Path(f"{path_of(workshop)}{ending}").unlink(missing_ok=True)
    with destination_errors(workshop), suppress(FileNotFoundError):
        workshop.rmdir()
