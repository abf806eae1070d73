"""A recording that comes in parts into a file; it belongs to a `LocalSink`."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentphone_async.errors import DestinationError
from agentphone_async.protocol.recording import Audio, Chunk
from agentphone_async.sinks.disk import destination_errors, remove, write_all
from agentphone_async.sinks.interface import Staged, Target
from agentphone_async.sinks.kept import Part, keep_part, note_part
from agentphone_async.sinks.leftovers import kept_names

if TYPE_CHECKING:
    from agentphone_async.sinks.local import LocalSink


class LocalUpload:
    """A body that is written in parts; see `agentphone_async.sinks.interface.Upload`."""

    def __init__(
        self, sink: LocalSink, target: Target, temp: str, fd: int, part: Part | None = None
    ) -> None:
        self._sink = sink
        self._target = target
        self._temp = temp
        self._fd: int | None = fd
        self._note: str | None = None
        self._digest = hashlib.sha256() if part is None else part.digest
        self.size = 0 if part is None else part.size

    async def write(self, chunks: Sequence[Chunk]) -> None:
        """Write and hash, in one hop."""
        await self._sink._pool.run(self._write, chunks)

    async def stage(self, audio: Audio) -> Staged:
        """Declare it whole and close it."""
        await self._sink._pool.run(self._end)
        return Staged(self._target, self.size, audio, self._digest.hexdigest(), self._temp)

    async def note(self, mark: str) -> None:
        """Note of which body it is a part, so that it is found if this process is killed."""
        await self._sink._pool.run(self._write_note, mark)

    async def abort(self) -> None:
        """Remove what was written."""
        if self._fd is not None or self._temp in self._sink._unpublished:
            await self._sink._pool.run(self._abort)

    def _write(self, chunks: Sequence[Chunk]) -> None:
        if self._fd is None:
            raise ValueError("this upload is over")
        with destination_errors(self._temp):
            write_all(self._fd, chunks)
        for chunk in chunks:
            self._digest.update(chunk)
            self.size += len(chunk)

    def _keep(self, mark: str) -> None:
        try:
            self._close()
            prefix = self._sink._look_at(self._target.folder)
            keep_part(prefix, self._target.stem, mark, self._temp, self.size, self._digest)
            noted = self._sink._disk.rare.setdefault(prefix, set())
            noted.add(kept_names("", self._target.stem)[1])
        except (DestinationError, OSError):  # then it was only worth trying
            self._sink._discard(self._temp)
        else:
            self._sink._unpublished.discard(self._temp)

    def _write_note(self, mark: str) -> None:
        prefix = self._sink._look_at(self._target.folder)
        self._note = kept_names(prefix, self._target.stem)[1]
        with contextlib.suppress(OSError):  # it was only worth trying
            note_part(prefix, self._target.stem, mark, self._temp)

    def _abort(self) -> None:
        with contextlib.suppress(DestinationError):  # the file goes anyway
            self._end()
        self._sink._discard(self._temp)

    def _end(self) -> None:
        if self._note is not None:
            remove(self._note)
        self._close()

    def _close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            self._sink._uploads.discard(self)
            with destination_errors(self._temp):
                os.close(fd)
