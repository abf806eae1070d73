"""A disk that fails: named, with advice; nothing left, nothing held open, nothing over."""

from __future__ import annotations

import errno
import os
from functools import partial

import pytest

from agentphone_async.errors import DestinationError
from agentphone_async.sinks import disk
from agentphone_async.sinks.interface import Body
from agentphone_async.sinks.local import Fsync, LocalSink
from tests.sinks.failing_disk import CONTENT, WAV, bodies, failing, is_folder, is_part, target
from tests.support.downloads import files, open_files

ADVICE = {
    errno.ENOSPC: "disk is full",
    errno.EDQUOT: "quota",
    errno.EROFS: "read-only",
    errno.EACCES: "no permission",
    errno.EIO: "reports an error",
    errno.ENAMETOOLONG: "too long",
}


async def check_failed_publish(sink, tmp_path, number, batch):
    with pytest.raises(DestinationError) as caught:
        await sink.publish(batch)
    await sink.aclose()
    assert caught.value.errno == number
    assert ADVICE.get(number, "") in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    assert open_files(tmp_path) == []


@pytest.mark.parametrize("number", ADVICE)
async def test_opening_fails(number, monkeypatch, tmp_path):
    sink = LocalSink(tmp_path)
    failing(monkeypatch, "open", number, on_call=2, when=is_part)
    await check_failed_publish(sink, tmp_path, number, bodies(3))
    assert files(tmp_path) == {}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("on_call", [1, 2])
async def test_writing_fails(number, on_call, monkeypatch, tmp_path):
    sink = LocalSink(tmp_path)
    failing(monkeypatch, "writev", number, on_call=on_call)
    await check_failed_publish(sink, tmp_path, number, bodies(3))
    assert files(tmp_path) == {}


async def test_a_disk_that_fills_up_within_a_file(monkeypatch, tmp_path):
    """A short write first, then ENOSPC: that is how a full disk looks."""
    sink = LocalSink(tmp_path)
    monkeypatch.setattr(disk.os, "writev", lambda fd, chunks: os.write(fd, chunks[0][:100]))
    failing(monkeypatch, "write", errno.ENOSPC, on_call=2)
    await check_failed_publish(sink, tmp_path, errno.ENOSPC, bodies(1))
    assert files(tmp_path) == {}


@pytest.mark.parametrize("mode", [Fsync.BATCH, Fsync.EACH], ids=lambda mode: mode.value)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
async def test_syncing_fails_before_anything_is_visible(mode, number, monkeypatch, tmp_path):
    sink = LocalSink(tmp_path, fsync=mode)
    failing(monkeypatch, "fsync", number, on_call=2)
    await check_failed_publish(sink, tmp_path, number, bodies(3))
    assert files(tmp_path) == {}


async def test_syncing_a_whole_file_system_fails(monkeypatch, tmp_path):
    import ctypes

    def syncfs(_):
        ctypes.set_errno(errno.EIO)
        return -1

    monkeypatch.setattr(disk, "_syncfs", syncfs)
    await check_failed_publish(LocalSink(tmp_path), tmp_path, errno.EIO, bodies(20))
    assert files(tmp_path) == {}


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
async def test_closing_fails(number, monkeypatch, tmp_path):
    """Network file systems tell of a full disk only then."""
    sink = LocalSink(tmp_path)
    real = os.close
    with monkeypatch.context() as patch:
        failing(patch, "close", number)
        with pytest.raises(DestinationError) as caught:
            await sink.publish(bodies(1))
    assert os.close is real
    await sink.aclose()
    assert caught.value.errno == number
    assert files(tmp_path) == {}
    assert open_files(tmp_path) == []


