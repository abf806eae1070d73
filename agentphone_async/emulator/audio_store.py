"""Where recordings come from: generated, given by a test, or files of the user's folder."""

from __future__ import annotations

import os
import struct
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agentphone_async.emulator.audio import audio_bytes, audio_size, mpeg_bytes
from agentphone_async.emulator.models import EmulatedCall
from agentphone_async.emulator.reply import FileSlice
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
        NotADirectoryError: ``folder`` is not a folder.
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


class AudioStore:
    """The recordings' bytes, with a cache of generated ones that is bounded in bytes.

    Args:
        seed: What generated audio follows from.
        cache_bytes: How much generated audio may be kept.
    """

    def __init__(self, seed: int, cache_bytes: int) -> None:
        self._seed = seed
        self._files: dict[str, FolderRecording] = {}
        self._cache: OrderedDict[tuple[str, int, float, str], bytes] = OrderedDict()
        self._room = cache_bytes

    def put(self, recording: FolderRecording) -> None:
        """Serve a file as the recording of its call."""
        self._files[recording.call_id] = recording

    def path(self, call_id: str) -> Path | None:
        """The file behind a call's recording, if it is one."""
        found = self._files.get(call_id)
        return found.path if found else None

    def whole(self, call: EmulatedCall) -> bytes | FileSlice:
        """All bytes of a call's recording.

        Raises:
            OSError: The file behind it is gone.
        """
        if call.audio is not None:
            return call.audio
        file = self._files.get(call.id)
        if file is not None:
            return FileSlice(file.path, 0, file.size())
        return self._generated(call)

    def size(self, call: EmulatedCall) -> int:
        """Bytes of a call's recording, found out as cheaply as possible."""
        if call.audio is None and call.id not in self._files and call.media_type == "audio/wav":
            return audio_size(call.seconds or 0.0)
        whole = self.whole(call)
        return len(whole) if isinstance(whole, bytes) else whole.length

    def etag(self, call: EmulatedCall) -> str:
        """A strong validator that changes whenever the bytes do."""
        file = self._files.get(call.id)
        if call.audio is not None:
            # A caller's own bytes may be replaced behind our back, so they are looked at.
            return f'"{digest(call.audio.hex())}"'
        if file is not None:
            return file.etag()
        return f'"{digest("etag", self._seed, call.id, call.seconds, call.version)}"'

    def _generated(self, call: EmulatedCall) -> bytes:
        seconds = call.seconds or 0.0
        key = (call.id, call.version, seconds, call.media_type)
        known = self._cache.get(key)
        if known is not None:
            self._cache.move_to_end(key)
            return known
        if call.media_type == "audio/mpeg":
            made = mpeg_bytes(self._seed, call.id, seconds)
        else:
            made = audio_bytes(self._seed, call.id, seconds, call.version)
        if len(made) <= self._room:
            self._cache[key] = made
            self._room -= len(made)
        else:
            self._make_room(key, made)
        return made

    def _make_room(self, key: tuple[str, int, float, str], made: bytes) -> None:
        while self._cache and self._room < len(made):
            self._room += len(self._cache.popitem(last=False)[1])
        if len(made) <= self._room:
            self._cache[key] = made
            self._room -= len(made)
