"""Everything that a run writes beside recordings, as one companion."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from agentphone_async.archive.beside.files import BesideFiles
from agentphone_async.archive.beside.sidecars import Metadata, Transcripts
from agentphone_async.archive.beside.sums import Sums
from agentphone_async.archive.options import Companion, Placed
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.protocol.display import hint
from agentphone_async.sinks.local import Fsync

_MOST_LINES = 10


class Companions:
    """Metadata, transcripts and check sums of one run; a `Companion`.

    To be used as an async context manager around the run. Nothing is opened or written before the
    run has a call to show::

        async with Companions(folder, client, metadata=True) as beside:
            report = await Archive(folder).run(client, selection, companions=[beside])

    Args:
        folder: the archive.
        client: the run's.
        metadata: write ``recording-{id}.json``.
        transcripts: write ``transcript-{id}.json`` and ``.txt``.
        sums: write ``SHA256SUMS``.
        zone: of the times in transcripts.
        hash_ids, fsync: as in the run's options.
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
    ) -> None:
        self._files = BesideFiles(Path(folder), fsync=fsync, hash_ids=hash_ids)
        self.metadata = Metadata(self._files) if metadata else None
        self.transcripts = Transcripts(self._files, client, zone=zone) if transcripts else None
        self.sums = Sums(self._files) if sums else None
        members = (self.metadata, self.transcripts, self.sums)
        self._members: list[Companion] = [member for member in members if member is not None]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._files.aclose()

    async def attend(self, calls: Sequence[Placed]) -> None:
        """Pass calls on to each of them."""
        for member in self._members:
            await member.attend(calls)

    async def finish(self, folders: Sequence[PurePosixPath]) -> None:
        """The sums come last: they cover what the others have written."""
        for member in self._members:
            await member.finish(folders)

    @property
    def failed(self) -> int:
        """Transcripts that could not be had."""
        return 0 if self.transcripts is None else self.transcripts.report.failed

    def problems(self) -> list[str]:
        """One line for each transcript that could not be had, unless there are very many."""
        if self.transcripts is None or not self.transcripts.report.failed:
            return []
        report = self.transcripts.report
        lines = [
            f"no transcript of {hint(call_id)}: {error}"
            for call_id, error in report.failures[:_MOST_LINES]
        ]
        if report.failed > len(lines):
            lines.append(f"{report.failed:,} transcripts could not be had; the next run asks again")
        return lines
