"""What really lies on the disk; each function blocks, and is for the catalog's thread."""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agentphone_async.errors import RecordingError
from agentphone_async.protocol.endpoints import Request
from agentphone_async.protocol.recording import HEAD_BYTES, Audio, Promise, judge
from agentphone_async.sinks.disk import (
    destination_error,
    destination_errors,
    link_or_replace,
    sync_folder,
    sync_many,
)

_CHUNK = 1024 * 1024
_UNKNOWN = Promise(media_type="", length=None, framed=False, validator=None)
"""No response vouches for a file that was found: only its own header can tell that it is whole."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that was found and read.

    Attributes:
        path: relative to the archive.
        size: bytes.
        sha256: of its bytes, in hexadecimal.
        audio: what it was judged to be; None if it is no audio, or cut off.
    """

    path: PurePosixPath
    size: int
    sha256: str
    audio: Audio | None

    @property
    def sound(self) -> bool:
        """Whether the file itself proves that it is a whole recording."""
        return self.audio is not None and self.audio.suspect is None


def size_of(folder: Path, path: PurePosixPath | str) -> int | None:
    """The size of a regular file, in bytes; None if there is none. Links are not followed."""
    try:
        status = os.lstat(f"{folder}/{path}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise destination_error(error, folder / path) from error
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def examine(folder: Path, path: PurePosixPath, call_id: str = "") -> Found | None:
    """Read a file, hash it and judge it; None if there is no regular file."""
    if size_of(folder, path) is None:
        return None
    digest = hashlib.sha256()
    head = b""
    size = 0
    with destination_errors(folder / path), (folder / path).open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            if len(head) < HEAD_BYTES:
                head += chunk[: HEAD_BYTES - len(head)]
            digest.update(chunk)
            size += len(chunk)
    return Found(path, size, digest.hexdigest(), _judged(call_id, head, size))


def _judged(call_id: str, head: bytes, size: int) -> Audio | None:
    request = Request("Get Call Recording", "GET", "", call_id=call_id or None)
    try:
        return judge(request, _UNKNOWN, head, size)
    except RecordingError:
        return None


def make_durable(folder: Path, paths: Sequence[PurePosixPath]) -> None:
    """Force files that were found, and their folders' entries, to the disk."""
    with destination_errors(folder):
        sync_many([os.fspath(folder / path) for path in paths])
        for parent in {path.parent for path in paths}:
            sync_folder(folder / parent)


def put_aside(folder: Path, path: PurePosixPath) -> PurePosixPath:
    """Rename a file that is not what it should be, and return its new name.

    It is never deleted: it may be somebody's. ``x.wav`` becomes ``x.wav.damaged``, or
    ``x.wav.damaged-2`` and so on.
    """
    for number in itertools.count(1):
        ending = ".damaged" if number == 1 else f".damaged-{number}"
        aside = path.parent / (path.name + ending)
        if os.path.lexists(folder / aside):
            continue
        with destination_errors(folder / path):
            if link_or_replace(os.fspath(folder / path), os.fspath(folder / aside)):
                return aside
            raise OSError(f"{aside.name} has appeared meanwhile")
    raise AssertionError  # the count is endless
