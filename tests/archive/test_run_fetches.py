"""What a run fetches: what is missing, not ready, failed before, or new since the last one."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentphone_async import Archived, AsyncAgentPhone, NotReadyYet, Outcome
from agentphone_async.archive.archive import Archive
from agentphone_async.archive.observer import Observer
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.selection import Selection
from agentphone_async.emulator import Emulator
from agentphone_async.errors import (
    ConfigurationError,
)
from tests.faults.oracle import Oracle
from tests.support.runs import DAY, HOUR, files, now, rows, without


async def test_a_first_run_brings_everything_and_a_second_nothing(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for number in range(30):
        emulator.add_call(duration=0.1, started_at=now() - 2 * DAY, recording=number % 5 > 0)
    oracle = Oracle(emulator, tmp_path)
    archive = Archive(tmp_path)
    report = await archive.run(client)
    assert (report.archived, report.no_recording, report.listed) == (24, 6, 30)
    assert report.complete
    assert report.bytes == sum(
        len(emulator.expected_audio(c.id)) for c in emulator.calls if c.recorded
    )
    oracle.counts(report)
    await oracle.disk()
    asked = emulator.requests.count("recording")
    again = await archive.run(client)
    assert (again.already_archived, again.no_recording, again.bytes) == (24, 6, 0)
    assert emulator.requests.count("recording") == asked
    for path in tmp_path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


async def test_only_the_missing_part_of_an_overlapping_range_is_fetched(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    start = datetime(2026, 11, 1, tzinfo=UTC)
    for day in range(6):
        emulator.add_call(id=f"call_{day}", duration=0.1, started_at=start + day * DAY)
    archive = Archive(tmp_path)
    first = await archive.run(client, Selection(start, start + 3 * DAY))
    assert (first.selected, first.archived) == (3, 3)
    second = await archive.run(client, Selection(start + DAY, start + 5 * DAY))
    assert (second.selected, second.archived, second.already_archived) == (4, 2, 2)
    assert files(tmp_path) == [f"2026/11/0{d + 1}/recording-call_{d}.wav" for d in range(5)]


async def test_not_ready_is_asked_again_by_every_run_and_never_at_last(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    ended = now() - HOUR
    emulator.add_call(
        id="slow",
        started_at=ended - HOUR,
        duration=3600.0,
        recording=False,
    )
    emulator.fail(route="list_calls", edit=without("recordingAvailable"))
    time = now()
    archive = Archive(tmp_path, now=lambda: time)
    elsewhere = Selection(time - 9 * DAY, time - 8 * DAY)
    everything = await archive.run(client)
    assert (everything.not_ready, everything.complete) == (1, True)
    other_days = await archive.run(client, elsewhere)
    assert (other_days.selected, other_days.not_ready) == (1, 1)
    assert emulator.requests.count("recording", call_id="slow") == 2
    time = ended + 25 * HOUR
    assert (await archive.run(client, elsewhere)).no_recording == 1
    assert (await archive.run(client, elsewhere)).selected == 0
    assert (await archive.run(client)).no_recording == 1
    assert emulator.requests.count("recording", call_id="slow") == 3
    emulator.call("slow").recorded = True
    assert (await archive.run(client, options=RunOptions(recheck=True))).archived == 1
    row = (await rows(tmp_path))["slow", 1]
    assert row.attempts == 4


async def test_a_call_that_goes_on_is_remembered_and_fetched_later(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    live = emulator.add_call(id="live", status="in-progress", started_at=now() - HOUR)
    archive = Archive(tmp_path)
    first = await archive.run(client, Selection(since=now() - 2 * HOUR, direction="inbound"))
    assert (first.not_ready, emulator.requests.count("recording")) == (1, 0)
    live.settled, live.seconds, live.outcome = True, 0.1, "completed"
    other = Selection(until=now() - DAY, direction="outbound")
    assert (await archive.run(client, other)).selected == 0, "the filter does not let it pass"
    later = await archive.run(client, Selection(until=now() - DAY, direction="inbound"))
    assert (later.selected, later.archived) == (1, 1)


async def test_the_hint_saves_requests_for_old_calls_only(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for name, age in (("old", 3 * DAY), ("young", HOUR)):
        emulator.add_call(
            id=name, started_at=now() - age, duration=0.1, recording_available=False,
            recording_url=False,
        )  # fmt: skip
    archive = Archive(tmp_path)
    report = await archive.run(client)
    assert (report.no_recording, report.archived) == (1, 1)
    assert emulator.requests.count("recording", call_id="old") == 0
    probed = await archive.run(client, options=RunOptions(probe_all=True))
    assert (probed.archived, probed.already_archived) == (1, 1)


async def test_min_age_leaves_young_calls_to_later_runs(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="young", started_at=now() - HOUR, duration=0.1)
    archive = Archive(tmp_path)
    report = await archive.run(client, options=RunOptions(min_age=2 * HOUR))
    assert (report.not_ready, emulator.requests.count("recording")) == (1, 0)
    assert (await archive.run(client)).archived == 1


async def test_waiting_polls_within_the_run(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, caplog
):
    caplog.set_level("INFO", "agentphone_async.archive")
    emulator.add_call(id="ready", started_at=now() - HOUR, duration=0.1)
    emulator.add_call(id="soon", started_at=now() - HOUR, duration=0.1)
    emulator.fail(route="recording", call_id="soon", status=404, times=2)
    live = emulator.add_call(id="live", status="in-progress", started_at=now() - HOUR)
    emulator.add_call(id="never", started_at=now() - HOUR, duration=0.1, recording=False)
    sleeps: list[float] = []

    async def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        if len(sleeps) == 3:
            live.settled, live.seconds, live.outcome = True, 0.1, "completed"

    seen: list[Outcome] = []

    class Watching(Observer):
        def settled(self, outcome: Outcome) -> None:
            seen.append(outcome)

    report = await Archive(tmp_path, sleep=sleep).run(
        client, options=RunOptions(wait=60.0), observer=Watching()
    )
    Oracle.counts(report)
    assert (report.archived, report.not_ready, report.selected) == (3, 1, 4)
    assert sum(sleeps) == pytest.approx(60.0)
    assert [record.seconds for record in caplog.records] == sleeps, "each wait is logged"
    assert {o.call_id: type(o) for o in seen} == {
        "ready": Archived, "soon": Archived, "live": Archived, "never": NotReadyYet
    }  # fmt: skip
    assert len(seen) == 4, "one for each, though some were asked for again and again"
    assert emulator.requests.count("recording", call_id="soon") == 3


# ------------------------------------------------------------------ since last


async def test_last_goes_on_with_an_overlap_and_needs_a_complete_run(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    last = RunOptions(since_last=True, overlap=2 * HOUR)
    archive = Archive(tmp_path / "a")
    with pytest.raises(ConfigurationError, match="no complete run"):
        await archive.run(client, options=last)
    assert not (tmp_path / "a").exists()
    time = now()
    emulator.add_call(id="early", started_at=time - 5 * HOUR, duration=0.1)
    emulator.add_call(id="overlap", started_at=time - HOUR, duration=0.1)
    await archive.run(client)
    emulator.add_call(id="late", started_at=time, duration=0.1)
    emulator.add_call(id="turned-up", started_at=time - HOUR - timedelta(minutes=1), duration=0.1)
    report = await archive.run(client, options=last)
    assert (report.selected, report.archived, report.already_archived) == (3, 2, 1)


async def test_a_run_that_missed_a_page_is_not_complete(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for _ in range(250):
        emulator.add_call(duration=0.1, started_at=now() - 3 * HOUR, recording=False)
    archive = Archive(tmp_path)
    await archive.run(client, Selection(until=now() - 9 * DAY))
    emulator.fail(route="list_calls", status=500, skip=1)
    broken = await archive.run(client)
    assert not broken.complete
    assert broken.stop_reason == "listing"
    assert broken.error is not None
    assert broken.not_ready == broken.selected == 100
    emulator.clear_faults()
    rest = await archive.run(client, options=RunOptions(since_last=True))
    assert rest.selected == 250, "last is where the complete run ended, not the broken one"
    assert rest.complete


async def test_failed_recordings_are_asked_again_whatever_the_days(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="bad", started_at=now() - 5 * DAY, duration=0.1)
    emulator.fail(route="recording", html=True)
    archive = Archive(tmp_path)
    report = await archive.run(client)
    assert (report.failed, report.complete) == (1, True)
    assert report.failures[0][0] == "bad"
    row = (await rows(tmp_path))["bad", 1]
    assert row.state == "failed"
    assert "not audio" in str(row.last_error)
    emulator.clear_faults()
    report = await archive.run(client, Selection(since=now() - HOUR))
    assert (report.archived, report.selected) == (1, 1)
