"""What is written beside recordings: each call's JSON, and what was said.

For a call ``call_ghi012``, beside its recording or where that would be::

    recording-call_ghi012.json    the call, as the list of calls has it
    transcript-call_ghi012.json   its transcript, as the API gives it
    transcript-call_ghi012.txt    the same for people

With a template of your own, the first has the recording's name and ``.json``. No two files of an
archive meet in a name: in ids as they are rendered there is no dot.

Each appears in one rename and is catalogued with size and SHA-256. They are written for calls that
are over, with a recording or without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path, PurePosixPath

import anyio
from anyio.abc import AsyncResource

from agentphone_async.archive.catalog.calls import (
    absent_of,
    note_absent,
    note_pending,
    pending_of,
    stored,
)
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.files.sidecar_files import (
    METADATA,
    TRANSCRIPT,
    TRANSCRIPT_TEXT,
    Known,
    Sidecar,
    SidecarFiles,
    pretty,
    sha256_of,
)
from agentphone_async.archive.files.storage import Files
from agentphone_async.archive.options import Placed, RunOptions
from agentphone_async.archive.report import MOST_KEPT
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.errors import (
    AgentPhoneError,
    AuthenticationError,
    DestinationError,
    NotFoundError,
)
from agentphone_async.models import Call, Transcript, TranscriptTurn
from agentphone_async.protocol.display import hint, printable
from agentphone_async.recordings.pipeline import work_on
from agentphone_async.sinks.local import Fsync

EXPECTED = timedelta(days=7)
"""A transcript that is absent for longer than this after the call's end is not waited for."""

AT_ONCE = 8
"""Transcripts that are asked for at a time."""

SETTLED = timedelta(hours=1)
"""A transcript fetched sooner than this after the call's end may have lacked its last words; it
is fetched once more by a later run."""

_BATCH = 64
_MOST_LINES = 10


@dataclass(slots=True)
class TranscriptReport:
    """What became of transcripts in one run.

    Attributes:
        written: transcripts that were new or have changed.
        absent: calls that have none, or none yet; asked again by the next runs, until a week has
            passed since the call's end.
        failed: transcripts that could not be fetched; retried by the next runs, forever.
        failures: of those, ids and errors; the first 100.
    """

    written: int = 0
    absent: int = 0
    failed: int = 0
    failures: list[tuple[str, AgentPhoneError]] = field(default_factory=list)

    def add_failure(self, call_id: str, error: AgentPhoneError) -> None:
        """Count one, and keep it if there are not very many already."""
        self.failed += 1
        if len(self.failures) < MOST_KEPT:
            self.failures.append((call_id, error))


def transcript_files(
    call: Call, transcript: Transcript, stem: PurePosixPath, zone: tzinfo
) -> tuple[Sidecar, Sidecar]:
    """The two files of a transcript; ``stem`` is their path without extension."""
    text = transcript_text(call, transcript, zone).encode()
    return (
        Sidecar(call.id, TRANSCRIPT, stem.parent / f"{stem.name}.json", pretty(transcript.raw)),
        Sidecar(call.id, TRANSCRIPT_TEXT, stem.parent / f"{stem.name}.txt", text),
    )


def _metadata(placed: Placed) -> Sidecar:
    stem = placed.stem
    # A template may make another call's recording look like a transcript: ``transcript-x``.
    ending = ".call.json" if stem.name.casefold().startswith("transcript-") else ".json"
    path = stem.parent / f"{stem.name}{ending}"
    return Sidecar(placed.call.id, METADATA, path, pretty(stored(placed.call)))


def _is_current(file: Sidecar, known: Known) -> bool:
    row = known.get((file.call_id, file.kind))
    return row is not None and row.path == file.path and row.sha256 == sha256_of(file.body)


_LONGEST = 10**9


def transcript_text(call: Call, transcript: Transcript, zone: tzinfo = UTC) -> str:
    """What was said: a line about the call, then one paragraph a turn, with time and role.

    Times are of ``zone``. The call's id is left out: who has the text need not have the audio.
    """
    lines = [_about(call, zone), ""]
    for turn in transcript.turns:
        lines += _turn(turn, zone)
    return "\n".join(lines) + "\n"


