"""The sinks of this package do what every sink has to do, and the suite finds sinks that do not."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from agentphone_async.protocol.recording import Audio
from agentphone_async.sinks.interface import Body, Ready, Staged, Stored, Target
from agentphone_async.sinks.local import LocalSink
from agentphone_async.sinks.objects import ObjectSink
from agentphone_async.testing import SinkConformance


class TestLocalSink(SinkConformance):
    def open_sink(self, place: Path) -> LocalSink:
        return LocalSink(place)

    def contents(self, place: Path) -> dict[str, bytes]:
        files = (path for path in place.rglob("*") if path.is_file() and path.name[0] != ".")
        return {path.relative_to(place).as_posix(): path.read_bytes() for path in files}

    def leftovers(self, place: Path) -> list[str]:
        return [path.name for path in place.rglob(".*")]


class TestMemory(SinkConformance):
    def url(self, place: Path) -> str:
        return f"memory://conformance/{place.name}"

    def open_sink(self, place: Path) -> ObjectSink:
        return ObjectSink.from_url(self.url(place))

    def contents(self, place: Path) -> dict[str, bytes]:
        bucket = ObjectSink.from_url(self.url(place)).bucket
        return {head.path: bucket.read(head.path) for head in bucket.list()}


class TestFolderUrl(TestMemory):
    def url(self, place: Path) -> str:
        return f"file://{place}"


class TestS3(TestMemory):
    @pytest.fixture(autouse=True)
    def _server(self, s3: str) -> None:
        self.prefix = s3

    def url(self, place: Path) -> str:
        return self.prefix


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

    async def write(self, chunks: Sequence[bytes]) -> None:
        self.sink.place[self.key] += b"".join(chunks)
        self.size += sum(map(len, chunks))

    async def stage(self, audio: Audio) -> Staged:
        sha256 = hashlib.sha256(self.sink.place[self.key]).hexdigest()
        return Staged(self.target, self.size, audio, sha256, self.key)

    async def abort(self) -> None:
        self.sink.place.pop(self.key, None)


class Overwrites(Sound):
    def put(self, name: str, data: bytes) -> bool:
        self.place[name] = data
        return True


class ClaimsWhatIsTaken(Sound):
    def put(self, name: str, data: bytes) -> bool:
        super().put(name, data)
        return True


class ShowsHalves(Sound):
    def temp(self) -> str:
        return super().temp()[1:]


class LeavesTemporaryFiles(Sound):
    async def aclose(self) -> None:
        pass


class ForgetsDiscarding(Sound):
    async def discard(self, ready: Ready) -> None:
        if isinstance(ready, Staged):
            self.reveal(ready)


class TellsAWrongHash(Sound):
    def reveal(self, staged: Staged) -> Stored:
        return replace(super().reveal(staged), sha256="0" * 64)


class TellsAWrongSize(Sound):
    def reveal(self, staged: Staged) -> Stored:
        return replace(super().reveal(staged), size=staged.size + 1)


class LosesBytes(Sound):
    def put(self, name: str, data: bytes) -> bool:
        return super().put(name, data[:100]) and True


class ReturnsAnotherOrder(Sound):
    async def publish(self, batch: Sequence[Ready]) -> list[Stored]:
        return (await super().publish(batch))[::-1]


class IgnoresFolders(Sound):
    def put(self, name: str, data: bytes) -> bool:
        return super().put(name.rpartition("/")[2], data)


class ForgetsWhatIsThere(Sound):
    async def existing(self, targets: Sequence[Target]) -> list[PurePosixPath | None]:
        return [None for _ in targets]


class IgnoresTheBytesInNames(Sound):
    def reveal(self, staged: Staged) -> Stored:
        target = replace(staged.target, name_if_changed=None)
        return super().reveal(replace(staged, target=target))


class SwallowsCancelling(Sound):
    async def publish(self, batch: Sequence[Ready]) -> list[Stored]:
        stored = []
        for ready in batch:  # a name is there before its bytes are
            staged = await self.stage(ready) if isinstance(ready, Body) else ready
            name = str(staged.target.for_bytes(staged.sha256).named(staged.audio.media_type))
            if name not in self.place:
                self.place[name] = self.place[staged.key][:1]
                await asyncio.sleep(0.001)
                del self.place[name]
            stored.append(self.reveal(staged))
        return stored


def failures(kind: type[Sound], tmp_path: Path) -> list[str]:
    """The tests of the suite that a sink does not pass."""
    places: dict[Path, dict[str, bytes]] = {}

    class Suite(SinkConformance):
        def open_sink(self, place: Path) -> Sound:
            return kind(places.setdefault(place, {}))

        def contents(self, place: Path) -> dict[str, bytes]:
            return {n: d for n, d in places.get(place, {}).items() if n[0] != "."}

        def leftovers(self, place: Path) -> list[str]:
            return [name for name in places.get(place, {}) if name[0] == "."]

    failed = []
    for name in dir(Suite):
        if name.startswith("test_"):
            try:
                getattr(Suite(), name)(tmp_path / name)
            except Exception:  # noqa: BLE001 - whatever it is, the test has failed
                failed.append(name)
    return failed


def test_a_sound_sink_passes(tmp_path):
    assert failures(Sound, tmp_path) == []


@pytest.mark.parametrize("kind", Sound.__subclasses__())
def test_a_broken_sink_is_found(kind, tmp_path):
    assert failures(kind, tmp_path) != []
