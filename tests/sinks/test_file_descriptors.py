"""When file descriptors run out, a thread waits for one."""

from __future__ import annotations

import errno
import os

import pytest

from agentphone_async.errors import DestinationError
from agentphone_async.sinks import disk
from agentphone_async.sinks.local import LocalSink
from tests.sinks.failing_disk import bodies, failing, is_folder, is_part
from tests.support.downloads import files


class TestFileDescriptors:
    @pytest.fixture
    def clock(self, monkeypatch):
        """Sleeping takes no time, but is seen."""

        class Clock:
            now = 0.0
            slept = 0

            def monotonic(self):
                return self.now

            def sleep(self, seconds):
                self.now += seconds
                self.slept += 1

            def time(self):
                return 1e9

        made = Clock()
        monkeypatch.setattr(disk, "time", made)
        return made

    @pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
    @pytest.mark.parametrize("when", [is_part, is_folder], ids=["file", "folder"])
    @pytest.mark.parametrize("inline", [False, True], ids=["in threads", "inline"])
    async def test_when_they_run_out_it_waits_for_one_in_a_thread(
        self, number, when, inline, clock, monkeypatch, tmp_path
    ):
        real = os.open
        refused = []

        def scarce(path, *args, **kwargs):
            if when(path) and len(refused) < 5:
                refused.append(path)
                raise OSError(number, os.strerror(number))
            return real(path, *args, **kwargs)

        monkeypatch.setattr(disk.os, "open", scarce)
        sink = LocalSink(tmp_path, inline=inline)
        in_the_loop = int(inline and when is is_part)  # where nothing is waited for
        assert all(stored.new for stored in await sink.publish(bodies(2)))
        await sink.aclose()
        assert clock.slept == 5 - in_the_loop
        assert len(files(tmp_path)) == 2

    async def test_but_not_for_ever(self, clock, monkeypatch, tmp_path):
        sink = LocalSink(tmp_path)
        failing(monkeypatch, "open", errno.EMFILE, when=is_part)
        with pytest.raises(DestinationError, match="ulimit -n") as caught:
            await sink.publish(bodies(1))
        await sink.aclose()
        assert caught.value.errno == errno.EMFILE
        assert 5 <= clock.now <= 30
        assert files(tmp_path) == {}
