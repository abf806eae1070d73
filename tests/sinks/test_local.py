"""A folder as a sink: private, all or nothing, and never over what is there."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import stat
import threading
from pathlib import Path, PurePosixPath

import pytest

from agentphone_async import Audio
from agentphone_async.emulator.audio import mpeg_bytes
from agentphone_async.errors import DestinationError
from agentphone_async.sinks import leftovers, local
from agentphone_async.sinks.interface import Body, Staged, Stored, Target
from agentphone_async.sinks.local import Fsync, LocalSink
from agentphone_async.sinks.threads import FilePool
from tests.support.downloads import files, open_files, wave

WAV = Audio("audio/wav")
MP3 = Audio("audio/mpeg")


def target(name="recording-a", folder=".", extension=None):
    return Target(PurePosixPath(folder), name, extension)


def body(content=b"content", name="recording-a", *, folder=".", audio=WAV, parts=1):
    size = max(1, -(-len(content) // parts))
    chunks = [content[start : start + size] for start in range(0, len(content), size)]
    return Body(target(name, folder), chunks, len(content), audio)


async def staged(sink, content=b"content", name="recording-a", audio=WAV):
    upload = await sink.begin(target(name))
    await upload.write([content[:3], content[3:]])
    return await upload.stage(audio)


@pytest.fixture(params=[False, True], ids=["in threads", "inline"])
def inline(request):
    return request.param


@pytest.fixture(params=Fsync, ids=lambda mode: mode.value)
async def sink(request, inline, tmp_path):
    made = LocalSink(tmp_path / "dest", fsync=request.param, inline=inline)
    yield made
    await made.aclose()
    assert open_files(tmp_path) == []
    assert not [name for name in files(tmp_path) if leftovers.is_temp(Path(name).name)]


class TestPublishing:
    async def test_bodies_and_uploads_go_together(self, sink):
        large = await staged(sink, b"large", "recording-b")
        assert not [name for name in files(sink.folder) if name.endswith(".wav")]
        stored = await sink.publish([body(b"small" * 1000, parts=7), large])
        assert files(sink.folder) == {
            "recording-a.wav": b"small" * 1000,
            "recording-b.wav": b"large",
        }
        assert stored == [
            Stored(
                PurePosixPath("recording-a.wav"), 5000, hashlib.sha256(b"small" * 1000).hexdigest()
            ),
            Stored(PurePosixPath("recording-b.wav"), 5, hashlib.sha256(b"large").hexdigest()),
        ]

    async def test_the_extension_follows_the_bytes_unless_it_was_chosen(self, sink):
        chosen = Body(target("chosen.bin", extension=""), [b"x"], 1, MP3)
        await sink.publish([body(audio=MP3), chosen])
        assert set(files(sink.folder)) == {"recording-a.mp3", "chosen.bin"}

    async def test_many_small_chunks_are_one_file(self, sink):
        content = bytes(range(256)) * 20
        many = Body(target(), [content[i : i + 1] for i in range(len(content))], len(content), WAV)
        await sink.publish([many])
        assert files(sink.folder) == {"recording-a.wav": content}

    async def test_what_is_there_stays(self, sink):
        sink.folder.mkdir()
        (sink.folder / "recording-a.wav").write_bytes(b"mine")
        stored = await sink.publish([body(), body(name="recording-b")])
        assert [item.new for item in stored] == [False, True]
        assert files(sink.folder) == {"recording-a.wav": b"mine", "recording-b.wav": b"content"}

    async def test_of_two_with_one_name_in_a_batch_the_first_stays(self, sink):
        stored = await sink.publish([body(b"first"), body(b"second")])
        assert [item.new for item in stored] == [True, False]
        assert files(sink.folder) == {"recording-a.wav": b"first"}

    @pytest.mark.parametrize("large", [False, True])
    @pytest.mark.parametrize("same", [False, True])
    async def test_other_bytes_than_those_known_get_the_other_name(self, sink, large, same):
        content = b"content"
        digest = hashlib.sha256(content if same else b"earlier").hexdigest()
        other = target("recording-a.v2", "beside")
        wanted = target()._replace(expected_sha256=digest, name_if_changed=other)
        if large:
            upload = await sink.begin(wanted)
            await upload.write([content])
            ready = await upload.stage(WAV)
        else:
            ready = Body(wanted, [content], len(content), WAV)
        (stored,) = await sink.publish([ready])
        name = "recording-a.wav" if same else "beside/recording-a.v2.wav"
        assert files(sink.folder) == {name: content}
        assert stored.name == PurePosixPath(name)

    async def test_of_two_batches_at_once_one_wins_each_name(self, sink):
        batches = [[body(b"%d" % n, f"recording-{k}") for k in range(20)] for n in range(4)]
        stored = await asyncio.gather(*(sink.publish(batch) for batch in batches))
        for k in range(20):
            assert sum(batch[k].new for batch in stored) == 1
        assert len(files(sink.folder)) == 20

    async def test_overwriting_replaces(self, tmp_path):
        (tmp_path / "recording-a.wav").write_bytes(b"old")
        sink = LocalSink(tmp_path, overwrite=True)
        (stored,) = await sink.publish([body()])
        await sink.aclose()
        assert stored.new
        assert files(tmp_path) == {"recording-a.wav": b"content"}

    async def test_modes_are_private_in_every_folder(self, sink):
        before = os.umask(0)
        try:
            await sink.publish([body(folder="2026/11/22")])
        finally:
            os.umask(before)
        made = {stat.S_IMODE(path.stat().st_mode) for path in sink.folder.rglob("*.wav")}
        folders = [sink.folder, *(path for path in sink.folder.rglob("*") if path.is_dir())]
        assert made == {0o600}
        assert len(folders) == 4
        assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}

    async def test_no_second_name_and_no_link_is_left(self, sink):
        await sink.publish([body()])
        assert (sink.folder / "recording-a.wav").stat().st_nlink == 1

    async def test_the_destination_may_be_a_link_since_the_user_chose_it(self, tmp_path):
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        sink = LocalSink(tmp_path / "link")
        await sink.publish([body(), body(folder="below")])
        await sink.aclose()
        assert set(files(tmp_path / "real")) == {"recording-a.wav", "below/recording-a.wav"}


class TestWhereItIsDone:
    """Small files in the loop if that is ours, everything else in threads."""

    @pytest.fixture
    def written(self, monkeypatch):
        """For each file that was written, its size and whether that was done in the loop."""
        seen = []
        write_all = local.write_all

        def noting(fd, chunks):
            here = threading.current_thread() is threading.main_thread()
            seen.append((sum(map(len, chunks)), here))
            write_all(fd, chunks)

        monkeypatch.setattr(local, "write_all", noting)
        return seen

    async def publish(self, sink, *sizes):
        try:
            for number, size in enumerate(sizes):
                await sink.publish([body(b"x" * size, f"recording-{number}")])
        finally:
            await sink.aclose()

    async def test_in_a_shared_loop_nothing(self, written, tmp_path):
        await self.publish(LocalSink(tmp_path), 10, 20)
        assert written == [(10, False), (20, False)]

    async def test_in_our_own_whole_batches(self, written, tmp_path):
        await self.publish(LocalSink(tmp_path, inline=True), 10, 20)
        assert written == [(10, True), (20, True)]

    async def test_what_is_staged_by_itself_never(self, written, tmp_path):
        sink = LocalSink(tmp_path, inline=True)
        await sink.publish([await sink.stage(body(b"x" * 30))])
        await sink.aclose()
        assert written == [(30, False)]

    async def test_but_never_syncing(self, monkeypatch, tmp_path):
        def sync(*_, **__):
            assert threading.current_thread() is not threading.main_thread()

        for name in ("sync_many", "sync_folder"):
            monkeypatch.setattr(local, name, sync)
        await self.publish(LocalSink(tmp_path, inline=True), 10)
        await self.publish(LocalSink(tmp_path / "each", inline=True, fsync=Fsync.EACH), 10)
        monkeypatch.setattr(local.FilePool, "run", None)
        sink = LocalSink(tmp_path / "off", inline=True, fsync=Fsync.OFF)
        assert [stored.new for stored in await sink.publish([body()])] == [True]

    @pytest.mark.parametrize(("seconds", "here"), [(0.02, True), (0.021, False)])
    async def test_a_slow_disk_gets_it_once(self, seconds, here, written, monkeypatch, tmp_path):
        ticks = itertools.count()
        monkeypatch.setattr(local.time, "perf_counter", lambda: next(ticks) * seconds)
        await self.publish(LocalSink(tmp_path, inline=True), 10, 20)
        assert written == [(10, True), (20, here)]


class TestExisting:
    async def test_each_name_that_a_target_may_get_is_looked_for(self, sink):
        sink.folder.mkdir()
        (sink.folder / "recording-a.mp3").write_bytes(mpeg_bytes(1, "a", 0.3))
        (sink.folder / "recording-b.wav").write_bytes(wave(1000))
        (sink.folder / "recording-c.wav").mkdir()
        (sink.folder / ".recording-d.wav.part").write_bytes(b"")
        found = await sink.existing([target(f"recording-{letter}") for letter in "abcd"])
        assert [str(name) if name else None for name in found] == [
            "recording-a.mp3",
            "recording-b.wav",
            None,
            None,
        ]

    async def test_looking_makes_no_folder(self, sink):
        assert await sink.existing([target()]) == [None]
        assert not sink.folder.exists()

    async def test_a_folder_that_is_made_meanwhile_is_none_the_worse(self, tmp_path, monkeypatch):
        dest = tmp_path / "dest"
        real = os.stat

        def late(path, *args, **kwargs):
            try:
                return real(path, *args, **kwargs)
            finally:
                if path == dest and not os.path.isdir(os.path.join(tmp_path, "dest")):
                    os.mkdir(dest)

        monkeypatch.setattr(local.os, "stat", late)
        sink = LocalSink(dest)
        assert await sink.existing([target()]) == [None]
        await sink.aclose()

    async def test_a_file_as_destination_is_said_before_anything_is_fetched(self, sink):
        sink.folder.write_bytes(b"mine")
        with pytest.raises(DestinationError, match="is a file, not a folder"):
            await sink.existing([target()])


class TestUploads:
    async def test_aborting_leaves_nothing_and_may_be_repeated(self, sink):
        upload = await sink.begin(target())
        await upload.write([b"x"])
        await upload.abort()
        await upload.abort()
        assert files(sink.folder) == {}
        with pytest.raises(ValueError, match="over"):
            await upload.write([b"y"])

    async def test_aborting_what_was_staged_removes_it_and_what_was_published_not(self, sink):
        upload = await sink.begin(target())
        await upload.stage(WAV)
        await upload.abort()
        assert files(sink.folder) == {}
        upload = await sink.begin(target())
        await upload.write([b"x"])
        await sink.publish([await upload.stage(WAV)])
        await upload.abort()
        assert files(sink.folder) == {"recording-a.wav": b"x"}

    async def test_closing_discards_what_was_begun_or_staged(self, tmp_path):
        sink = LocalSink(tmp_path)
        await (await sink.begin(target())).write([b"x"])
        await staged(sink, name="recording-b")
        assert len(files(tmp_path)) == 2
        await sink.aclose()
        await sink.aclose()
        assert files(tmp_path) == {}
        assert open_files(tmp_path) == []


class TestLinksInside:
    @pytest.mark.parametrize("where", ["one", "one/two"])
    async def test_a_link_on_the_way_is_refused(self, where, tmp_path):
        outside = tmp_path / "outside"
        outside.mkdir()
        dest = tmp_path / "dest"
        (dest / where).parent.mkdir(parents=True)
        (dest / where).symlink_to(outside)
        sink = LocalSink(dest)
        with pytest.raises(DestinationError, match="symbolic link"):
            await sink.publish([body(folder="one/two")])
        with pytest.raises(DestinationError, match="symbolic link"):
            await sink.begin(target(folder="one/two"))
        await sink.aclose()
        assert files(outside) == {}

    async def test_a_file_on_the_way_is_refused(self, tmp_path):
        (tmp_path / "one").write_bytes(b"mine")
        sink = LocalSink(tmp_path)
        with pytest.raises(DestinationError, match="file, not a folder"):
            await sink.publish([body(folder="one/two")])
        await sink.aclose()
        assert files(tmp_path) == {"one": b"mine"}

    async def test_replacing_a_link_does_not_write_through_it(self, tmp_path):
        (tmp_path / "outside").write_bytes(b"mine")
        dest = tmp_path / "dest"
        dest.mkdir()
        (dest / "recording-a.wav").symlink_to(tmp_path / "outside")
        sink = LocalSink(dest, overwrite=True)
        await sink.publish([body()])
        await sink.aclose()
        assert (tmp_path / "outside").read_bytes() == b"mine"
        assert (dest / "recording-a.wav").read_bytes() == b"content"


async def test_what_waits_for_the_disk_keeps_nobody_from_writing(monkeypatch, tmp_path):
    """Batches that are being synced hold no thread of those that write."""
    begun, go = threading.Semaphore(0), threading.Event()
    real = LocalSink._sync_and_link

    def stuck(sink, staged):
        begun.release()
        assert go.wait(10)
        return real(sink, staged)

    monkeypatch.setattr(LocalSink, "_sync_and_link", stuck)
    pool = FilePool(2)
    sink = LocalSink(tmp_path, pool=pool)
    batches = [asyncio.create_task(sink.publish([body(name=f"recording-{n}")])) for n in range(2)]
    try:
        for _ in batches:
            assert await asyncio.to_thread(begun.acquire, timeout=10)
        async with asyncio.timeout(5):
            written = await sink.stage(body(b"x" * 200_000, name="recording-large"))
        assert isinstance(written, Staged)
    finally:
        go.set()
        await asyncio.gather(*batches)
        await sink.aclose()
        pool.close()