@pytest.mark.parametrize("call", ["link", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
async def test_renaming_fails_and_what_was_renamed_before_is_whole(
    call, number, monkeypatch, tmp_path
):
    sink = LocalSink(tmp_path, overwrite=call == "replace")
    failing(monkeypatch, call, number, on_call=2)
    failing(monkeypatch, "rename", number)  # what is tried where links cannot be made
    await check_failed_publish(sink, tmp_path, number, bodies(3))
    assert files(tmp_path) == {"day/recording-0.wav": CONTENT}


async def test_syncing_the_folder_fails(monkeypatch, tmp_path):
    sink = LocalSink(tmp_path)
    failing(monkeypatch, "open", errno.EIO, when=is_folder)
    await check_failed_publish(sink, tmp_path, errno.EIO, bodies(1))
    assert files(tmp_path) == {"day/recording-0.wav": CONTENT}


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
async def test_a_file_system_that_cannot_sync_folders_is_good_enough(number, monkeypatch, tmp_path):
    sink = LocalSink(tmp_path)
    failing(monkeypatch, "open", number, when=is_folder)
    assert all(stored.new for stored in await sink.publish(bodies(1)))
    await sink.aclose()


async def test_making_the_folder_fails(monkeypatch, tmp_path):
    sink = LocalSink(tmp_path / "new")
    failing(monkeypatch, "mkdir", errno.EROFS)
    await check_failed_publish(sink, tmp_path, errno.EROFS, bodies(1))
    assert files(tmp_path) == {}


@pytest.mark.parametrize("what", ["write", "close"])
async def test_an_upload_that_fails_leaves_nothing(what, monkeypatch, tmp_path):
    sink = LocalSink(tmp_path)
    upload = await sink.begin(target())
    await upload.write([b"so far so good"])
    with monkeypatch.context() as patch:
        failing(patch, what, errno.EIO)
        with pytest.raises(DestinationError) as caught:
            await {
                "write": lambda: upload.write([b"x"]),
                "close": lambda: upload.stage(WAV),
            }[what]()
        assert caught.value.errno == errno.EIO
        await upload.abort()  # also while closing keeps failing
    assert files(tmp_path) == {}
    await sink.aclose()
    assert open_files(tmp_path) == []


async def test_closing_the_sink_clears_up_even_where_closing_files_fails(monkeypatch, tmp_path):
    sink = LocalSink(tmp_path)
    for name in "abc":
        await (await sink.begin(target(name))).write([b"x"])
    with monkeypatch.context() as patch:
        failing(patch, "close", errno.EIO)
        await sink.aclose()
    assert files(tmp_path) == {}
    assert open_files(tmp_path) == []


@pytest.mark.parametrize("most", [1, 999, 4000, 4001])
async def test_short_writes_are_continued(most, monkeypatch, tmp_path):
    real = os.write
    monkeypatch.setattr(disk.os, "writev", lambda fd, chunks: real(fd, b"".join(chunks)[:most]))
    monkeypatch.setattr(disk.os, "write", lambda fd, data: real(fd, data[: max(most, 100)]))
    sink = LocalSink(tmp_path)
    single = Body(target("recording-single"), [CONTENT], len(CONTENT), WAV)
    upload = await sink.begin(target("recording-upload"))
    await upload.write([CONTENT[:5000], CONTENT[5000:5001], CONTENT[5001:]])
    await sink.publish([*bodies(1), single, await upload.stage(WAV)])
    await sink.aclose()
    assert set(files(tmp_path).values()) == {CONTENT}
    assert len(files(tmp_path)) == 3


async def test_more_buffers_than_one_call_takes_are_written_in_order(tmp_path):
    content = os.urandom(5000)
    sink = LocalSink(tmp_path)
    chunks = [content[n : n + 1] for n in range(len(content))]
    await sink.publish([Body(target(), chunks, len(content), WAV)])
    await sink.aclose()
    assert files(tmp_path) == {"day/recording-a.wav": content}


class TestWithoutHardLinks:
    @pytest.fixture(params=[errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EIO])
    def linkless(self, request, monkeypatch):
        failing(monkeypatch, "link", request.param)

    @pytest.mark.usefixtures("linkless")
    async def test_files_are_renamed_instead(self, tmp_path):
        sink = LocalSink(tmp_path)
        assert all(stored.new for stored in await sink.publish(bodies(3)))
        await sink.aclose()
        assert len(files(tmp_path)) == 3
        assert set(files(tmp_path).values()) == {CONTENT}

    async def test_a_mount_that_is_busy_uploading_is_asked_again(self, monkeypatch, tmp_path):
        failing(monkeypatch, "link", errno.EPERM)
        monkeypatch.setattr(disk.time, "sleep", lambda _: None)
        real, refusals = os.rename, [errno.ENOENT] * 3

        def rename(temp, final):
            if refusals:
                raise OSError(refusals.pop(), os.strerror(errno.ENOENT), temp)
            real(temp, final)

        monkeypatch.setattr(os, "rename", rename)
        sink = LocalSink(tmp_path)
        assert all(stored.new for stored in await sink.publish(bodies(1)))
        await sink.aclose()
        assert not refusals

    @pytest.mark.usefixtures("linkless")
    @pytest.mark.parametrize("kind", ["file", "link"])
    async def test_and_what_is_there_stays(self, kind, tmp_path):
        (tmp_path / "day").mkdir()
        final = tmp_path / "day" / "recording-0.wav"
        if kind == "file":
            final.write_bytes(b"mine")
        else:
            final.symlink_to("nowhere")
        sink = LocalSink(tmp_path)
        (stored,) = await sink.publish(bodies(1))
        assert not stored.new
        await sink.aclose()
        assert [path.name for path in (tmp_path / "day").iterdir()] == ["recording-0.wav"]
        assert final.is_symlink() == (kind == "link")


@pytest.mark.parametrize("inline", [False, True], ids=["in threads", "inline"])
class TestSyncing:
    """What is forced to the disk, and when, as seen by the system calls."""

    @pytest.fixture
    def sink(self, tmp_path, inline):
        return partial(LocalSink, tmp_path, inline=inline)

    @pytest.fixture
    def log(self, monkeypatch):
        made = []
        for name in ("fsync", "link", "replace"):
            real = getattr(os, name)

            def note(*args, real=real, name=name, **kwargs):
                where = os.readlink(f"/proc/self/fd/{args[0]}") if name == "fsync" else args[0]
                made.append((name, "part" if str(where).endswith(".part") else "folder"))
                return real(*args, **kwargs)

            monkeypatch.setattr(disk.os, name, note)
        real_syncfs = disk._syncfs
        if real_syncfs is None:
            pytest.skip("no syncfs here")

        def syncfs(fd):
            made.append(("syncfs", "all"))
            return real_syncfs(fd)

        monkeypatch.setattr(disk, "_syncfs", syncfs)
        return made

    async def publish(self, sink, mode, count, tmp_path):
        (tmp_path / "day").mkdir()
        sink = sink(fsync=mode)
        await sink.publish(bodies(count))
        await sink.aclose()

    async def test_a_few_are_synced_one_by_one_before_the_first_is_visible(
        self, log, sink, tmp_path
    ):
        await self.publish(sink, Fsync.BATCH, 3, tmp_path)
        assert log == [("fsync", "part")] * 3 + [("link", "part")] * 3 + [("fsync", "folder")]

    async def test_many_are_synced_with_one_call(self, log, sink, tmp_path):
        await self.publish(sink, Fsync.BATCH, 50, tmp_path)
        assert log == [("syncfs", "all")] + [("link", "part")] * 50 + [("fsync", "folder")]

    async def test_each_on_its_own_if_that_is_wanted(self, log, sink, tmp_path):
        await self.publish(sink, Fsync.EACH, 50, tmp_path)
        assert log == [("fsync", "part")] * 50 + [("link", "part")] * 50 + [("fsync", "folder")]

    async def test_none_if_that_is_wanted(self, log, sink, tmp_path):
        await self.publish(sink, Fsync.OFF, 50, tmp_path)
        assert log == [("link", "part")] * 50

    async def test_new_folders_are_made_durable_with_the_first_file(self, log, inline, tmp_path):
        sink = LocalSink(tmp_path / "new" / "dest", inline=inline)
        await sink.publish(bodies(1))
        assert log.count(("fsync", "folder")) == 4  # above "new", "new", "dest" and "day"
        await sink.publish(bodies(1))
        assert log.count(("fsync", "folder")) == 5
        await sink.aclose()

    async def test_without_syncfs_each_is_synced(self, log, monkeypatch, sink, tmp_path):
        monkeypatch.setattr(disk, "_syncfs", None)
        await self.publish(sink, Fsync.BATCH, 20, tmp_path)
        assert log.count(("fsync", "part")) == 20


async def test_a_folder_that_is_taken_away_meanwhile_is_said(tmp_path):
    sink = LocalSink(tmp_path / "dest")
    await sink.publish(bodies(1))
    upload = await sink.begin(target("recording-large"))
    await upload.write([b"x"])
    (tmp_path / "dest" / "day" / "recording-0.wav").unlink()
    (tmp_path / "dest").rename(tmp_path / "elsewhere")
    with pytest.raises(DestinationError, match="cannot write to"):
        await sink.publish(bodies(1))
    with pytest.raises(DestinationError, match="cannot write to"):
        await sink.publish([await upload.stage(WAV)])
    await sink.aclose()
    assert open_files(tmp_path) == []
    assert not (tmp_path / "dest").exists()
