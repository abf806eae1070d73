"""What every sink has to do, as tests that pytest collects: make a subclass, and say how to look.

::

    class TestMySink(SinkConformance):
        def open_sink(self, place):
            return MySink(place)

        def contents(self, place):
            return {name: data, ...}

``place`` is a folder of the test's own; who needs a bucket makes a prefix of its name. Each test
runs its own event loop, so that no plug-in for asynchronous tests is needed. Its docstring is the
rule, which is named with the sink when the test fails.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial, wraps
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from agentphone_async.protocol.recording import Audio
from agentphone_async.sinks.checked import CheckedSink, blocking, checked, patience
from agentphone_async.sinks.interface import Body, Ready, Sink, Stored, Target

WAV = Audio("audio/wav", 1.0, 8000, 1)
MPEG = Audio("audio/mpeg")
WHOLE = (
    b"RIFF" + struct.pack("<I", 40)
    + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    + b"data" + struct.pack("<I", 4) + bytes(4)
)  # fmt: skip
"""The bytes of a recording: only those are found as being there."""

PATIENCE = 30.0
"""Seconds that a method of a sink may take for these few recordings."""

TOP = PurePosixPath()
T = TypeVar("T")


class SinkConformance:
    """Subclass it as ``TestSomething``, and define `open_sink` and `contents`."""

    name = "the sink"

    def open_sink(self, place: Path) -> Sink:
        """A sink on ``place``; called again for the same place, it finds what is there."""
        raise NotImplementedError

    def contents(self, place: Path) -> Mapping[str, bytes]:
        """What a visitor of ``place`` sees: every visible name, with its bytes."""
        raise NotImplementedError

    def leftovers(self, place: Path) -> Collection[str]:  # noqa: ARG002 - for subclasses
        """What lies in ``place`` unseen, such as temporary files; nothing may after closing."""
        return ()

    # ------------------------------------------------------------ what is published

    def test_publishes_bytes_as_they_are(self, tmp_path: Path) -> None:
        """Name, size and hash are those of the bytes, in the order of the batch."""
        bodies = [_body(f"one-{number}", bytes([number]) * number) for number in range(1, 40)]
        bodies[2:6] = map(_as_received, bodies[2:6])
        stored = self._run(tmp_path, lambda sink: sink.publish(bodies))
        assert [one.name for one in stored] == [PurePosixPath(f"one-{n}.wav") for n in range(1, 40)]
        for body, one in zip(bodies, stored, strict=True):
            assert (one.size, one.new) == (body.size, True)
            assert one.sha256 == hashlib.sha256(_bytes(body)).hexdigest()
        assert self.contents(tmp_path) == {f"one-{n}.wav": bytes([n]) * n for n in range(1, 40)}

    def test_makes_folders_and_takes_the_type_into_the_name(self, tmp_path: Path) -> None:
        """``.wav`` or ``.mp3`` by what the bytes are, unless the target has an extension."""
        folder = PurePosixPath("2026/11/21")
        batch = [
            _body(Target(folder, "a"), b"wav"),
            _body(Target(folder, "b"), b"mpeg", MPEG),
            _body(Target(TOP, "c.bin", extension=""), b"own"),
        ]
        self._run(tmp_path, lambda sink: sink.publish(batch))
        assert self.contents(tmp_path) == {
            "2026/11/21/a.wav": b"wav",
            "2026/11/21/b.mp3": b"mpeg",
            "c.bin": b"own",
        }

    def test_keeps_awkward_names_apart(self, tmp_path: Path) -> None:
        """Spaces, per cent signs and other scripts are part of a name like any letter."""
        stems = ["a b", "a%20b", "a+b", "a%2Fb", "ä", "録音", "x~1"]
        self._run(tmp_path, lambda sink: sink.publish([_body(s, s.encode()) for s in stems]))
        assert self.contents(tmp_path) == {f"{stem}.wav": stem.encode() for stem in stems}

    def test_takes_an_empty_batch(self, tmp_path: Path) -> None:
        """Nothing to do is not an error."""
        assert self._run(tmp_path, lambda sink: sink.publish([])) == []
        assert self.contents(tmp_path) == {}

    def test_publishes_a_mixed_batch(self, tmp_path: Path) -> None:
        """What is in memory, what was staged and what came in parts, in one batch."""

        async def work(sink: Sink) -> list[Stored]:
            upload = await sink.begin(Target(TOP, "parts"))
            for part in (b"one, ", b"two, ", b"three"):
                await upload.write([part[:2], bytearray(part[2:])])
            assert upload.size == 15
            parts = await upload.stage(WAV)
            staged = await sink.stage(_as_received(_body("staged", b"s" * 300_000)))
            return await sink.publish([parts, _body("memory", b"m"), staged])

        stored = self._run(tmp_path, work)
        assert [one.size for one in stored] == [15, 1, 300_000]
        assert self.contents(tmp_path) == {
            "parts.wav": b"one, two, three",
            "memory.wav": b"m",
            "staged.wav": b"s" * 300_000,
        }

    # ------------------------------------------------------------ what is not published

    def test_shows_nothing_before_it_is_published(self, tmp_path: Path) -> None:
        """Staged or half written, a recording has no name that anybody else can see."""

        async def work(sink: Sink) -> None:
            staged = await sink.stage(_body("staged", b"s" * 200_000))
            upload = await sink.begin(Target(TOP, "parts"))
            await upload.write([b"p" * 2_000_000])
            assert self.contents(tmp_path) == {}
            whole = await upload.stage(WAV)
            assert self.contents(tmp_path) == {}
            assert await sink.existing([staged.target, whole.target]) == [None, None]
            await sink.discard(staged)
            await sink.discard(whole)

        self._run(tmp_path, work)
        assert self.contents(tmp_path) == {}

    def test_an_aborted_upload_leaves_nothing(self, tmp_path: Path) -> None:
        """At any time, and also twice."""

        async def work(sink: Sink) -> None:
            upload = await sink.begin(Target(TOP, "x"))
            await upload.write([b"half"])
            await upload.abort()
            await upload.abort()

        self._run(tmp_path, work)
        assert self.contents(tmp_path) == {}

    def test_closing_discards_what_was_begun(self, tmp_path: Path) -> None:
        """Whoever forgets an upload or a staged recording leaves nothing behind."""

        async def work(sink: Sink) -> None:
            upload = await sink.begin(Target(TOP, "x"))
            await upload.write([b"half"])
            await sink.stage(_body("staged", b"s" * 200_000))

        self._run(tmp_path, work)
        assert self.contents(tmp_path) == {}

    def test_discards_what_is_in_memory(self, tmp_path: Path) -> None:
        """A body that was never staged can be given up like any other."""
        self._run(tmp_path, lambda sink: sink.discard(_body("x", b"x")))
        assert self.contents(tmp_path) == {}

    # ------------------------------------------------------------ names that are taken

    def test_finds_what_is_there(self, tmp_path: Path) -> None:
        """By any name that a target can get; also what another sink has published."""
        self._run(tmp_path, lambda sink: sink.publish([_body("a", WHOLE), _body("b", WHOLE, MPEG)]))
        targets = [Target(TOP, stem) for stem in ("a", "b", "c")]
        found = self._run(tmp_path, lambda sink: sink.existing(targets))
        assert found == [PurePosixPath("a.wav"), PurePosixPath("b.mp3"), None]

    def test_never_overwrites(self, tmp_path: Path) -> None:
        """Other bytes get another name, or are refused; what is there stays as it is."""
        self._run(tmp_path, lambda sink: sink.publish([_body("x", b"first")]))
        (stored,) = self._run(tmp_path, lambda sink: sink.publish([_body("x", b"second")]))
        there = self.contents(tmp_path)
        assert there["x.wav"] == b"first"
        if stored.new:
            assert there[str(stored.name)] == b"second"
            assert stored.name != PurePosixPath("x.wav")
        else:
            assert set(there) == {"x.wav"}

    def test_publishing_the_same_again_changes_nothing(self, tmp_path: Path) -> None:
        """As after an answer that was lost on its way."""
        for _ in range(3):
            (stored,) = self._run(tmp_path, lambda sink: sink.publish([_body("x", b"same")]))
            assert stored.name == PurePosixPath("x.wav")
        assert self.contents(tmp_path) == {"x.wav": b"same"}

    def test_other_bytes_than_expected_get_their_own_name(self, tmp_path: Path) -> None:
        """A target may name what it expects, and where anything else is to go."""
        expected = hashlib.sha256(b"old").hexdigest()
        target = _or_else(Target(TOP, "x"), expected, Target(TOP, "x.v2"))
        batch: list[Ready] = [_body(target, b"old"), _body(target, b"new")]
        stored = self._run(tmp_path, lambda sink: sink.publish(batch))
        assert [str(one.name) for one in stored] == ["x.wav", "x.v2.wav"]
        assert self.contents(tmp_path) == {"x.wav": b"old", "x.v2.wav": b"new"}

    def test_two_writers_at_once_lose_nothing(self, tmp_path: Path) -> None:
        """Each name has the bytes of one of them, whole; each new one has its bytes somewhere."""

        async def work() -> list[tuple[bytes, Stored]]:
            sinks = [self._open(tmp_path) for _ in range(4)]
            datas = [bytes([65 + number]) * 50_000 for number in range(4)]
            try:
                all_stored = await asyncio.gather(
                    *(
                        sink.publish([_body(f"n{n}", data) for n in range(8)])
                        for sink, data in zip(sinks, datas, strict=True)
                    )
                )
            finally:
                for sink in sinks:
                    await sink.aclose()
            return [
                (data, one)
                for data, stored in zip(datas, all_stored, strict=True)
                for one in stored
            ]

        outcomes = asyncio.run(work())
        there = self.contents(tmp_path)
        assert {f"n{n}.wav" for n in range(8)} <= set(there)
        for data, one in outcomes:
            if one.new:
                assert there[str(one.name)] == data
        assert all(len(set(data)) == 1 and len(data) == 50_000 for data in there.values())

    # ------------------------------------------------------------ interruptions

    def test_a_cancelled_publish_leaves_only_whole_recordings(self, tmp_path: Path) -> None:
        """And publishing them again completes what is missing."""
        bodies = [_body(f"n{n}", bytes([n]) * 20_000) for n in range(32)]
        for delay in (0.0, 0.002, 0.01):
            self._run(tmp_path, partial(_cancelled, bodies, delay))
            for name, data in self.contents(tmp_path).items():
                assert data == bytes([int(name[1:-4])]) * 20_000
        self._run(tmp_path, lambda sink: sink.publish(bodies))
        assert self.contents(tmp_path) == {f"n{n}.wav": bytes([n]) * 20_000 for n in range(32)}

    def _run(self, place: Path, work: Callable[[Sink], Awaitable[T]]) -> T:
        async def with_sink() -> T:
            sink = self._open(place)
            try:
                return await work(sink)
            finally:
                await sink.aclose()

        blocking.clear()
        result = asyncio.run(with_sink())
        assert not blocking, "; ".join(blocking.values())
        assert not self.leftovers(place), "a closed sink has left something behind"
        return result

    def _open(self, place: Path) -> Sink:
        sink = self.open_sink(place)
        self.name = type(sink).__name__
        patience.set(PATIENCE)
        return CheckedSink(sink) if checked(sink) is sink else checked(sink)


def _named(test: Callable[[Any, Path], None]) -> Callable[[Any, Path], None]:
    """The test, which names the sink and the rule that it breaks."""

    @wraps(test)
    def run(self: SinkConformance, tmp_path: Path) -> None:
        try:
            test(self, tmp_path)
        except Exception as error:
            rule = " ".join((test.__doc__ or test.__name__).split())
            what = f"{type(error).__name__}: {error}".removeprefix("AssertionError: ")
            raise AssertionError(f"{self.name} breaks a rule of sinks: {rule}\n{what}") from error

    return run


for _name, _test in tuple(vars(SinkConformance).items()):
    if _name.startswith("test_"):
        setattr(SinkConformance, _name, _named(_test))


async def _cancelled(bodies: Sequence[Body], delay: float, sink: Sink) -> None:
    task = asyncio.ensure_future(sink.publish(bodies))
    await asyncio.sleep(delay)
    task.cancel()
    await asyncio.wait([task])


def _body(target: Target | str, data: bytes, audio: Audio = WAV) -> Body:
    if isinstance(target, str):
        target = Target(TOP, target)
    middle = len(data) // 2
    chunks = (data[:middle], data[middle:]) if middle else (data,)
    return Body(target, chunks, len(data), audio)


def _as_received(body: Body) -> Body:
    """In the buffer that it came in, as large bodies are."""
    return body._replace(chunks=(bytearray(_bytes(body)),))


def _bytes(body: Body) -> bytes:
    return b"".join(body.chunks)


def _or_else(target: Target, sha256: str, other: Target) -> Target:
    return target._replace(expected_sha256=sha256, name_if_changed=other)
