"""Where bytes come to rest: all of a recording, or nothing of it.

A recording is handed over when it is whole and judged: a small one as its bytes in memory (`Body`),
a large one as an upload that has been written in parts (`Staged`). Neither is visible before
`Sink.publish`, which takes them in batches and makes them durable; what is not published is
discarded, and leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple, Protocol, runtime_checkable

from agentphone_async.protocol.formats import EXTENSIONS
from agentphone_async.protocol.recording import ALL_EXTENSIONS, Audio, Chunk

SMALL = 128 * 1024
"""Bytes; to store a file of up to this size costs less than to hand it to a thread."""


class Target(NamedTuple):
    """The name that a recording is to have inside a sink.

    Attributes:
        folder: relative to the sink; ``.`` for its top.
        stem: file name without extension.
        extension: with its dot; None to choose it by what the bytes are.
        expected_sha256: of the only bytes that may have this name, in hexadecimal; None for any.
        name_if_changed: the name for other bytes than those.
        mtime: when the file is to have been modified, in seconds since the epoch; None for now.
            Sinks that keep no such time leave it out.
    """

    folder: PurePosixPath
    stem: str
    extension: str | None = None
    expected_sha256: str | None = None
    name_if_changed: Target | None = None
    mtime: float | None = None

    def for_bytes(self, sha256: str) -> Target:
        """The name for bytes with this hash."""
        other = self.name_if_changed
        return self if other is None or sha256 == self.expected_sha256 else other

    def file_name(self, media_type: str) -> str:
        """The name, without the folder, for audio of this type."""
        if self.extension is not None:
            return self.stem + self.extension
        return self.stem + EXTENSIONS.get(media_type, ALL_EXTENSIONS[0])

    def file_names(self) -> tuple[str, ...]:
        """All names, without the folder, that it may get."""
        if self.extension is not None:
            return (self.stem + self.extension,)
        return tuple(self.stem + extension for extension in ALL_EXTENSIONS)

    def named(self, media_type: str) -> PurePosixPath:
        """The whole name for audio of this type."""
        return self.folder / self.file_name(media_type)

    def candidates(self) -> tuple[PurePosixPath, ...]:
        """All whole names that it may get."""
        return tuple(self.folder / name for name in self.file_names())


class Body(NamedTuple):
    """A whole recording in memory.

    Attributes:
        target: the name that it is to have.
        chunks: its bytes, in order; each is a `bytes`, or a `bytearray` that nobody changes any
            more: large bodies come in the buffer that they were received into.
        size: their number.
        audio: what it was judged to be.
    """

    target: Target
    chunks: Sequence[Chunk]
    size: int
    audio: Audio


class Staged(NamedTuple):
    """A whole recording that lies in the sink, not yet visible.

    Attributes:
        target: the name that it is to have.
        size: bytes.
        audio: what it was judged to be.
        sha256: of its bytes, in hexadecimal.
        key: the sink's own handle.
    """

    target: Target
    size: int
    audio: Audio
    sha256: str
    key: str


Ready = Body | Staged


class Stored(NamedTuple):
    """What became of a recording that was handed over.

    Attributes:
        name: relative to the sink.
        size: bytes.
        sha256: of its bytes, in hexadecimal.
        new: it is there for good; False if its name was taken, and then it was discarded.
        in_the_way: by what its name was taken, in a few words, if that is not a whole recording.
    """

    name: PurePosixPath
    size: int
    sha256: str
    new: bool = True
    in_the_way: str | None = None


class Upload(Protocol):
    """A recording that arrives in parts, for those too large to be held in memory."""

    @property
    def size(self) -> int:
        """Bytes written so far."""

    async def write(self, chunks: Sequence[Chunk]) -> None:
        """Add bytes to the end; what chunks are, `Body` says."""

    async def stage(self, audio: Audio) -> Staged:
        """Declare it whole; the upload is over."""

    async def abort(self) -> None:
        """Give it up and leave nothing behind. Fine at any time, also twice."""


class Sink(Protocol):
    """A place that keeps recordings.

    All methods raise `DestinationError` when the place itself fails.
    """

    async def existing(self, targets: Sequence[Target]) -> list[PurePosixPath | None]:
        """For each target the name under which it is there already, or None."""

    async def begin(self, target: Target) -> Upload:
        """Start a recording that comes in parts."""

    async def stage(self, body: Body) -> Staged:
        """Put down a recording that is in memory; worth a hop of its own if it is not `SMALL`."""

    async def publish(self, batch: Sequence[Ready]) -> list[Stored]:
        """Make a batch visible and durable; return for each what became of it.

        Which name it gets may depend on its bytes: see `Target.for_bytes`.
        """

    async def discard(self, ready: Ready) -> None:
        """Give up one that is not going to be published."""

    async def aclose(self) -> None:
        """Discard whatever was begun or staged and not published."""


@runtime_checkable
class Resumable(Protocol):
    """An upload that a later run finds even if this process is killed; uploads need not be."""

    async def note(self, mark: str) -> None:
        """Note of which body it is a part."""


@runtime_checkable
class Keeping(Protocol):
    """A sink that keeps parts of large recordings for a later run; sinks need not."""

    async def keep(self, upload: Upload, mark: str) -> None:
        """Give an upload up, but let its bytes lie, under a mark that tells what they are of."""

    async def take_up(self, target: Target, mark: str) -> tuple[Upload, bytes] | None:
        """The upload of this target that was kept under this very mark; None if there is none.

        With it come its first bytes, as many as are needed to tell what it is.
        """
