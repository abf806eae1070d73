"""The sinks of this package do what every sink has to do, and the suite finds sinks that do not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from agentphone_async.protocol.recording import Chunk
from agentphone_async.sinks.interface import Body, Ready, Staged, Stored, Target
from agentphone_async.sinks.local import LocalSink
from agentphone_async.sinks.objects import ObjectSink
from agentphone_async.testing import SinkConformance
from tests.support.sinks import Parts, Sound


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
        return super().reveal(staged)._replace(sha256="0" * 64)


class TellsAWrongSize(Sound):
    def reveal(self, staged: Staged) -> Stored:
        return super().reveal(staged)._replace(size=staged.size + 1)


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
        target = staged.target._replace(name_if_changed=None)
        return super().reveal(staged._replace(target=target))


class IgnoresTheMediaType(Sound):
    def reveal(self, staged: Staged) -> Stored:
        return super().reveal(staged._replace(audio=staged.audio._replace(media_type="audio/wav")))


class LosesExtensions(Sound):
    def reveal(self, staged: Staged) -> Stored:
        return super().reveal(staged._replace(target=staged.target._replace(extension=None)))


class DecodesNames(Sound):
    def put(self, name: str, data: bytes) -> bool:
        return super().put(name.replace("%20", " "), data)


class FindsByOneExtension(Sound):
    async def existing(self, targets: Sequence[Target]) -> list[PurePosixPath | None]:
        found = await super().existing(targets)
        return [name if name is not None and name.suffix == ".wav" else None for name in found]


class FindsWhatIsNotThere(Sound):
    async def existing(self, targets: Sequence[Target]) -> list[PurePosixPath | None]:
        return [target.candidates()[0] for target in targets]


class ChokesOnNothing(Sound):
    async def publish(self, batch: Sequence[Ready]) -> list[Stored]:
        batch[0]
        return await super().publish(batch)


class KeepsTheLastOfManyWrites(Sound):
    async def begin(self, target: Target) -> Parts:
        return ForgetfulParts(self, target)


class CountsOneChunk(Sound):
    async def begin(self, target: Target) -> Parts:
        return MiscountingParts(self, target)


class AbortsOnce(Sound):
    async def begin(self, target: Target) -> Parts:
        return ImpatientParts(self, target)


class StagesBytesOnly(Sound):
    async def stage(self, body: Body) -> Staged:
        return await super().stage(body._replace(chunks=only(body.chunks)))


class WritesBytesOnly(Sound):
    async def begin(self, target: Target) -> Parts:
        return PickyParts(self, target)


class PublishesTwiceAsVersions(Sound):
    def reveal(self, staged: Staged) -> Stored:
        name = staged.target.for_bytes(staged.sha256).named(staged.audio.media_type)
        if str(name) in self.place:
            target = staged.target._replace(stem=staged.target.stem + ".v2")
            staged = staged._replace(target=target)
        return super().reveal(staged)


class RefusesBodies(Sound):
    async def discard(self, ready: Ready) -> None:
        self.place.pop(ready.key, None)


class ShowsAtClosing(Sound):
    async def aclose(self) -> None:
        for key in self.open & set(self.place):
            self.place[key[1:]] = self.place.pop(key)


class ForgetfulParts(Parts):
    async def write(self, chunks: Sequence[Chunk]) -> None:
        self.sink.place[self.key] = b""
        await super().write(chunks)


class MiscountingParts(Parts):
    async def write(self, chunks: Sequence[Chunk]) -> None:
        size = self.size
        await super().write(chunks)
        self.size = size + len(chunks[0])


class ImpatientParts(Parts):
    async def abort(self) -> None:
        del self.sink.place[self.key]


class PickyParts(Parts):
    async def write(self, chunks: Sequence[Chunk]) -> None:
        await super().write(only(chunks))


def only(chunks: Sequence[Chunk]) -> Sequence[Chunk]:
    hash(tuple(chunks))  # as whoever takes them for keys
    return chunks


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


BROKEN = {
    Overwrites: "never_overwrites",
    ClaimsWhatIsTaken: "never_overwrites",
    ShowsHalves: "shows_nothing_before_it_is_published",
    LeavesTemporaryFiles: "closing_discards_what_was_begun",
    ForgetsDiscarding: "shows_nothing_before_it_is_published",
    TellsAWrongHash: "publishes_bytes_as_they_are",
    TellsAWrongSize: "publishes_bytes_as_they_are",
    LosesBytes: "publishes_a_mixed_batch",
    ReturnsAnotherOrder: "publishes_bytes_as_they_are",
    IgnoresFolders: "makes_folders_and_takes_the_type_into_the_name",
    ForgetsWhatIsThere: "finds_what_is_there",
    IgnoresTheBytesInNames: "other_bytes_than_expected_get_their_own_name",
    IgnoresTheMediaType: "makes_folders_and_takes_the_type_into_the_name",
    LosesExtensions: "makes_folders_and_takes_the_type_into_the_name",
    DecodesNames: "keeps_awkward_names_apart",
    FindsByOneExtension: "finds_what_is_there",
    FindsWhatIsNotThere: "finds_what_is_there",
    ChokesOnNothing: "takes_an_empty_batch",
    KeepsTheLastOfManyWrites: "publishes_a_mixed_batch",
    CountsOneChunk: "publishes_a_mixed_batch",
    StagesBytesOnly: "publishes_bytes_as_they_are",
    WritesBytesOnly: "publishes_a_mixed_batch",
    AbortsOnce: "an_aborted_upload_leaves_nothing",
    PublishesTwiceAsVersions: "publishing_the_same_again_changes_nothing",
    RefusesBodies: "discards_what_is_in_memory",
    ShowsAtClosing: "closing_discards_what_was_begun",
    SwallowsCancelling: "a_cancelled_publish_leaves_only_whole_recordings",
}
"""Each sink that breaks one rule, and the test that has to tell."""


def failures(kind: type[Sound], tmp_path: Path, only: str = "") -> dict[str, str]:
    """The tests of the suite, or of those of one name, that a sink does not pass; what they say."""
    places: dict[Path, dict[str, bytes]] = {}

    class Suite(SinkConformance):
        def open_sink(self, place: Path) -> Sound:
            return kind(places.setdefault(place, {}))

        def contents(self, place: Path) -> dict[str, bytes]:
            return {n: d for n, d in places.get(place, {}).items() if n[0] != "."}

        def leftovers(self, place: Path) -> list[str]:
            return [name for name in places.get(place, {}) if name[0] == "."]

    failed = {}
    for name in dir(Suite):
        if name.startswith(f"test_{only}"):
            try:
                getattr(Suite(), name)(tmp_path / name)
            except AssertionError as error:
                failed[name] = str(error)
    return failed


def test_a_sound_sink_passes(tmp_path):
    assert failures(Sound, tmp_path) == {}


@pytest.mark.parametrize(("kind", "name"), BROKEN.items())
def test_a_broken_sink_is_found(kind, name, tmp_path):
    failed = failures(kind, tmp_path, name)
    assert list(failed) == [f"test_{name}"]
    assert failed[f"test_{name}"].startswith(f"{kind.__name__} breaks a rule of sinks: ")
