"""Runs that end before the end of the list: dry ones, limits, stops."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from agentphone_async import AsyncAgentPhone, Outcome
from agentphone_async.archive.archive import Archive
from agentphone_async.archive.limits import LimitsWatcher
from agentphone_async.archive.observer import IsolatedObserver, Observer
from agentphone_async.archive.options import Limits, RunOptions
from agentphone_async.emulator import Emulator
from agentphone_async.recordings.stop import StopToken
from tests.faults.oracle import Oracle
from tests.support.runs import DAY, files, now


async def test_a_dry_run_writes_nothing_and_says_what_it_knows(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="a", started_at=now() - DAY, duration=2.0)
    emulator.add_call(id="b", started_at=now() - DAY, duration=None)
    folder = tmp_path / "new"
    archive = Archive(folder)
    dry = RunOptions(dry_run=True)
    report = await archive.run(client, options=dry)
    assert (report.would_fetch, report.estimated_bytes, report.unknown_sizes) == (2, 32044, 1)
    assert report.selected == 2
    assert not folder.exists()
    assert emulator.requests.count("recording") == 0
    await archive.run(client)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.wav")}
    (folder / files(folder)[0]).unlink()
    catalog = (folder / "catalog.sqlite3").read_bytes()
    report = await archive.run(client, options=dry)
    assert (report.would_fetch, report.already_archived) == (1, 1)
    assert (folder / "catalog.sqlite3").read_bytes() == catalog
    assert len(files(folder)) == len(before) - 1


async def test_a_transfer_limit_leaves_the_rest(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for _ in range(20):
        emulator.add_call(started_at=now() - DAY, duration=1.0)
    options = RunOptions(transfers=2, limits=Limits(max_transfer=100_000))
    oracle = Oracle(emulator, tmp_path)
    report = await Archive(tmp_path).run(client, options=options)
    assert report.stop_reason == "max_transfer"
    assert 100_000 <= report.bytes <= 100_000 + 2 * 16_044
    assert report.archived == report.bytes // 16_044
    assert report.left == 20 - report.archived
    assert not report.complete
    await oracle.holds(report)


async def test_the_run_stops_before_the_disk_is_full(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for _ in range(60):
        emulator.add_call(started_at=now() - DAY, duration=20.0)
    oracle = Oracle(emulator, tmp_path)
    disk = 20_000_000

    def free(folder: Path) -> int:
        used = 0
        for path in folder.rglob("*"):
            with suppress(FileNotFoundError):  # a thread is renaming it at this moment
                if path.is_file() and path.suffix != ".sqlite3":
                    used += path.stat().st_size
        return disk - used

    limits = Limits(min_free_space=10_000_000)
    options = RunOptions(transfers=4, limits=limits)
    report = await Archive(tmp_path, free=free).run(client, options=options)
    assert report.stop_reason == "min_free_space"
    assert report.failed == 0
    assert free(tmp_path) >= 10_000_000
    assert report.archived >= 10, "and not much too early, either"
    await oracle.holds(report)


async def test_a_file_that_is_too_large_fails_alone(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="large", started_at=now() - DAY, duration=3.0)
    emulator.add_call(id="small", started_at=now() - DAY, duration=1.0)
    options = RunOptions(limits=Limits(max_file_size=20_000))
    oracle = Oracle(emulator, tmp_path)
    report = await Archive(tmp_path).run(client, options=options)
    assert (report.archived, report.failed) == (1, 1)
    await oracle.holds(report)


async def test_a_stop_finishes_what_runs_and_leaves_the_rest(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for _ in range(60):
        emulator.add_call(started_at=now() - DAY, duration=0.2)
    oracle = Oracle(emulator, tmp_path)
    archive = Archive(tmp_path)
    reasons: list[str] = []

    class Stopping(Observer):
        def bytes(self, count: int) -> None:
            archive.stop()

        def stopping(self, reason: str) -> None:
            reasons.append(reason)

    report = await archive.run(client, options=RunOptions(transfers=2), observer=Stopping())
    assert report.stop_reason == "interrupted"
    assert report.archived + report.left == 60
    assert 1 <= report.archived <= 2, "what was under way, and nothing else"
    assert reasons == ["it was interrupted"]
    await oracle.holds(report)


async def test_a_stop_drops_what_does_not_end(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for _ in range(6):
        emulator.add_call(started_at=now() - DAY, duration=1.0)
    emulator.fail(route="recording", stall=1000, times=2)
    oracle = Oracle(emulator, tmp_path)
    archive = Archive(tmp_path)
    left = 4

    class Stopping(Observer):
        def settled(self, outcome: Outcome) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                archive.stop()

    options = RunOptions(stop_grace=0.05)
    report = await archive.run(client, options=options, observer=Stopping())
    assert (report.archived, report.left, report.failed) == (4, 2, 0)
    await oracle.holds(report)


async def test_a_duration_limit_is_a_stop(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(started_at=now() - DAY, duration=1.0)
    emulator.fail(route="recording", stall="headers", times=1)
    options = RunOptions(stop_grace=0.0, limits=Limits(max_duration=0.2))
    oracle = Oracle(emulator, tmp_path)
    report = await Archive(tmp_path).run(client, options=options)
    assert (report.stop_reason, report.left) == ("max_duration", 1)
    await oracle.holds(report)


async def test_a_stop_before_the_first_page_writes_nothing(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call()
    emulator.fail(route="list_calls", stall="connection")
    archive = Archive(tmp_path / "x")
    run = asyncio.create_task(archive.run(client))
    while not emulator.requests.in_flight:
        await asyncio.sleep(0)
    archive.stop()
    report = await run
    assert (report.stop_reason, report.selected) == ("interrupted", 0)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(("held", "stops"), [(0, False), (60_000_000, True)])
def test_what_is_in_memory_counts_as_written(held, stops, tmp_path):
    stop = StopToken()
    limits = Limits(min_free_space=100_000_000)
    watcher = LimitsWatcher(
        tmp_path, limits, stop, IsolatedObserver(Observer()), lambda _: 150_000_000
    )
    watcher.watch(lambda: held)
    assert stop.dropping == stops
