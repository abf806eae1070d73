"""A folder of the user's own WAV files, served as the recordings of calls."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agentphone_async.emulator.seeding import call_id, digest

_LARGEST_HEADER_CHUNKS = 64


@dataclass(frozen=True, slots=True)
class FolderRecording:
    """One file of the folder.

    Attributes:
        call_id: Follows from the path relative to the folder, and from nothing else.
        path: The real path of the file.
        seconds: From its WAVE header; None when that says nothing.
    """

    call_id: str
    path: Path
    seconds: float | None

    def size(self) -> int:
        """Bytes of the file, now.

        Raises:
            OSError: It is gone, or cannot be reached any more.
        """
        return self.path.stat().st_size

    def etag(self) -> str:
        """A validator that changes with the file's size and modification time.

        Raises:
            OSError: It is gone, or cannot be reached any more.
        """
        facts = self.path.stat()
        return f'"{digest("file", facts.st_size, facts.st_mtime_ns)}"'


def scan(folder: Path) -> Iterator[FolderRecording]:
    """Every ``*.wav`` below the folder, sorted by relative path.

    Links that lead out of the folder are left out, so that nothing outside it is served.

    Raises:
        NotADirectoryError: ``folder`` is no folder.
        OSError: It cannot be read.
    """
    root = folder.resolve(strict=True)
    if not root.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    os.listdir(root)  # noqa: PTH208 - rglob would keep silent about a folder it may not read
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() != ".wav":
            continue
        real = path.resolve()
        if real.is_file() and real.is_relative_to(root):
            yield FolderRecording(
                call_id=call_id("folder", path.relative_to(root).as_posix()),
                path=real,
                seconds=wave_seconds(real),
            )


def wave_seconds(path: Path) -> float | None:
    """The duration that the WAVE header and the file's size agree on; None without one."""
    size = path.stat().st_size
    byte_rate = 0
    with path.open("rb") as file:
        start = file.read(12)
        if len(start) < 12 or start[:4] != b"RIFF" or start[8:] != b"WAVE":
            return None
        for _ in range(_LARGEST_HEADER_CHUNKS):
            head = file.read(8)
            if len(head) < 8:
                return None
            name, length = struct.unpack("<4sI", head)
            if name == b"data":
                there = min(length, size - file.tell())
                return round(there / byte_rate, 3) if byte_rate else None
            body = file.tell()
            if name == b"fmt ":
                fields = file.read(16)
                byte_rate = struct.unpack_from("<I", fields, 8)[0] if len(fields) == 16 else 0
            file.seek(body + length + length % 2)
    return None
