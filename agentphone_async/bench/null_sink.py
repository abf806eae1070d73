"""A place that keeps nothing: recordings are hashed as everywhere, and then forgotten."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import PurePosixPath

from agentphone_async.protocol.recording import Audio
from agentphone_async.sinks.interface import Body, Ready, Staged, Stored, Target
from agentphone_async.sinks.threads import FilePool


class NullSink:
    """For measuring the network alone: all that is done to a recording, except storing it.

    Nothing is ever there already, and no name is ever taken.

    Args:
        pool: threads to hash on; one of its own if not given.
    """

    def __init__(self, *, pool: FilePool | None = None) -> None:
        self._own_pool = pool is None
        self.pool = pool or FilePool()

    async def existing(self, targets: Sequence[Target]) -> list[PurePosixPath | None]:
        """None of them."""
        return [None] * len(targets)

    async def begin(self, target: Target) -> NullUpload:
        """Start a recording that comes in parts."""
        return NullUpload(self, target)

    async def stage(self, body: Body) -> Staged:
        """Hash what is in memory, in one hop, and let go of it."""
        stored = await self.pool.run(_stored, body)
        return Staged(body.target, body.size, body.audio, stored.sha256, key="")

    async def publish(self, batch: Sequence[Ready]) -> list[Stored]:
        """Hash what is in memory, in one hop, and let go of it."""
        return await self.pool.run(_hash_all, batch)

    async def discard(self, ready: Ready) -> None:
        """Nothing was kept."""

    async def aclose(self) -> None:
        """Let the threads go."""
        if self._own_pool:
            self.pool.close()


class NullUpload:
    """A body that is hashed in parts; see `agentphone_async.sinks.interface.Upload`."""

    def __init__(self, sink: NullSink, target: Target) -> None:
        self._pool = sink.pool
        self._target = target
        self._digest = hashlib.sha256()
        self.size = 0

    async def write(self, chunks: Sequence[bytes]) -> None:
        """Hash, in one hop."""
        await self._pool.run(self._write, chunks)

    async def stage(self, audio: Audio) -> Staged:
        """Declare it whole."""
        return Staged(self._target, self.size, audio, self._digest.hexdigest(), key="")

    async def abort(self) -> None:
        """Nothing was kept."""

    def _write(self, chunks: Sequence[bytes]) -> None:
        for chunk in chunks:
            self._digest.update(chunk)
            self.size += len(chunk)


def _hash_all(batch: Sequence[Ready]) -> list[Stored]:
    return [_stored(ready) for ready in batch]


def _stored(ready: Ready) -> Stored:
    name = ready.target.named(ready.audio.media_type)
    if isinstance(ready, Body):
        digest = hashlib.sha256()
        for chunk in ready.chunks:
            digest.update(chunk)
        return Stored(name, ready.size, digest.hexdigest())
    return Stored(name, ready.size, ready.sha256)
