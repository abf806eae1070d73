"""How runs end early: what is under way, what waits, and what is left to the next run."""

from __future__ import annotations

import asyncio
import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentphone_async import AsyncAgentPhone, RetryPolicy
from agentphone_async.archive.archive import Archive
from agentphone_async.archive.catalog.calls import pending_of
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.observer import Observer
from agentphone_async.archive.options import Limits, RunOptions
from agentphone_async.archive.report import Report
from agentphone_async.archive.selection import Selection
from agentphone_async.archive.sidecars import Sidecars
from agentphone_async.emulator import Emulator
from agentphone_async.errors import DestinationError
from tests.faults.oracle import Oracle

DAY = timedelta(days=1)
SOON = 10.0
"""Seconds that everything here takes less than, and that waiting in vain takes longer than."""


def now() -> datetime:
    return datetime.now(UTC)


async def run(folder: Path, client: AsyncAgentPhone, **options: object) -> Report:
    async with asyncio.timeout(SOON):
        return await Archive(folder).run(client, options=RunOptions(**options))


# ---------------------------------------------------------------- stops


async def test_what_only_waits_for_its_turn_is_not_begun_after_a_stop(
    emulator: Emulator, client_of, tmp_path: Path
):
    """With a request a minute, all but the first transfers wait."""
    for _ in range(300):
        emulator.add_call(started_at=now() - DAY, duration=0.1)
    client = client_of(emulator.base_url, api_key=emulator.api_key, tpslimit=1 / 60)
    limits = Limits(max_duration=0.3)
    report = await run(tmp_path, client, transfers=32, limits=limits)
    assert report.stop_reason == "max_duration"
    assert report.archived <= 2
    assert report.archived + report.left == report.selected
    await Oracle(emulator, tmp_path).holds(report)


async def test_a_stop_does_not_wait_for_a_pause_of_the_servers(
    emulator: Emulator, client_of, tmp_path: Path
):
    client = client_of(emulator.base_url, api_key=emulator.api_key, retry=RetryPolicy())
    emulator.add_call(started_at=now() - DAY, duration=0.1)
    emulator.fail(route="recording", status=429, retry_after=60)
    archive = Archive(tmp_path)

    class Impatient(Observer):
        def paused(self, seconds: float) -> None:
            archive.stop()

    async with asyncio.timeout(SOON):
        report = await archive.run(
            client, options=RunOptions(stop_grace=60.0), observer=Impatient()
        )
    assert (report.stop_reason, report.left) == ("interrupted", 1)


