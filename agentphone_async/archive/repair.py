"""What `verify` finds, fetched again; what was wrong is kept aside."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from anyio.abc import AsyncResource

from agentphone_async.archive.catalog.calls import get_calls
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.opening import check_readable
from agentphone_async.archive.catalog.recordings import (
    current_recordings,
    owner_of,
    store_recordings,
)
from agentphone_async.archive.catalog.rows import (
    CatalogFile,
    RecordingRow,
    parsed_call,
    with_file,
)
from agentphone_async.archive.files.on_disk import quarantine
from agentphone_async.archive.files.sidecar_files import METADATA, Sidecar, SidecarFiles, pretty
from agentphone_async.archive.files.storage import Files, LocalFiles
from agentphone_async.archive.lock import ArchiveLock
from agentphone_async.archive.names import end_of, stem_of, target_of
from agentphone_async.archive.sidecars import transcript_files
from agentphone_async.archive.verify import (
    Finding,
    Progress,
    Verifier,
    VerifyReport,
    fingerprint,
)
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.errors import AgentPhoneError, DestinationError, RecordingNotFoundError
from agentphone_async.models import Call
from agentphone_async.protocol.recording import ALL_EXTENSIONS, Audio
from agentphone_async.recordings.fetch import Fetched, Fetcher
from agentphone_async.recordings.pipeline import work_on
from agentphone_async.sinks.interface import Body, Stored, Target
from agentphone_async.sinks.local import Fsync

_BATCH = 64


async def repair(
    dest: str | Path,
    client: AsyncAgentPhone,
    *,
    threads: int | None = None,
    transfers: int = 8,
    fsync: Fsync = Fsync.BATCH,
    wait_lock: float = 0.0,
    settled: Callable[[Repaired], None] | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """`verify`, and fetch again what is missing, altered, unreadable or suspect.

    Nothing is put aside before its replacement has arrived whole: a bad ``x.wav`` then becomes
    ``x.wav.altered-`` and the beginning of its SHA-256 (or ``.suspect-``). Where the server has
    other bytes than were archived, those become the recording, and ``settled`` says so; earlier
    versions are only ever replaced by the very same bytes. Unknown files are left alone.

    Args:
        dest: the archive.
        client: an open client; recordings need no API key, transcripts do.
        threads: how many read and hash.
        transfers: how many are fetched at a time.
        fsync: when bytes are forced to the disk.
        wait_lock: seconds to wait for a run that is at work here.
        settled: told what became of every finding.
        progress: told how far it is.

    Returns:
        The report; ``remaining`` says how much is wrong still.

    Raises:
        CatalogError: the archive is missing, or its catalog cannot be used.
        ArchiveLockedError: a run is at work here.
        DestinationError: the disk failed.
    """
    folder = Path(dest)
    check_readable(folder)  # no archive, no lock file
    lock = ArchiveLock(folder)
    await lock.wait(wait_lock, asyncio.sleep)
    with lock:
        async with await Catalog.open(folder) as catalog:
            verifier = Verifier(folder, catalog, threads=threads, progress=progress)
            async with Repairer(folder, catalog, client, transfers, fsync) as repairer:
                await repairer.repair_all(verifier.findings(), verifier.report, settled)
                await repairer.finish()
    return verifier.report


@dataclass(frozen=True, slots=True)
class Repaired:
    """What became of a finding.

    Attributes:
        finding: what was wrong.
        repaired: whether the file is whole and sound now.
        line: what was done, or why nothing could be.
    """

    finding: Finding
    repaired: bool
    line: str


class NotRepairableError(Exception):
    """A finding cannot be put right; its text says why."""


class Repairer(AsyncResource):
    """Puts findings right, a batch at a time."""

    def __init__(
        self,
        folder: Path,
        catalog: Catalog,
        client: AsyncAgentPhone,
        transfers: int,
        fsync: Fsync,
        files: Files | None = None,
    ) -> None:
        self._folder = folder
        self._catalog = catalog
        self._client = client
        self._transfers = transfers
        self._sink = (files or LocalFiles(folder)).sink(fsync)
        limit = client.settings.max_file_size
        self._fetcher = Fetcher(client.session, self._sink, max_file_size=limit)
        self._files = SidecarFiles(folder, fsync=fsync, catalog=catalog, files=files)

    async def aclose(self) -> None:
        """Let files go; the catalog and the client stay open."""
        try:
            await self._sink.aclose()
        finally:
            await self._files.aclose()

    async def finish(self) -> None:
        """Bring the sums of the folders up to date in which something was put right."""
        await self._files.write_sums(self._files.changed)

    async def repair_all(
        self,
        findings: AsyncGenerator[Finding],
        report: VerifyReport,
        settled: Callable[[Repaired], None] | None,
    ) -> None:
        """Repair what is found, a batch at a time; count it, and tell it in the same order."""
        async with aclosing(findings):
            finding = await anext(findings, None)
            while finding is not None:
                batch: dict[Finding, Repaired | None] = {}
                while finding is not None and len(batch) < _BATCH:
                    batch[finding] = None
                    finding = await anext(findings, None)
                await self._repair_batch(batch)
                for repaired in filter(None, batch.values()):
                    report.repaired += repaired.repaired
                    if settled is not None:
                        settled(repaired)

    async def _repair_batch(self, batch: dict[Finding, Repaired | None]) -> None:
        async def one(finding: Finding) -> None:
            batch[finding] = await self._repair(finding)

        await work_on(list(batch), one, at_once=min(self._transfers, len(batch)))

    async def _repair(self, finding: Finding) -> Repaired:
        file = finding.file
        if file is None:
            return Repaired(finding, repaired=False, line=f"left alone: {finding.reason}")
        try:
            if file.kind == "recording":
                return await self._repair_recording(finding, file)
            return await self._repair_sidecar(finding, file)
        except DestinationError:
            raise
        except RecordingNotFoundError:
            line = "the server has no recording of this call"
        except (NotRepairableError, AgentPhoneError) as error:
            line = str(error)
        return Repaired(finding, repaired=False, line=line)

    def _quarantine(self, finding: Finding) -> PurePosixPath | None:
        """Rename what lies at a finding's place, and return its new name; None if nothing does."""
        if not os.path.lexists(self._folder / finding.path):
            return None
        what = "suspect" if finding.kind == "suspect" else "altered"
        beginning = fingerprint(self._folder, finding)[:8] or "0" * 8
        return quarantine(self._folder, finding.path, f".{what}-{beginning}")

    # ---------------------------------------------------------------- recordings

    async def _repair_recording(self, finding: Finding, file: CatalogFile) -> Repaired:
        row = await self._catalog.run(owner_of, file.path)
        latest = (await self._catalog.run(current_recordings, [file.call_id])).get(file.call_id)
        if row is None or latest is None:
            raise NotRepairableError("the catalog has forgotten it meanwhile")
        calls = await self._catalog.run(get_calls, [file.call_id])
        target = _target(file.path)
        if file.call_id in calls:
            target = target._replace(mtime=end_of(parsed_call(calls[file.call_id])))
        fetched = await self._fetcher.fetch(file.call_id, target)
        try:
            same = await self._files.pool.run(_sha256, fetched) == row.sha256
            audio = fetched.ready.audio
            _object(finding, audio, same=same, current=row.version == latest.version)
            aside = await self._files.pool.run(self._quarantine, finding)
            stored = (await self._sink.publish([fetched.ready]))[0]
        except (NotRepairableError, AgentPhoneError):
            await self._sink.discard(fetched.ready)  # there may be very many of these
            raise
        finally:
            self._fetcher.budget.release(fetched.held)
        if not stored.new:
            raise NotRepairableError("its name was taken meanwhile; verify again")
        await self._catalog.transaction(store_recordings, [_restored(row, fetched, stored)])
        self._files.changed.add(stored.name.parent)
        line = "fetched again" if same else "fetched again; the server has other bytes than before"
        if audio.suspect is not None:
            line += f", still suspect: {audio.suspect}"
        return Repaired(finding, audio.suspect is None, line + _kept(aside))

    # ---------------------------------------------------------------- sidecars

    async def _repair_sidecar(self, finding: Finding, file: CatalogFile) -> Repaired:
        calls = await self._catalog.run(get_calls, [file.call_id])
        if file.call_id not in calls:
            raise NotRepairableError("the catalog does not have its call")
        call = Call.from_json(json.loads(calls[file.call_id].raw))
        if file.kind == METADATA:
            fresh = Sidecar(call.id, METADATA, file.path, pretty(call.raw))
            line = "written again from the catalog"
        else:
            transcript = await self._client.calls.get_transcript(call.id)
            if not transcript.turns:
                raise NotRepairableError("the server has no transcript of this call")
            both = transcript_files(call, transcript, file.path.with_suffix(""), UTC)
            fresh = next(each for each in both if each.kind == file.kind)
            line = "fetched again"
        aside = await self._files.pool.run(self._quarantine, finding)
        await self._files.store([fresh])
        return Repaired(finding, repaired=True, line=line + _kept(aside))


