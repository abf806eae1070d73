"""A recording that comes in parts into a file; and what outlives a run: its bytes, and a note.

The note tells of which body they are a part, and their SHA-256; bytes that are not what it says are
worth nothing. While they are written it names the temporary file instead, for when the process is
killed: what it wrote is there all the same, unless the machine itself was started again since. All
are private, lie where the recording would lie, and are swept after a week.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress

from agentphone_async.errors import DestinationError
from agentphone_async.protocol.recording import HEAD_BYTES, Audio, Chunk
from agentphone_async.sinks.disk import create, destination_errors, open_part, remove, write_all
from agentphone_async.sinks.interface import Staged, Target
from agentphone_async.sinks.leftovers import boot_id, is_orphan, kept_names, read_note
from agentphone_async.sinks.threads import FilePool

_STEP = 1024 * 1024


class PartFile:
    """A private file, written from its beginning to its end and hashed on the way; it blocks.

    Attributes:
        path: where it is.
        size: bytes so far.
        head: the first of those that were there already.
    """

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.size = 0
        self.head = b""
        self._digest = hashlib.sha256()
        self._fd: int | None = fd
        self._error: DestinationError | None = None

    @property
    def sha256(self) -> str:
        """Of the bytes so far, in hexadecimal."""
        return self._digest.hexdigest()

    def read(self) -> None:
        """Count and hash what is there already."""
        while self._fd is not None and (block := os.read(self._fd, _STEP)):
            self.head = self.head or block[:HEAD_BYTES]
            self._count(block)

    def write(self, chunks: Sequence[Chunk]) -> None:
        """Add bytes to the end. After a failure, only failing is left: bytes are missing."""
        if self._error is not None:
            raise self._error
        if self._fd is None:
            raise ValueError("this upload is over")
        try:
            with destination_errors(self.path):
                write_all(self._fd, chunks)
        except DestinationError as error:
            self._error = error
            raise
        for chunk in chunks:
            self._count(chunk)

    def close(self) -> None:
        """Declare it whole; fine if it was done before.

        Raises:
            DestinationError: a write has failed before, or this does.
        """
        if self._fd is not None:
            fd, self._fd = self._fd, None
            with destination_errors(self.path):
                os.close(fd)
        if self._error is not None:
            raise self._error

    def remove(self) -> None:
        """Close it, whatever that says, and remove it."""
        with suppress(DestinationError):
            self.close()
        remove(self.path)

    def _count(self, chunk: Chunk) -> None:
        self._digest.update(chunk)
        self.size += len(chunk)


class FileUpload:
    """A body that is written into a file; see `agentphone_async.sinks.interface.Upload`.

    Args:
        pool: threads to write on.
        file: the file.
        target: the name that the recording is to have.
        discard: removes a file by its path; fine if it is gone.
    """

    def __init__(
        self, pool: FilePool, file: PartFile, target: Target, discard: Callable[[str], None]
    ) -> None:
        self.file = file
        self._pool = pool
        self._target = target
        self._discard = discard

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self.file.size

    async def write(self, chunks: Sequence[Chunk]) -> None:
        """Write and hash, in one hop."""
        await self._pool.run(self.file.write, chunks)

    async def stage(self, audio: Audio) -> Staged:
        """Declare it whole and close it. A write that failed cannot be made good by this."""
        await self._pool.run(self._end)
        return Staged(self._target, self.size, audio, self.file.sha256, self.file.path)

    async def abort(self) -> None:
        """Remove what was written, unless it is published already."""
        await self._pool.run(self._abort)

    def _abort(self) -> None:
        with suppress(DestinationError):  # the file goes anyway
            self._end()
        self._discard(self.file.path)

    def _end(self) -> None:
        self.file.close()


class LocalUpload(FileUpload):
    """One into the folder where the recording is to lie, so that a later run can resume it.

    Args:
        prefix: how the paths in that folder begin.
    """

    def __init__(
        self,
        pool: FilePool,
        file: PartFile,
        target: Target,
        discard: Callable[[str], None],
        prefix: str,
    ) -> None:
        super().__init__(pool, file, target, discard)
        self._prefix = prefix
        self._note: str | None = None

    async def note(self, mark: str) -> None:
        """Note of which body it is a part, so that it is found if this process is killed."""
        await self._pool.run(self.write_note, mark)

    def keep(self, mark: str) -> str | None:
        """Let it lie for a later run; the note comes last.

        Returns:
            The path of the note; None if that failed, as it was only worth trying.
        """
        kept, note = kept_names(self._prefix, self._target.stem)
        file = self.file
        try:
            file.close()
            remove(note)
            os.replace(file.path, kept)  # noqa: PTH105 - strings all the way down here
            _write_note(note, {"mark": mark, "size": file.size, "sha256": file.sha256})
        except (DestinationError, OSError):
            return None
        return note

    def write_note(self, mark: str) -> None:
        """`note`, blocking."""
        kept, self._note = kept_names(self._prefix, self._target.stem)
        boot = boot_id()
        if boot is not None:
            temp = os.path.basename(self.file.path)  # noqa: PTH119 - strings
            with suppress(OSError):  # it was only worth trying
                remove(kept)
                _write_note(self._note, {"mark": mark, "temp": temp, "boot": boot})

    def _end(self) -> None:
        if self._note is not None:
            remove(self._note)
        super()._end()


def _write_note(note: str, said: dict[str, object]) -> None:
    remove(note)
    fd = create(note)
    try:
        write_all(fd, [json.dumps(said).encode()])
    finally:
        os.close(fd)


def left_of(prefix: str, stem: str) -> list[str]:
    """Names of what may lie there of the part of a recording; what is being written is left out."""
    kept, note = kept_names("", stem)
    said = read_note(prefix + note)
    if said is None or "temp" not in said:
        return [kept, note]
    written = prefix + said["temp"]
    if os.path.lexists(written) and not is_orphan(written):
        return [kept]
    return [kept, said["temp"], note]


def take_part(prefix: str, stem: str, mark: str, temp: str) -> PartFile | None:
    """Make what was kept under this mark a temporary file of this process; None if nothing was.

    Two processes cannot take the same: the file is renamed, which only one of them can do. What
    turns out to be something else is removed.

    Raises:
        OSError: the disk failed.
    """
    kept, note = kept_names(prefix, stem)
    said = read_note(note)
    if said is None:
        remove(note)
        return None
    written = prefix + said["temp"] if "temp" in said else kept
    if written != kept and not is_orphan(written):
        return None  # somebody is writing it
    if said["mark"] != mark or said.get("boot") not in {None, boot_id()}:
        remove(note)
        remove(written)
        return None
    try:
        os.rename(written, temp)  # noqa: PTH104
    except FileNotFoundError:
        return None
    remove(note)
    file = PartFile(temp, open_part(temp))
    try:
        file.read()
        whole = written != kept or (file.size, file.sha256) == (said["size"], said["sha256"])
    except BaseException:
        file.remove()
        raise
    if whole and file.size:
        return file
    file.remove()
    return None