async def test_enough_bytes_are_no_reason_to_drop_what_is_under_way(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    """The longest go first; dropped, they would be begun and dropped by every run."""
    for number in range(3):
        emulator.add_call(id=f"long_{number}", started_at=now() - DAY, duration=6.0)
    for number in range(9):
        emulator.add_call(id=f"short_{number}", started_at=now() - DAY, duration=0.5)
    emulator.settings.bandwidth = 200_000  # half a second for a long one
    limits = Limits(max_transfer=30_000)
    report = await run(tmp_path, client, transfers=4, stop_grace=0.0, limits=limits)
    assert report.stop_reason == "max_transfer"
    assert len(list(tmp_path.rglob("*long*.wav"))) == 3
    await Oracle(emulator, tmp_path).holds(report)


@pytest.mark.parametrize(("limit", "value"), [("max_duration", 0.3), ("max_transfer", 1000)])
async def test_who_interrupts_a_run_that_is_ending_ends_it_at_once(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, limit, value
):
    for _ in range(3):
        emulator.add_call(started_at=now() - DAY, duration=6.0)
    emulator.fail(route="recording", stall=1000, times=1)
    archive = Archive(tmp_path)

    class Impatient(Observer):
        def stopping(self, reason: str) -> None:
            asyncio.get_running_loop().call_soon(archive.stop)

    options = RunOptions(transfers=2, stop_grace=60.0, limits=Limits(**{limit: value}))
    async with asyncio.timeout(SOON):
        report = await archive.run(client, options=options, observer=Impatient())
    assert report.stop_reason == limit
    assert 1 <= report.left <= 2


async def test_a_stop_reaches_the_look_at_calls_that_go_on(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for _ in range(20):
        emulator.add_call(status="in-progress", started_at=now())
    emulator.fail(route="get_call", delay=60.0)

    async def at_once(seconds: float) -> None:
        pass

    limits = Limits(max_duration=0.3)
    options = RunOptions(wait=60.0, limits=limits)
    async with asyncio.timeout(SOON):
        report = await Archive(tmp_path, sleep=at_once).run(client, options=options)
    assert (report.stop_reason, report.not_ready) == ("max_duration", 20)


async def test_a_stop_reaches_what_is_written_beside_recordings(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for _ in range(20):
        emulator.add_call(started_at=now() - DAY, duration=0.1)
    emulator.fail(route="transcript", delay=60.0)
    options = RunOptions(stop_grace=0.1, limits=Limits(max_duration=0.3))
    async with asyncio.timeout(SOON), Sidecars(tmp_path, client, transcripts=True) as beside:
        report = await Archive(tmp_path).run(client, options=options, sidecar_writers=[beside])
    assert report.stop_reason == "max_duration"
    await Oracle(emulator, tmp_path).disk()


# ---------------------------------------------------------------- what cannot continue


@pytest.mark.parametrize("look", [1, 2])
async def test_a_limit_that_cannot_be_watched_ends_the_run(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, look
):
    for _ in range(30):
        emulator.add_call(started_at=now() - DAY, duration=60.0)
    looks = 0

    def free(_: Path) -> int:
        nonlocal looks
        looks += 1
        if looks == look:
            raise OSError(errno.ESTALE, "Stale file handle")
        return 10**12

    archive = Archive(tmp_path, free=free)
    options = RunOptions(transfers=2, limits=Limits(min_free_space=1000))
    with pytest.raises(DestinationError, match="Stale file handle"):
        await archive.run(client, options=options)
    assert emulator.requests.count("recording") < 10
    await Oracle(emulator, tmp_path).disk()


async def test_a_folder_below_a_file_is_called_that(client: AsyncAgentPhone, tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DestinationError, match="a part of the path is a file"):
        await run(tmp_path / "file" / "archive", client)


async def test_a_file_system_that_is_read_only_is_called_that(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, monkeypatch
):
    real = os.statvfs

    def read_only(path: Path) -> os.statvfs_result:
        found = list(real(path))
        found[8] |= os.ST_RDONLY
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", read_only)
    with pytest.raises(DestinationError, match="read-only"):
        await run(tmp_path / "new", client)
    assert len(emulator.requests) == 0
    assert (await run(tmp_path / "new", client, dry_run=True)).selected == 0, "which writes nothing"


# ---------------------------------------------------------------- what is left


async def test_last_brings_what_an_interrupted_run_has_left_open(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    today = now()
    for day in range(10):
        emulator.add_call(started_at=today - day * DAY - timedelta(minutes=10), duration=0.1)
    limits = Limits(max_transfer=1)
    archive = Archive(tmp_path)
    ten_days = Selection(since=today - 10 * DAY)
    report = await archive.run(client, ten_days, RunOptions(transfers=1, limits=limits))
    assert not report.complete
    report = await archive.run(client, Selection(since=today - DAY, until=today))
    assert report.complete
    report = await archive.run(client, options=RunOptions(since_last=True))
    assert report.complete
    assert len(list(tmp_path.rglob("*.wav"))) == 10
    report = await archive.run(client, options=RunOptions(since_last=True))
    assert report.selected < 4, "and then it resumes from there"


async def test_a_run_whose_client_another_run_stopped_leaves_the_rest_to_the_next(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for _ in range(3):
        emulator.add_call(started_at=now() - DAY, duration=0.1)

    class Another(Observer):
        def planned(self, calls: object) -> None:
            client.session.limits.close()

    archive = Archive(tmp_path)
    report = await archive.run(client, observer=Another())
    assert (report.left, report.stop_reason, report.complete) == (3, None, False)
    report = await archive.run(client)
    assert (report.archived, report.complete) == (3, True)


async def test_last_begins_at_the_beginning_if_a_run_over_everything_was_interrupted(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for day in range(5):
        emulator.add_call(started_at=now() - day * DAY, duration=0.1)
    archive = Archive(tmp_path)
    limits = Limits(max_transfer=1)
    assert not (await archive.run(client, options=RunOptions(transfers=1, limits=limits))).complete
    assert (await archive.run(client, Selection(since=now() - DAY))).complete
    report = await archive.run(client, options=RunOptions(since_last=True))
    assert (report.complete, report.selected) == (True, 5)
    assert len(list(tmp_path.rglob("*.wav"))) == 5


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 404}])
async def test_a_transcript_that_could_not_be_had_is_asked_for_whatever_the_days(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, fault
):
    for day in range(1, 6):
        emulator.add_call(
            started_at=now() - day * DAY, duration=0.1, transcript=[("user", "hello")]
        )

    async def archive(selection: Selection | None = None, **options: object) -> Report:
        async with Sidecars(tmp_path, client, transcripts=True) as beside:
            return await Archive(tmp_path).run(
                client, selection, RunOptions(**options), sidecar_writers=[beside]
            )

    emulator.fail(route="transcript", **fault)
    await archive(Selection(since=now() - 7 * DAY))
    emulator.clear_faults()
    await archive(since_last=True)
    assert len(list(tmp_path.rglob("transcript-*.txt"))) == 5
    asked = emulator.requests.count("transcript")
    report = await archive(since_last=True)
    assert report.selected < 3, "nothing is pending any more"
    assert emulator.requests.count("transcript") == asked


async def test_a_transcript_that_is_absent_for_long_is_not_waited_for(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for age in (2, 10):
        emulator.add_call(id=f"{age}_days", started_at=now() - age * DAY, duration=0.1)
    emulator.fail(route="transcript", status=404)
    async with Sidecars(tmp_path, client, transcripts=True) as beside:
        await Archive(tmp_path).run(client, sidecar_writers=[beside])
    async with await Catalog.open(tmp_path, write=False) as catalog:
        assert await catalog.run(pending_of, ["2_days", "10_days"]) == {"2_days"}


async def test_an_archive_with_hashed_names_keeps_to_them(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="call_first", started_at=now() - DAY, duration=0.1)
    await run(tmp_path, client, hash_ids=True)
    emulator.add_call(id="call_second", started_at=now() - DAY, duration=0.1)
    async with Sidecars(tmp_path, client, metadata=True) as beside:
        await Archive(tmp_path).run(client, sidecar_writers=[beside])
    assert len(list(tmp_path.rglob("*.wav"))) == 2
    assert not [path for path in tmp_path.rglob("*") if "call_" in path.name]
