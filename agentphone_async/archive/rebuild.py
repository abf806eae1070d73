"""A catalog that was lost or torn is rebuilt from what lies on the disk.

Every recording is read, hashed and judged: one that matches its line in ``SHA256SUMS`` is whole,
whatever its header says. Whose it is, the old catalog says as far as it can still be read; else the
index; else the JSON beside it; else its name, if that is a plain one by the default template. What
nothing tells stays out of the catalog, and the next run takes it in when it comes to its call.
Files beside recordings are taken in, too. The old catalog is kept aside, and there is a catalog at
its place at every moment: the old one, or the new one.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agentphone_async.archive.catalog.database import Catalog, in_transaction
from agentphone_async.archive.catalog.opening import catalog_errors, connected, inspect, path_of
from agentphone_async.archive.catalog.recordings import (
    owner_of,
    recordings_after,
    store_recordings,
    versions_of,
)
from agentphone_async.archive.catalog.rows import ON_DISK, RecordingRow, with_file
from agentphone_async.archive.catalog.schema import FILE_NAME
from agentphone_async.archive.erase import resume
from agentphone_async.archive.files.on_disk import Found, examine, files_below, size_of
from agentphone_async.archive.lock import ArchiveLock
from agentphone_async.archive.recovery import Recovery
from agentphone_async.errors import CatalogError
from agentphone_async.protocol.recording import ALL_EXTENSIONS
from agentphone_async.sinks.disk import FILE_MODE, destination_errors, sync_folder
from agentphone_async.sinks.threads import FilePool

BATCH = 256
_WORKSHOP = ".agentphone-rebuild"
_ALTERED = "the file is gone or was altered"


@dataclass(slots=True)
class RebuildReport:
    """What a rebuild found.

    Attributes:
        recordings: files that are in the new catalog.
        suspect: those of them whose header and bytes disagree, as the old catalog knew.
        sidecars: files beside recordings that are in the new catalog.
        unknown: whole recordings whose calls nothing tells; the next run takes them in.
        unsound: files that are not whole recordings; the next run puts them aside.
        recovered: rows that came over from the old catalog.
        old: where the old catalog is now; None if there was none.
    """

    recordings: int = 0
    suspect: int = 0
    sidecars: int = 0
    unknown: int = 0
    unsound: int = 0
    recovered: int = 0
    old: Path | None = None


async def rebuild(folder: str | Path, *, now: datetime | None = None) -> RebuildReport:
    """Rebuild the catalog of an archive.

    Raises:
        ArchiveLockedError: a run is at work here.
        CatalogError: the catalog is another program's, or newer than we are.
        DestinationError: the folder is not there, or the disk failed; the old catalog stays.
    """
    thread = FilePool(1)
    try:
        report = await thread.run(rebuild_now, Path(folder), now or datetime.now(UTC))
    finally:
        thread.close()
    async with await Catalog.open(Path(folder)) as catalog:
        with ArchiveLock(Path(folder)) as lock:
            lock.acquire()
            await resume(Path(folder), catalog)
    return report


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
        with catalog_errors(workshop), connected(workshop, write=True) as new:
            new.folder = folder
            recovery = Recovery(folder, new, now)
            report.recovered = recovery.go(path_of(folder))
            _Rebuild(recovery, report).go()
            _close(new)
        report.old = _keep(folder)
        with destination_errors(folder):
            path_of(workshop).replace(path_of(folder))
            sync_folder(folder)
        _empty(workshop)
        return report


class _Rebuild:
    def __init__(self, recovery: Recovery, report: RebuildReport) -> None:
        self._folder, self._new, self._now = recovery.folder, recovery.new, recovery.now
        self._recovery = recovery
        self._report = report

    def go(self) -> None:
        """Take in every recording, a batch at a time; then forget rows without a file."""
        files = files_below(self._folder, ALL_EXTENSIONS)
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
            elif file.sound if row.sha256 is None else row.sha256 == file.sha256:
                filled = _filled(row, file, self._now)
                store_recordings(self._new, [filled])
                self._report.recordings += 1
                self._report.suspect += filled.state == "suspect"
            else:
                self._report.unsound += 1
                store_recordings(self._new, [row._replace(state="failed", last_error=_ALTERED)])

    def _fresh_row(self, file: Found) -> RecordingRow | None:
        """The beginning of a row for a file of which neither old catalog nor index knows."""
        if not file.sound:
            return None
        call_id, version = self._recovery.identity(file.path)
        if call_id is None:
            return None
        known = versions_of(self._new, call_id).get(version)
        if known is not None and known.path is not None:
            if size_of(self._folder, known.path) is not None:
                return None  # it has its recording elsewhere
            return known._replace(path=file.path, sha256=None)
        return RecordingRow(call_id, "archived", self._now, self._now, version=version)

    def _disclaim(self) -> None:
        """Rows of files that are gone, or have other bytes now, must not claim them any more."""
        after: tuple[str, int] | None = None
        while page := recordings_after(self._new, after, BATCH, states=ON_DISK):
            after = (page[-1].call_id, page[-1].version)
            store_recordings(
                self._new,
                [
                    row._replace(state="failed", last_error=_ALTERED)
                    for row in page
                    if row.path is None or size_of(self._folder, row.path) != row.size
                ],
            )


def _filled(row: RecordingRow, file: Found, now: datetime) -> RecordingRow:
    """A row with what the file itself tells, unless the row was right."""
    if row.sha256 == file.sha256 and row.on_disk:
        return row._replace(path=file.path, size=file.size)
    sound = with_file(row, file.path, file.size, file.sha256, file.audio, now)
    return sound._replace(etag=row.etag if row.sha256 == file.sha256 else None)


def _refuse_foreign(folder: Path) -> None:
    try:
        inspect(folder)
    except CatalogError as error:
        if "is not a catalog of ours" not in str(error):
            raise


def _close(new: sqlite3.Connection) -> None:
    """Make the new catalog one plain file, so that one rename brings it to its place."""
    new.execute("DROP TABLE IF EXISTS temp.named")
    new.execute("PRAGMA journal_mode = DELETE").fetchall()


def _keep(folder: Path) -> Path | None:
    """Give the old catalog a second name, and return that; None if there is no catalog.

    Its log goes there, too: it must not be taken for the new catalog's. What it has to say was
    written into a sound catalog before.
    """
    path = path_of(folder)
    if not os.path.lexists(path):
        return None
    _write_log(path)
    asides = (folder / f"{FILE_NAME}.old-{number}" for number in itertools.count(1))
    aside = next(one for one in asides if not os.path.lexists(one))
    with destination_errors(path):
        try:
            os.link(path, aside, follow_symlinks=False)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, aside, follow_symlinks=False)
            aside.chmod(FILE_MODE)
        for ending in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{path}{ending}").replace(f"{aside}{ending}")
        sync_folder(folder)
    return aside


def _write_log(path: Path) -> None:
    """Write what a catalog's log holds into the catalog, if both are sound."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as old:
        old.execute("PRAGMA journal_mode = DELETE").fetchall()


def _empty(workshop: Path) -> None:
    """Remove what a rebuild has left; only files that it makes itself, and in no linked folder."""
    if workshop.is_symlink():
        workshop.unlink()
    for ending in ("", "-wal", "-shm", "-journal"):
        Path(f"{path_of(workshop)}{ending}").unlink(missing_ok=True)
    with destination_errors(workshop), suppress(FileNotFoundError):
        workshop.rmdir()
