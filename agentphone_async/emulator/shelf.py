"""Where recordings come from: generated, given by a test, or files of the user's folder."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from agentphone_async.emulator.audio import audio_bytes, audio_size, mpeg_bytes
from agentphone_async.emulator.calls import EmulatedCall
from agentphone_async.emulator.folder import FolderRecording
from agentphone_async.emulator.reply import FileSlice
from agentphone_async.emulator.seeding import digest


class Shelf:
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
