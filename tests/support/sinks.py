"""A sink by its protocol, from which those are made that break one rule of it."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from pathlib import PurePosixPath

from agentphone_async import Audio, Body, Ready, Staged, Stored, Target
from agentphone_async.protocol.recording import Chunk


class Sound:
    """A sink in memory; what lies under a name that begins with a dot is not visible."""

    def __init__(self, place: dict[str, bytes]) -> None:
        self.place = place
        self.keys = itertools.count()
        self.open: set[str] = set()

    async def existing(self, targets: Sequence[Target]) -> list[PurePosixPath | None]:
        return [next((n for n in t.candidates() if str(n) in self.place), None) for t in targets]

    async def begin(self, target: Target) -> Parts:
        return Parts(self, target)

    def temp(self) -> str:
        key = f".{id(self)}-{next(self.keys)}"
        self.open.add(key)
        return key

    async def stage(self, body: Body) -> Staged:
        key = self.temp()
        self.place[key] = b"".join(body.chunks)
        sha256 = hashlib.sha256(self.place[key]).hexdigest()
        return Staged(body.target, body.size, body.audio, sha256, key)

    async def publish(self, batch: Sequence[Ready]) -> list[Stored]:
        return [self.reveal(await self.stage(r) if isinstance(r, Body) else r) for r in batch]

    def reveal(self, staged: Staged) -> Stored:
        name = staged.target.for_bytes(staged.sha256).named(staged.audio.media_type)
        data = self.place.pop(staged.key)
        return Stored(name, staged.size, staged.sha256, self.put(str(name), data))

    def put(self, name: str, data: bytes) -> bool:
        return self.place.setdefault(name, data) is data

    async def discard(self, ready: Ready) -> None:
        if isinstance(ready, Staged):
            self.place.pop(ready.key, None)

    async def aclose(self) -> None:
        for key in self.open:
            self.place.pop(key, None)


class Parts:
    def __init__(self, sink: Sound, target: Target) -> None:
        self.sink, self.target, self.key, self.size = sink, target, sink.temp(), 0
        sink.place[self.key] = b""

    async def write(self, chunks: Sequence[Chunk]) -> None:
        self.sink.place[self.key] += b"".join(chunks)
        self.size += sum(map(len, chunks))

    async def stage(self, audio: Audio) -> Staged:
        sha256 = hashlib.sha256(self.sink.place[self.key]).hexdigest()
        return Staged(self.target, self.size, audio, sha256, self.key)

    async def abort(self) -> None:
        self.sink.place.pop(self.key, None)
