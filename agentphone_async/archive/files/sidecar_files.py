"""Files beside recordings: written whole or not at all, and catalogued when they are there."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path, PurePosixPath
from typing import Any

from anyio.abc import AsyncResource

from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.recordings import sidecars_of, store_sidecars
from agentphone_async.archive.catalog.rows import SidecarRow
from agentphone_async.archive.files.storage import Files, LocalFiles
from agentphone_async.archive.names import key_of_names
from agentphone_async.models import Call, Transcript, TranscriptTurn
from agentphone_async.protocol.display import printable
from agentphone_async.protocol.recording import Audio
from agentphone_async.recordings.naming import hashed_id, safe_component
from agentphone_async.sinks.interface import Body, Target
from agentphone_async.sinks.local import Fsync
from agentphone_async.sinks.threads import FilePool

METADATA = "metadata"
TRANSCRIPT = "transcript"
TRANSCRIPT_TEXT = "transcript_text"

Known = dict[tuple[str, str], SidecarRow]
"""What the catalog has beside recordings, by call id and kind."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A file to be written.

    Attributes:
        call_id: whose it is.
        kind: ``metadata``, ``transcript`` or ``transcript_text``.
        path: relative to the archive.
        body: its bytes.
    """

    call_id: str
    kind: str
    path: PurePosixPath
    body: bytes


class SidecarFiles(AsyncResource):
    """Writes files beside recordings, through a sink that replaces what is there.

    Opens the archive's catalog at the first use, beside the run's own connection: SQLite lets one
    writer in at a time. To be closed with `aclose`, or used as an async context manager.

    Args:
        folder: the archive.
        fsync: when bytes are forced to the disk; always before a file is visible, unless off.
        hash_ids: name files by the archive's keyed hash of the call id; an archive that has such
            names keeps to them.
        now: the wall clock.
        catalog: one that is open already, and stays open.
        files: where they lie, if that is not ``folder``.

    Attributes:
        sink: where files are put.
        pool: threads for other file work.
        changed: folders in which something was written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fsync: Fsync = Fsync.BATCH,
        hash_ids: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        catalog: Catalog | None = None,
        files: Files | None = None,
    ) -> None:
        self.folder = folder
        self._files = files or LocalFiles(folder)
        self.now = now
        self.changed: set[PurePosixPath] = set()
        self.pool = FilePool(2)
        self.sink = self._files.beside(fsync, self.pool)
        self._hash_ids = hash_ids
        self._key: bytes | None = None
        self._has_looked_for_key = False
        self._catalog = catalog
        self._owned = catalog is None
        self._opening = asyncio.Lock()

    async def aclose(self) -> None:
        """Let files and catalog go; fine at any time, also twice."""
        try:
            await self.sink.aclose()
            if self._catalog is not None and self._owned:
                await self._catalog.aclose()
        finally:
            self.pool.close()

    async def catalog(self) -> Catalog:
        """The archive's catalog, open.

        Raises:
            CatalogError: it cannot be used.
        """
        async with self._opening:
            if self._catalog is None:
                self._catalog = await Catalog.open(self.folder)
            if not self._has_looked_for_key:
                self._has_looked_for_key = True
                self._key = await key_of_names(self._catalog, hash_ids=self._hash_ids)
            return self._catalog

    def named(self, call_id: str) -> str:
        """What stands for a call id in names; after `known` or `catalog`."""
        return safe_component(call_id) if self._key is None else hashed_id(call_id, self._key)

    async def known(self, ids: Sequence[str]) -> Known:
        """What is there for these calls, at most a few hundred: in the catalog and on the disk.

        A file that is gone, or has another size than it should have, counts as not there.
        """
        catalog = await self.catalog()
        rows = await catalog.run(sidecars_of, ids)
        if not rows:
            return {}
        there = await self.pool.run(
            lambda: [row for row in rows if self._files.has(row.path, row.size)]
        )
        return {(row.call_id, row.kind): row for row in there}

    async def store(self, files: Sequence[Sidecar]) -> None:
        """Write files, and then their rows; what a call had under another name is removed.

        Raises:
            DestinationError: the disk failed; rows of files that are not there are not written.
        """
        if not files:
            return
        catalog = await self.catalog()
        old = await catalog.run(sidecars_of, sorted({file.call_id for file in files}))
        await self.sink.publish([body_of(file.path, [file.body]) for file in files])
        rows = [_row(file, self.now()) for file in files]
        await catalog.transaction(store_sidecars, rows)
        self.changed.update(file.path.parent for file in files)
        places = {(row.call_id, row.kind): row.path for row in rows}
        moved = [row for row in old if places.get((row.call_id, row.kind), row.path) != row.path]
        if moved:
            self.changed.update(row.path.parent for row in moved)
            await self.pool.run(self._remove, moved)

    def _remove(self, rows: Sequence[SidecarRow]) -> None:
        for row in rows:
            self._files.remove_if(row.path, row.sha256)


def _row(file: Sidecar, now: datetime) -> SidecarRow:
    sha256 = sha256_of(file.body)
    return SidecarRow(file.call_id, file.kind, file.path, len(file.body), sha256, now)


def body_of(path: PurePosixPath, chunks: Sequence[bytes]) -> Body:
    """A file for a sink, under exactly this name."""
    target = Target(path.parent, path.name, extension="")
    return Body(target, chunks, sum(map(len, chunks)), Audio("text/plain"))


def sha256_of(body: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(body).hexdigest()


def pretty(raw: Mapping[str, Any]) -> bytes:
    """JSON for people: one field a line, keys in order, pure ASCII; equal for equal objects."""
    if raw and not any(isinstance(value, dict | list) for value in raw.values()):
        # The same as below, by the encoder in C: a run does this for every call that it lists.
        fields = json.dumps(raw, sort_keys=True, separators=(",\n  ", ": "))
        return f"{{\n  {fields[1:-1]}\n}}\n".encode("ascii")
    return (json.dumps(raw, sort_keys=True, indent=2) + "\n").encode("ascii")


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
