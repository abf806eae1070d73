"""Does a file still hold what the catalog says? Blocking, for threads.

Hashing and reading release the interpreter's lock, and are done a mebibyte at a time: so a few
threads keep the disk or all cores busy, whatever Python does meanwhile.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from agentphone_async.archive.catalog.rows import ON_DISK, CatalogFile
from agentphone_async.protocol.display import printable

FindingKind = Literal["missing", "altered", "unreadable", "suspect", "unknown"]

STEP = 1024 * 1024
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # somebody's fifo must not hold us up
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_HAS_MODES = sys.platform != "win32"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        kind: ``missing``; ``altered``, other bytes than were archived; ``unreadable``;
            ``suspect``, kept as it came although header and bytes disagree; ``unknown``, a file
            that the catalog does not know.
        path: relative to the archive.
        reason: what exactly, in a few words.
        file: what the catalog says of it; None for an unknown one.
    """

    kind: FindingKind
    path: PurePosixPath
    reason: str
    file: CatalogFile | None = None


@dataclass(slots=True)
class Checked:
    """What a batch of files came to.

    Attributes:
        files: files looked at.
        bytes: bytes read.
        findings: what is wrong, in the order of the files.
        exposed: files that others than their owner may read or change.
    """

    files: int = 0
    bytes: int = 0
    findings: list[Finding] = field(default_factory=list)
    exposed: list[PurePosixPath] = field(default_factory=list)


class Hasher:
    """Compares files with their rows, on any number of threads.

    Args:
        folder: the archive.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._buffers = threading.local()
        self._stopped = False

    def stop(self) -> None:
        """Let `check` return soon, with what it has."""
        self._stopped = True

    def check(self, files: Sequence[CatalogFile]) -> Checked:
        """Read and compare a batch."""
        checked = Checked()
        for file in files:
            if self._stopped:
                break
            checked.files += 1
            finding = self._check(file, checked)
            if finding is not None:
                checked.findings.append(finding)
        return checked

    def _check(self, file: CatalogFile, checked: Checked) -> Finding | None:
        path = os.path.join(self._folder, file.path)  # noqa: PTH118 - hot
        try:
            fd = os.open(path, _FLAGS)
        except (FileNotFoundError, NotADirectoryError):
            was_lost = file.state not in ON_DISK and file.note
            return Finding("missing", file.path, was_lost or "gone", file)
        except OSError as error:
            return _unreadable(file, error)
        try:
            return self._compare(file, fd, checked)
        except OSError as error:
            return _unreadable(file, error)
        finally:
            os.close(fd)

    def _compare(self, file: CatalogFile, fd: int, checked: Checked) -> Finding | None:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return Finding("altered", file.path, "no regular file any more", file)
        if _HAS_MODES and status.st_mode & 0o077:
            checked.exposed.append(file.path)
        if status.st_size != file.size:
            reason = f"{status.st_size} bytes instead of {file.size}"
            return Finding("altered", file.path, reason, file)
        sha256 = self._sha256(io.FileIO(fd, closefd=False), checked)
        if sha256 is not None and sha256 != file.sha256:
            return Finding("altered", file.path, "other bytes than were archived", file)
        if file.state == "suspect":
            return Finding("suspect", file.path, file.note or "header and bytes disagree", file)
        return None

    def _sha256(self, opened: io.FileIO, checked: Checked) -> str | None:
        """SHA-256 of what follows; None if that was stopped."""
        buffer = self._buffer()
        digest = hashlib.sha256()
        while size := opened.readinto(buffer):
            digest.update(buffer[:size])
            checked.bytes += size
            if self._stopped:
                return None
        return digest.hexdigest()

    def _buffer(self) -> memoryview:
        buffer: memoryview | None = getattr(self._buffers, "buffer", None)
        if buffer is None:
            buffer = self._buffers.buffer = memoryview(bytearray(STEP))
        return buffer


def _unreadable(file: CatalogFile, error: OSError) -> Finding:
    if os.path.islink(error.filename or ""):  # noqa: PTH114 - a string already
        return Finding("altered", file.path, "a symbolic link now", file)
    return Finding("unreadable", file.path, printable(error.strerror or str(error), 100), file)
