"""One run at a time, and the second one says who is at work."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest

from agentphone_async.archive import lock as lock_module
from agentphone_async.archive.lock import LOCK_NAME, ArchiveLock
from agentphone_async.errors import ArchiveLockedError, DestinationError
from tests.conftest import Sleeps


def test_the_second_learns_who_the_first_is(tmp_path):
    with ArchiveLock(tmp_path) as first:
        first.acquire()
        with pytest.raises(ArchiveLockedError, match=f"process {os.getpid()} on ") as caught:
            ArchiveLock(tmp_path).acquire()
        assert "since 20" in caught.value.holder
    with ArchiveLock(tmp_path) as second:
        second.acquire()
    assert (tmp_path / LOCK_NAME).read_text() == ""


async def test_waiting_ends_when_the_lock_is_free(tmp_path):
    first = ArchiveLock(tmp_path)
    first.acquire()
    waits = 0

    async def sleep(seconds: float) -> None:
        nonlocal waits
        waits += 1
        if waits == 3:
            first.release()

    with await ArchiveLock(tmp_path).wait(60, sleep):
        assert waits == 3


async def test_waiting_ends_after_the_time_that_was_given(tmp_path, sleeps: Sleeps, caplog):
    caplog.set_level("INFO", "agentphone_async.archive")
    first = ArchiveLock(tmp_path)
    first.acquire()
    with pytest.raises(ArchiveLockedError):
        await ArchiveLock(tmp_path).wait(3.1, sleeps)
    assert sum(sleeps) == pytest.approx(3.1)
    (line,) = caplog.messages
    assert f"process {os.getpid()} on " in line, "once, and it names who works there"
    with pytest.raises(ArchiveLockedError):
        await ArchiveLock(tmp_path).wait(60, sleeps, lambda: True)
    assert sum(sleeps) == pytest.approx(3.1)
    first.release()
    first.release()


def test_a_lock_dies_with_its_process(tmp_path):
    program = (
        "import sys; from pathlib import Path; from agentphone_async.archive.lock import ArchiveLock\n"
        f"ArchiveLock(Path({str(tmp_path)!r})).acquire(); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ArchiveLockedError, match=f"process {holder.pid} on "):
            ArchiveLock(tmp_path).acquire()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with ArchiveLock(tmp_path) as mine:
        mine.acquire()


def test_no_lock_is_needed_where_there_are_none(tmp_path, monkeypatch):
    def unsupported(fd: int) -> None:
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(lock_module, "_lock", unsupported)
    before = len(os.listdir("/proc/self/fd"))
    with ArchiveLock(tmp_path) as mine:
        mine.acquire()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / "theirs").write_text("precious")
    (tmp_path / LOCK_NAME).symlink_to("theirs")
    with pytest.raises(DestinationError, match="symbolic link"):
        ArchiveLock(tmp_path).acquire()
    assert (tmp_path / "theirs").read_text() == "precious"
