"""What waits to be published: how much of it, for how long, and what becomes of it."""

from __future__ import annotations

import asyncio
import errno
import threading
from contextlib import aclosing

import pytest

from agentphone_async import Fsync, LocalSink
from agentphone_async.errors import (
    DestinationError,
)
from agentphone_async.recordings.downloader import Downloader
from agentphone_async.recordings.fetch import Fetcher
from agentphone_async.recordings.jobs import flat_target, jobs_of
from agentphone_async.recordings.outcomes import (
    Archived,
    Failed,
)
from agentphone_async.sinks import local, uploads
from agentphone_async.transport.budget import Budget
from tests.support.downloads import add, collect, files, open_files, wave

pytestmark = pytest.mark.usefixtures("nothing_left")


class TestMemory:
    def downloader(self, client, folder, *, budget, concurrency=4, fsync=Fsync.BATCH):
        fetcher = Fetcher(client.session, LocalSink(folder, fsync=fsync), budget=Budget(budget))
        return fetcher, Downloader(fetcher, folder, concurrency)

    async def run(self, downloader, calls):
        jobs = jobs_of(calls, flat_target)
        async with aclosing(downloader.batches(jobs)) as batches:
            outcomes = [outcome async for batch in batches for _, outcome in batch]
        await downloader.fetcher.sink.aclose()
        return outcomes

    async def test_all_of_it_comes_back_after_every_kind_of_end(self, server, client, tmp_path):
        given = [server.add_call(id=f"call_{n}", audio=wave(50_000)).id for n in range(30)]
        for n, fault in enumerate(
            [{"truncate": 1000}, {"html": True}, {"status": 500}, {"reset": 40_000},
             {"body": b"not audio at all", "media_type": "audio/wav"}]
        ):  # fmt: skip
            server.fail(route="recording", call_id=given[n], **fault)
        (tmp_path / "recording-call_9.wav").write_bytes(wave(1000))
        fetcher, downloader = self.downloader(client, tmp_path, budget=120_000)
        outcomes = await self.run(downloader, [*given, "call_absent"])
        assert sum(isinstance(outcome, Failed) for outcome in outcomes) == 5
        assert sum(isinstance(outcome, Archived) for outcome in outcomes) == 24
        assert fetcher.budget.held == 0

    async def test_more_is_never_held_than_the_budget(self, server, client, tmp_path, monkeypatch):
        held = []
        given = [server.add_call(id=f"call_{n}", audio=wave(60_000)).id for n in range(30)]
        fetcher, downloader = self.downloader(client, tmp_path, budget=150_000, concurrency=8)
        real = LocalSink._write_all

        def write_all(sink, batch):
            held.append(sum(ready.size for ready in batch))
            return real(sink, batch)

        monkeypatch.setattr(LocalSink, "_write_all", write_all)
        await self.run(downloader, given)
        assert max(held) <= 150_000
        assert sum(held) == 30 * 60_000
        assert fetcher.budget.held == 0

    async def test_a_budget_smaller_than_one_recording_is_slow_not_stuck(
        self, server, client, tmp_path
    ):
        given = [
            server.add_call(id=f"call_{n}", audio=wave(size)).id
            for n, size in enumerate([100_000, 5_000_000, 90_000, 4_500_000])
        ]
        fetcher, downloader = self.downloader(client, tmp_path, budget=50_000)
        async with asyncio.timeout(20):
            outcomes = await self.run(downloader, given)
        assert all(isinstance(outcome, Archived) for outcome in outcomes)
        assert fetcher.budget.held == 0


class TestPublishing:
    async def test_names_are_looked_up_in_batches(self, server, client, tmp_path, monkeypatch):
        looked = []
        real = LocalSink._existing

        def existing(sink, targets):
            looked.append(len(targets))
            return real(sink, targets)

        monkeypatch.setattr(LocalSink, "_existing", existing)
        given = [f"call_{n}" for n in range(2000)]
        await collect(client.download_recordings(given, tmp_path))
        assert sum(looked) == 2000
        assert len(looked) <= 40

    async def test_many_files_share_a_sync_when_the_disk_is_slow(
        self, server, client, tmp_path, monkeypatch
    ):
        gate = threading.Event()
        synced = []

        def sync_many(paths, **_):
            assert gate.wait(10)
            synced.append(len(paths))

        monkeypatch.setattr(local, "sync_many", sync_many)
        given = add(server, 100)
        task = asyncio.create_task(
            collect(client.download_recordings(given, tmp_path, concurrency=8))
        )
        while server.requests.count("recording", status=200) < 100:
            await asyncio.sleep(0)
        gate.set()
        outcomes = await task
        assert len(outcomes) == sum(synced) == 100
        assert len(synced) <= 10

    async def test_a_failing_disk_stops_the_run_and_leaves_nothing_unpublished(
        self, server, client, tmp_path, monkeypatch
    ):
        given = add(server, 200)
        written = []
        real = local.write_all

        def write_all(fd, chunks):
            written.append(fd)
            if len(written) > 30:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(fd, chunks)

        monkeypatch.setattr(local, "write_all", write_all)
        outcomes = []

        async def run():
            async for outcome in client.download_recordings(given, tmp_path, concurrency=4):
                outcomes.append(outcome)  # noqa: PERF401 - kept when the run fails

        with pytest.raises(DestinationError, match="disk is full") as caught:
            await run()
        assert caught.value.errno == errno.ENOSPC
        assert all(isinstance(outcome, Archived) for outcome in outcomes)
        on_disk = files(tmp_path)
        assert {outcome.recording.path.name for outcome in outcomes} <= set(on_disk)
        for name, content in on_disk.items():
            call_id = name.removeprefix("recording-").removesuffix(".wav")
            assert content == server.expected_audio(call_id)

    async def test_so_does_a_disk_that_fails_under_a_large_one(
        self, server, client, tmp_path, monkeypatch
    ):
        def full(_fd, _chunks):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(uploads, "write_all", full)
        large = server.add_call(audio=wave(5_000_000)).id
        with pytest.raises(DestinationError, match="disk is full"):
            await collect(client.download_recordings([large], tmp_path))
        assert files(tmp_path) == {}

    async def test_what_failed_is_gone_when_its_outcome_comes(self, server, client, tmp_path):
        """And not only when the run ends: it may be a long one."""
        large = server.add_call(audio=wave(9_000_000)).id
        server.fail(route="recording", truncate=8_000_000, times=1)
        server.fail(route="recording", status=500)
        never = asyncio.Event()

        async def calls():
            yield large
            await never.wait()

        async with aclosing(client.download_recordings(calls(), tmp_path)) as outcomes:
            assert isinstance(await anext(outcomes), Failed)
            assert files(tmp_path) == {}
            assert open_files(tmp_path) == []

    async def test_a_destination_that_is_a_file_stops_it_before_any_request(
        self, server, client, tmp_path
    ):
        (tmp_path / "file").write_bytes(b"mine")
        with pytest.raises(DestinationError, match="file"):
            await collect(client.download_recordings(add(server, 3), tmp_path / "file"))
        assert len(server.requests) == 0