def _target(path: PurePosixPath) -> Target:
    if path.suffix in ALL_EXTENSIONS:
        return target_of(stem_of(path))
    return Target(path.parent, path.name, extension="")


def _object(finding: Finding, audio: Audio, *, same: bool, current: bool) -> None:
    """Refuse to replace what is better than what has arrived."""
    if finding.kind == "suspect":
        if same:
            raise NotRepairableError(f"the server has the same bytes: {finding.reason}")
        if audio.suspect is not None:
            raise NotRepairableError(f"the server has other bytes, suspect, too: {audio.suspect}")
    if not same and not current:
        raise NotRepairableError("an earlier version, which the server has no more")


def _sha256(fetched: Fetched) -> str:
    ready = fetched.ready
    if not isinstance(ready, Body):
        return ready.sha256
    digest = hashlib.sha256()
    for chunk in ready.chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _restored(row: RecordingRow, fetched: Fetched, stored: Stored) -> RecordingRow:
    row = row._replace(etag=fetched.etag, attempts=row.attempts + fetched.attempts)
    audio = fetched.ready.audio
    return with_file(row, stored.name, stored.size, stored.sha256, audio, datetime.now(UTC))


def _kept(aside: PurePosixPath | None) -> str:
    return "" if aside is None else f"; the bad file is kept as {aside.name}"
