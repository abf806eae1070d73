"""What killed runs leave in a folder, and what is swept."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath

import pytest

from agentphone_async.sinks import leftovers
from agentphone_async.sinks.interface import Body, Target
from agentphone_async.sinks.local import LocalSink
from tests.sinks.failing_disk import WAV


class TestLeftovers:
    """Temp files of dead runs go, all others stay."""

    HOST = leftovers._this_host()

    def leave(self, folder, *, host=HOST, pid, age=0.0, suffix="part"):
        path = folder / f".agentphone-{host}-{pid:x}-0123abcd-7.{suffix}"
        path.write_bytes(b"rest")
        moment = time.time() - age
        os.utime(path, (moment, moment))
        return path

    @pytest.fixture
    def dead(self):
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        return process.pid

    async def publish_one(self, folder):
        sink = LocalSink(folder)
        await sink.publish(
            [Body(Target(PurePosixPath("day"), "recording-a"), [b"content"], 7, WAV)]
        )
        await sink.aclose()

    async def test_a_dead_process_of_this_host(self, dead, tmp_path):
        (tmp_path / "day").mkdir()
        left = self.leave(tmp_path / "day", pid=dead)
        await self.publish_one(tmp_path)
        assert not left.exists()

    async def test_a_dead_process_that_had_our_number(self, monkeypatch, tmp_path):
        """In a container each process is the first, and the host's name stays the same."""
        (tmp_path / "day").mkdir()
        left = self.leave(tmp_path / "day", pid=os.getpid(), age=3600)
        monkeypatch.setattr(leftovers, "_STARTED", time.time() + 1)
        await self.publish_one(tmp_path)
        assert not left.exists()

    @pytest.mark.parametrize("who", ["this process", "one that has our number just now"])
    async def test_what_has_our_number_and_is_young_stays(self, who, tmp_path):
        (tmp_path / "day").mkdir()
        left = tmp_path / "day" / next(leftovers.temp_names())
        if who == "this process":
            left.write_bytes(b"rest")
            os.utime(left, (0.0, 0.0))  # as the call that it is of
        else:
            left = self.leave(tmp_path / "day", pid=os.getpid())
        await self.publish_one(tmp_path)
        assert left.exists()
        assert leftovers.sweep(tmp_path / "day") == 1

    @pytest.mark.parametrize("pid", [os.getppid(), 1], ids=["parent", "first"])
    async def test_a_process_that_lives(self, pid, tmp_path):
        (tmp_path / "day").mkdir()
        left = self.leave(tmp_path / "day", pid=pid, age=10**7)
        await self.publish_one(tmp_path)
        assert left.exists()

    async def test_another_host_until_a_day_has_passed(self, dead, monkeypatch, tmp_path):
        (tmp_path / "day").mkdir()
        left = self.leave(tmp_path / "day", host="ffffffff", pid=dead, age=10**7)
        written = time.time()
        for hours in (23, 25):
            assert left.exists()
            monkeypatch.setattr(time, "time", lambda h=hours: written + h * 3600)
            await self.publish_one(tmp_path)
        assert not left.exists()

    async def test_what_only_looks_similar(self, dead, tmp_path):
        (tmp_path / "day").mkdir()
        others = [
            self.leave(tmp_path / "day", pid=dead, age=10**6, suffix="party"),
            self.leave(tmp_path / "day", host="not-hex!", pid=dead, age=10**6),
            tmp_path / "day" / "mine.part",
        ]
        others[2].write_bytes(b"")
        folder = tmp_path / "day" / f".agentphone-{self.HOST}-{dead:x}-0123abcd-8.part"
        folder.mkdir()
        link = tmp_path / "day" / f".agentphone-{self.HOST}-{dead:x}-0123abcd-9.part"
        link.symlink_to(others[2])
        await self.publish_one(tmp_path)
        assert all(path.exists() for path in (*others, folder, link))

    def test_names_are_never_the_same_and_known_as_temporary(self):
        names = {
            next(made)
            for made in (leftovers.temp_names(), leftovers.temp_names())
            for _ in range(50)
        }
        assert len(names) == 100
        assert all(leftovers.is_temp(name) for name in names)
        assert not leftovers.is_temp("recording-a.wav")

    def test_a_folder_that_is_not_there_has_none(self, tmp_path):
        assert leftovers.sweep(tmp_path / "none") == 0


def test_another_pid_namespace_is_another_host(monkeypatch: pytest.MonkeyPatch):
    """Containers that share a host's name and a folder cannot see each other's processes."""
    names: set[str] = set()
    for space in ("pid:[4026531836]", "pid:[4026532000]"):
        leftovers._this_host.cache_clear()
        monkeypatch.setattr(Path, "readlink", lambda _, space=space: Path(space))
        names.add(leftovers._this_host())
    leftovers._this_host.cache_clear()
    assert len(names) == 2