def _about(call: Call, zone: tzinfo) -> str:
    began = _local(call.started_at, zone)
    parts = [
        f"Call of {began:%Y-%m-%d %H:%M:%S %Z}".rstrip() if began else "Call of an unknown time",
        call.direction,
        f"from {call.from_number or '?'} to {call.to_number or '?'}",
    ]
    return ", ".join(printable(part, 100) for part in parts if part)


def _turn(turn: TranscriptTurn, zone: tzinfo) -> list[str]:
    at = _local(turn.created_at, zone)
    clock = f"{at:%H:%M:%S}" if at else "--:--:--"
    first, *rest = (turn.content or "").splitlines() or [""]
    said = f"[{clock}] {printable(turn.role or '?', 40)}: {printable(first, _LONGEST)}"
    return [said, *(f"    {printable(line, _LONGEST)}" for line in rest)]


def _local(moment: datetime | None, zone: tzinfo) -> datetime | None:
    try:
        return None if moment is None else moment.astimezone(zone)
    except (OverflowError, ValueError):  # the first or last hours that a datetime can express
        return None


class Sidecars(AsyncResource):
    """Metadata, transcripts and checksums of one run; a `SidecarWriter`.

    To be used as an async context manager around the run. Nothing is opened or written before the
    run has a call to show::

        async with Sidecars(folder, client, metadata=True) as beside:
            report = await Archive(folder).run(client, selection, sidecar_writers=[beside])

    Args:
        folder: the archive.
        client: the run's.
        metadata: write ``recording-{id}.json``.
        transcripts: write ``transcript-{id}.json`` and ``.txt``.
        sums: write ``SHA256SUMS``.
        zone: of the times in transcripts.
        hash_ids, fsync: as in the run's options.
        catalog: the run's; one of their own is opened at the first use if there is none.
        files: where they lie, if that is not ``folder``.

    Attributes:
        report: what became of transcripts.
    """

    def __init__(
        self,
        folder: str | Path,
        client: AsyncAgentPhone,
        *,
        metadata: bool = False,
        transcripts: bool = False,
        sums: bool = True,
        zone: tzinfo = UTC,
        hash_ids: bool = False,
        fsync: Fsync = Fsync.BATCH,
        catalog: Catalog | None = None,
        files: Files | None = None,
    ) -> None:
        self._files = SidecarFiles(
            Path(folder), fsync=fsync, hash_ids=hash_ids, catalog=catalog, files=files
        )
        self._metadata = metadata
        self._transcripts = transcripts
        self._sums = sums
        self._client = client
        self._zone = zone
        self._limiter = anyio.CapacityLimiter(AT_ONCE)
        self.report = TranscriptReport()

    async def aclose(self) -> None:
        """Let files and catalog go; fine at any time, also twice."""
        await self._files.aclose()

    async def process(self, calls: Sequence[Placed]) -> None:
        """Write what is new, or not as it was, beside the recordings of calls that are over.

        Raises:
            DestinationError: the disk or the catalog failed.
            AuthenticationError: the API key is refused.
        """
        if not self._metadata and not self._transcripts:
            return
        over = [placed for placed in calls if placed.call.is_finished]
        for start in range(0, len(over), _BATCH):
            batch = over[start : start + _BATCH]
            known = await self._files.known([placed.call.id for placed in batch])
            if self._metadata:
                wanted = map(_metadata, batch)
                await self._files.store([one for one in wanted if not _is_current(one, known)])
            if self._transcripts:
                await self._fetch(batch, known)

    async def finish(self, folders: Sequence[PurePosixPath]) -> None:
        """The sums come last: they cover what was written before."""
        if self._sums:
            await self._files.finish_sums(folders)

    @property
    def failed(self) -> int:
        """Transcripts that could not be fetched."""
        return self.report.failed

    def problems(self) -> list[str]:
        """One line for each transcript that could not be fetched, unless there are very many."""
        lines = [
            f"no transcript of {hint(call_id)}: {error}"
            for call_id, error in self.report.failures[:_MOST_LINES]
        ]
        if self.report.failed > len(lines):
            lines.append(
                f"{self.report.failed:,} transcripts could not be fetched; the next run asks again"
            )
        return lines

    # ---------------------------------------------------------------- transcripts

    def _is_wanted(self, call: Call, known: Known) -> bool:
        row = known.get((call.id, TRANSCRIPT))
        if row is None or (call.id, TRANSCRIPT_TEXT) not in known:
            return True
        ended = call.ended_at
        return ended is not None and timedelta(0) <= row.updated - ended < SETTLED

    async def _fetch(self, calls: Sequence[Placed], known: Known) -> None:
        """Fetch and write transcripts that are missing for these calls.

        One that cannot be fetched is counted in `report`, and is not a reason to stop. The catalog
        remembers it, so that the next run asks again, whatever the days that it is for.
        """
        wanted = [placed for placed in calls if self._is_wanted(placed.call, known)]
        catalog = await self._files.catalog()
        none = await catalog.run(absent_of, [one.call.id for one in wanted], TRANSCRIPT)
        wanted = [one for one in wanted if one.call.id not in none]
        if not wanted:
            return
        files: list[Sidecar] = []
        missing: set[str] = set()
        absent: list[str] = []

        async def fetch(placed: Placed) -> None:
            try:
                async with self._limiter:
                    found = await self._ask(placed.call.id)
            except AgentPhoneError as error:
                if isinstance(error, DestinationError | AuthenticationError):
                    raise
                self.report.add_failure(placed.call.id, error)
                missing.add(placed.call.id)
                return
            if found is None:
                self.report.absent += 1
                if self._may_still_come(placed.call):
                    missing.add(placed.call.id)
                else:
                    absent.append(placed.call.id)
                return
            name = f"transcript-{self._files.named(placed.call.id)}"
            folder = placed.stem.parent
            both = transcript_files(placed.call, found, folder / name, self._zone)
            # Both, even if only one has changed: the time of the row says when it was asked for.
            files.extend(both)
            self.report.written += not all(_is_current(file, known) for file in both)

        await work_on(wanted, fetch, at_once=min(AT_ONCE, len(wanted)))
        await self._files.store(files)
        await self._remember([placed.call.id for placed in wanted], missing, absent)

    async def _remember(self, asked: list[str], missing: set[str], absent: list[str]) -> None:
        """Note for the next run which of these are still to come, and which never will."""
        catalog = await self._files.catalog()
        before = await catalog.run(pending_of, asked)
        if missing != before:
            await catalog.transaction(
                note_pending,
                TRANSCRIPT,
                self._files.now(),
                pending=sorted(missing - before),
                done=sorted(before - missing),
            )
        if absent:
            await catalog.transaction(note_absent, TRANSCRIPT, self._files.now(), absent)

    def _may_still_come(self, call: Call) -> bool:
        ended = call.ended_at or call.started_at
        return ended is None or self._files.now() - ended < EXPECTED

    async def _ask(self, call_id: str) -> Transcript | None:
        """A call's transcript; None if there is none."""
        try:
            found = await self._client.calls.get_transcript(call_id)
        except NotFoundError:
            return None
        return found if found.turns else None


def sidecars_for(
    options: RunOptions, folder: Path, client: AsyncAgentPhone, catalog: Catalog, files: Files
) -> Sidecars | None:
    """What a run with these options writes beside recordings; None if that is nothing."""
    if not (options.metadata or options.transcripts or options.checksums):
        return None
    return Sidecars(
        folder,
        client,
        metadata=bool(options.metadata),
        transcripts=bool(options.transcripts),
        sums=options.checksums,
        zone=options.zone or UTC,
        hash_ids=options.hash_ids,
        fsync=options.fsync,
        catalog=catalog,
        files=files,
    )
