"""Runs of an archive: what they fetch, what they remember, and what they leave alone."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from zoneinfo import ZoneInfo

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.archive import Archive
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.recordings import (
    current_recordings,
    recordings_after,
    store_recordings,
)
from agentphone_async.archive.catalog.rows import RecordingRow
from agentphone_async.archive.catalog.runs import unfinished_folders
from agentphone_async.archive.observer import Observer
from agentphone_async.archive.options import Limits, Placed, RunOptions
from agentphone_async.archive.report import Report
from agentphone_async.archive.selection import Selection
from agentphone_async.archive.template import Template
from agentphone_async.emulator import Emulator
from agentphone_async.errors import (
    ArchiveLockedError,
    AuthenticationError,
    CatalogError,
    ConfigurationError,
    ConnectionFailedError,
    DestinationError,
)
from agentphone_async.recordings.outcomes import Archived, NotReadyYet, Outcome
from agentphone_async.sinks.disk import TempNames
from tests.conftest import Sleeps
from tests.faults.oracle import Oracle
from tests.support.archives import execute

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)


def files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
        and not path.name.startswith(
            ("catalog", ".agentphone", "SHA256SUMS", "index.jsonl", "archive.json")
        )
    )


def without(name: str):
    """A page edit that takes a field away."""

    def edit(page):
        return {
            **page,
            "data": [{k: v for k, v in row.items() if k != name} for row in page["data"]],
        }

    return edit


async def rows(folder: Path) -> dict[tuple[str, int], RecordingRow]:
    async with await Catalog.open(folder, write=False) as catalog:
        found = await catalog.run(recordings_after)
        return {(row.call_id, row.version): row for row in found}


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


# ------------------------------------------------------------------ disk and catalog


@pytest.mark.parametrize("mpeg", [False, True])
async def test_a_file_that_was_not_catalogued_is_adopted_if_it_proves_itself(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, mpeg
):
    kind = "audio/mpeg" if mpeg else "audio/wav"
    emulator.add_call(id="killed", started_at=now() - HOUR, duration=0.1, media_type=kind)
    archive = Archive(tmp_path)
    await archive.run(client, options=RunOptions(checksums=False))
    name = files(tmp_path)[0]
    for file in tmp_path.glob("catalog*"):
        file.unlink()
    report = await archive.run(client)
    row = (await rows(tmp_path))["killed", 1]
    assert row.path == PurePosixPath(name)
    assert emulator.expected_audio("killed") == (tmp_path / name).read_bytes()
    if mpeg:  # nothing in an MPEG file tells whether its end is missing, and no sum
        assert (report.archived, emulator.requests.count("recording")) == (1, 2)
    else:
        assert (report.already_archived, emulator.requests.count("recording")) == (1, 1)
        assert (row.sample_rate, row.channels, row.duration) == (8000, 1, pytest.approx(0.1))
    assert files(tmp_path) == [name], "what was put aside was the same, and is gone"


@pytest.mark.parametrize("kind", ["streamed", "long"])
@pytest.mark.parametrize("first_is_lost", [False, True])
async def test_a_second_version_that_was_not_catalogued_is_taken_in(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, kind, first_is_lost
):
    """Killed between renaming and writing the row; the header alone does not prove it whole."""
    emulator.add_call(id="x", started_at=now() - DAY, duration=0.2)
    archive = Archive(tmp_path)
    await archive.run(client)
    emulator.fail(route="recording", wav=kind, etag="new")
    await archive.run(client, options=RunOptions(refresh=True))
    second = next(tmp_path.rglob("*.v2.wav")).read_bytes()
    await execute(tmp_path, "DELETE FROM recordings WHERE version = 2")
    if first_is_lost:
        (tmp_path / (await rows(tmp_path))["x", 1].path).unlink()
    report = await archive.run(client, options=RunOptions(refresh=not first_is_lost))
    assert (report.failed, report.already_archived + report.archived + report.suspect) == (0, 1)
    row = (await rows(tmp_path))["x", 2]
    assert (tmp_path / row.path).read_bytes() == second


async def test_a_leftover_in_the_way_of_a_second_version_goes_aside(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="x", started_at=now() - DAY, duration=0.2)
    archive = Archive(tmp_path)
    await archive.run(client)
    first = next(tmp_path.rglob("*.wav"))
    leftover = first.with_name("recording-x.v2.wav")
    leftover.write_bytes(b"half of something")
    os.utime(leftover, (0.0, 0.0))
    emulator.fail(route="recording", wav="long", etag="new")
    refresh = RunOptions(refresh=True)
    assert (await archive.run(client, options=refresh)).failed == 1
    assert (await archive.run(client, options=refresh)).failed == 0
    assert first.with_name("recording-x.v2.wav.damaged").read_bytes() == b"half of something"
    assert (await rows(tmp_path))["x", 2].path == leftover.relative_to(tmp_path)


async def test_what_somebody_else_has_just_put_there_stays(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    """Another process may be about to catalogue it."""
    emulator.add_call(id="x", started_at=now() - DAY, duration=0.2)
    archive = Archive(tmp_path)
    await archive.run(client)
    other = next(tmp_path.rglob("*.wav")).with_name("recording-x.v2.wav")
    other.write_bytes(b"half of something")
    later = time.time() + 60
    os.utime(other, (later, later))
    emulator.fail(route="recording", wav="long", etag="new")
    assert (await archive.run(client, options=RunOptions(refresh=True))).failed == 1
    assert other.read_bytes() == b"half of something"


async def test_folders_stay_noted_until_what_is_left_in_them_may_go(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    emulator.add_call(id="x", started_at=now() - DAY, duration=0.2)
    archive = Archive(tmp_path)
    await archive.run(client)
    left = next(tmp_path.rglob("*.wav")).with_name(TempNames().next())  # of one that lives
    left.write_bytes(b"rest")
    folder = left.parent.relative_to(tmp_path).as_posix()
    await execute(tmp_path, "INSERT INTO run_folders VALUES (1, ?)", folder)
    for _ in range(2):
        await archive.run(client)
        assert left.exists()
    month = time.time() + 30 * DAY.total_seconds()
    monkeypatch.setattr(time, "time", lambda: month)
    await archive.run(client)
    assert not left.exists()
    async with await Catalog.open(tmp_path, write=False) as catalog:
        assert await catalog.run(unfinished_folders, 0) == []


async def test_an_unsound_file_is_put_aside_and_fetched_anew(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    started = datetime(2026, 11, 2, tzinfo=UTC)
    emulator.add_call(id="torn", started_at=started, duration=0.5)
    final = tmp_path / "2026/11/02/recording-torn.wav"
    final.parent.mkdir(parents=True)
    final.write_bytes(emulator.expected_audio("torn")[:3000])
    oracle = Oracle(emulator, tmp_path, aside=True)
    report = await Archive(tmp_path).run(client)
    assert report.archived == 1
    assert (tmp_path / "2026/11/02/recording-torn.wav.damaged").stat().st_size == 3000
    await oracle.holds(report)


@pytest.mark.parametrize("how", ["deleted", "altered"])
async def test_what_vanished_or_changed_behind_our_back_is_fetched_again(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, how
):
    emulator.add_call(id="x", started_at=now() - HOUR, duration=0.2)
    archive = Archive(tmp_path)
    await archive.run(client)
    path = tmp_path / files(tmp_path)[0]
    if how == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-10])
    oracle = Oracle(emulator, tmp_path, aside=True)
    emulator.fail(route="recording", status=500)
    failed = await archive.run(client)
    assert failed.failed == 1
    await oracle.disk()
    assert (await rows(tmp_path))["x", 1].state == "failed", "the catalog claims it no more"
    await oracle.holds(failed)
    assert list(await rows(tmp_path)) == [("x", 1)], "the same bytes are not a new version"


async def test_another_version_never_overwrites_the_first(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="x", started_at=datetime(2026, 11, 2, tzinfo=UTC), duration=0.2)
    emulator.add_call(id="same", started_at=datetime(2026, 11, 2, tzinfo=UTC), duration=0.2)
    archive = Archive(tmp_path)
    await archive.run(client)
    versions = [emulator.expected_audio("x")]
    for _ in range(2):
        emulator.change_recording("x")
        versions.append(emulator.expected_audio("x"))
        report = await archive.run(client, options=RunOptions(refresh=True))
        assert (report.archived, report.already_archived) == (1, 1)
    assert files(tmp_path) == [
        f"2026/11/02/recording-{name}.wav" for name in ("same", "x.v2", "x.v3", "x")
    ]
    kept = await rows(tmp_path)
    for version, data in enumerate(versions, 1):
        path = kept["x", version].path
        assert path is not None
        assert (tmp_path / path).read_bytes() == data
    assert ("same", 2) not in kept
    asked = emulator.requests.count("recording")
    assert (await archive.run(client)).already_archived == 2
    assert emulator.requests.count("recording") == asked


async def test_another_version_that_was_not_catalogued_is_adopted(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="x", started_at=datetime(2026, 11, 2, tzinfo=UTC), duration=0.2)
    archive = Archive(tmp_path)
    refresh = RunOptions(refresh=True)
    await archive.run(client)
    before = (await rows(tmp_path))["x", 1]
    emulator.change_recording("x")
    await archive.run(client, options=refresh)
    await execute(tmp_path, "DELETE FROM recordings")  # as if killed before the row was written
    async with await Catalog.open(tmp_path) as catalog:
        await catalog.transaction(store_recordings, [before])
    report = await archive.run(client, options=refresh)
    assert (report.archived, report.already_archived) == (0, 1)
    row = (await rows(tmp_path))["x", 2]
    assert row.path == PurePosixPath("2026/11/02/recording-x.v2.wav")


async def test_a_refresh_that_fails_loses_nothing(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="gone", started_at=now() - DAY, duration=0.2)
    emulator.add_call(id="down", started_at=now() - DAY, duration=0.2)
    archive = Archive(tmp_path)
    await archive.run(client)
    emulator.fail(route="recording", call_id="gone", status=404)
    emulator.fail(route="recording", call_id="down", status=500)
    report = await archive.run(client, options=RunOptions(refresh=True))
    assert (report.already_archived, report.failed) == (1, 1)
    assert {row.state for row in (await rows(tmp_path)).values()} == {"archived"}


async def test_a_lost_recording_that_came_back_different_is_a_new_version(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="x", started_at=datetime(2026, 11, 2, tzinfo=UTC), duration=0.2)
    archive = Archive(tmp_path)
    await archive.run(client)
    (tmp_path / "2026/11/02/recording-x.wav").unlink()
    emulator.change_recording("x")
    assert (await archive.run(client)).archived == 1
    assert files(tmp_path) == ["2026/11/02/recording-x.v2.wav"]
    kept = await rows(tmp_path)
    assert (kept["x", 1].state, kept["x", 2].state) == ("failed", "archived")
    assert (await archive.run(client)).already_archived == 1


# ------------------------------------------------------------------ names


async def test_names_follow_template_and_zone_and_stay_when_those_change(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    started = datetime(2026, 11, 1, 23, 30, tzinfo=UTC)
    emulator.add_call(id="first", started_at=started, duration=0.1)
    archive = Archive(tmp_path)
    berlin = ZoneInfo("Europe/Berlin")
    await archive.run(client, options=RunOptions(zone=berlin))
    emulator.add_call(id="second", started_at=started, duration=0.1, direction="outbound")
    flat = Template.parse("{direction}_{call_id}")
    report = await archive.run(client, options=RunOptions(template=flat))
    assert (report.archived, report.already_archived) == (1, 1)
    assert files(tmp_path) == ["2026/11/02/recording-first.wav", "outbound_second.wav"]


async def test_two_templates_cannot_make_two_calls_share_a_file(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="x", started_at=now() - DAY, duration=0.1)
    archive = Archive(tmp_path)
    await archive.run(client, options=RunOptions(template=Template.parse("recording-{call_id}")))
    emulator.add_call(id="recording-x", started_at=now() - DAY, duration=0.3)
    oracle = Oracle(emulator, tmp_path, options=RunOptions(template=Template.parse("{call_id}")))
    report = await archive.run(client, options=oracle.options)
    assert (report.archived, report.already_archived) == (1, 1)
    assert len(files(tmp_path)) == 2
    await oracle.holds(report)


async def test_hashed_names_are_stable_and_give_nothing_away(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="call_secret", started_at=now() - DAY, duration=0.1)
    hidden = RunOptions(hash_ids=True)
    await Archive(tmp_path).run(client, options=hidden)
    assert not any("secret" in name for name in files(tmp_path))
    names = files(tmp_path)
    emulator.add_call(id="call_other", started_at=now() - DAY, duration=0.1)
    report = await Archive(tmp_path).run(client, options=hidden)
    assert (report.archived, report.already_archived) == (1, 1)
    assert set(names) < set(files(tmp_path))


# ------------------------------------------------------------------ limits and stops


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


# ------------------------------------------------------------------ broken runs


async def test_nothing_is_made_before_the_api_has_answered(
    emulator: Emulator, client_of, tmp_path: Path
):
    emulator.add_call()
    folder = tmp_path / "x"
    with pytest.raises(AuthenticationError):
        await Archive(folder).run(client_of(emulator.base_url, api_key="sk_test_wrong"))
    address = emulator.base_url
    await emulator.stop()
    client = client_of(address)
    client.session.limits._circuit._first_contact_budget = 0.0
    with pytest.raises(ConnectionFailedError):
        await Archive(folder).run(client)
    assert not folder.exists()


async def test_a_destination_that_cannot_work_is_refused_before_any_request(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DestinationError, match="is a file"):
        await Archive(tmp_path / "file").run(client)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "catalog.sqlite3").write_bytes(b"SQLite format 3\0" + bytes(4080))
    with pytest.raises(CatalogError, match="another program"):
        await Archive(tmp_path / "theirs").run(client)
    assert len(list((tmp_path / "theirs").iterdir())) == 1
    assert len(emulator.requests) == 0


async def test_a_second_run_is_told_who_is_at_work(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, sleeps: Sleeps
):
    emulator.add_call(id="x", started_at=now() - DAY, duration=0.1)
    emulator.fail(route="recording", stall="headers", times=1)
    first = Archive(tmp_path)
    run = asyncio.create_task(first.run(client, options=RunOptions(stop_grace=0.0)))
    while not emulator.requests.count("recording"):
        await asyncio.sleep(0)
    with pytest.raises(RuntimeError):
        await first.run(client)
    with pytest.raises(ArchiveLockedError, match="process"):
        await Archive(tmp_path, sleep=sleeps).run(client, options=RunOptions(wait_lock=1.0))
    assert sum(sleeps) == pytest.approx(1.0)
    first.stop()
    assert (await run).left == 1
    assert (await Archive(tmp_path).run(client)).archived == 1


async def test_an_observer_cannot_disturb_a_run(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, caplog
):
    for _ in range(5):
        emulator.add_call(started_at=now() - DAY, duration=0.1)

    class Broken(Observer):
        def listed(self, count: int) -> None:
            raise RuntimeError("on purpose")

        bytes = selected = settled = listed  # type: ignore[assignment]

    report = await Archive(tmp_path).run(client, observer=Broken())
    assert report.archived == 5
    assert sum("observer failed" in record.message for record in caplog.records) == 1


async def test_an_observer_hears_everything(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for number in range(150):
        emulator.add_call(started_at=now() - DAY, duration=0.1, recording=number % 2 == 0)
    heard: dict[str, int] = {"listed": 0, "selected": 0, "bytes": 0, "settled": 0}

    class Counting(Observer):
        def listed(self, count: int) -> None:
            heard["listed"] += count

        def selected(self, count: int) -> None:
            heard["selected"] += count

        def bytes(self, count: int) -> None:
            heard["bytes"] += count

        def settled(self, outcome: Outcome) -> None:
            heard["settled"] += 1

    report = await Archive(tmp_path).run(client, observer=Counting())
    assert heard == {"listed": 150, "selected": 150, "bytes": report.bytes, "settled": 150}


async def test_sidecar_writers_see_each_selected_call_once_and_then_the_folders(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    day = datetime(2026, 11, 2, tzinfo=UTC)
    emulator.add_call(id="a", started_at=day, duration=0.1)
    emulator.add_call(id="b", started_at=day, duration=0.1, recording=False)
    seen: list[Placed] = []
    folders: list[PurePosixPath] = []

    class Noting:
        async def process(self, calls):
            seen.extend(calls)

        async def finish(self, where):
            folders.extend(where)

    archive = Archive(tmp_path)
    for new in ([PurePosixPath("2026/11/02")], []):
        seen.clear()
        folders.clear()
        await archive.run(client, sidecar_writers=[Noting()])
        assert {(p.call.id, str(p.stem), p.state) for p in seen} == {
            ("a", "2026/11/02/recording-a", "archived"),
            ("b", "2026/11/02/recording-b", "no_recording"),
        }
        assert folders == new


async def test_sidecar_writers_finish_later_what_a_stopped_run_began(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for number in range(4):
        emulator.add_call(started_at=datetime(2026, 11, 2 + number, tzinfo=UTC), duration=0.1)
    archive = Archive(tmp_path)
    finished: list[list[PurePosixPath]] = []

    class Noting:
        async def process(self, calls):
            pass

        async def finish(self, where):
            finished.append(list(where))

    class Stopping(Observer):
        def bytes(self, count: int) -> None:
            archive.stop()

    for _ in range(2):
        report = await archive.run(
            client, options=RunOptions(transfers=1), observer=Stopping(), sidecar_writers=[Noting()]
        )
        assert report.stop_reason == "interrupted"
    assert finished == []
    await archive.run(client, sidecar_writers=[Noting()])
    assert finished == [[PurePosixPath(f"2026/11/0{2 + n}") for n in range(4)]]
    await archive.run(client, sidecar_writers=[Noting()])
    assert finished[1:] == [[]]


async def test_calls_keep_their_raw_json(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    from agentphone_async.archive.catalog.calls import get_calls

    emulator.add_call(id="x", started_at=now() - DAY, duration=0.1)
    await Archive(tmp_path).run(client)
    raw = (await client.calls.list()).data[0].raw
    async with await Catalog.open(tmp_path, write=False) as catalog:
        row = (await catalog.run(get_calls, ["x"]))["x"]
    assert json.loads(row.raw) == raw


async def test_calls_without_a_beginning_are_pointed_out(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="x", started_at=now() - DAY, duration=0.1)
    emulator.fail(
        route="list_calls",
        edit=lambda page: {**page, "data": [{**row, "startedAt": "?"} for row in page["data"]]},
    )
    archive = Archive(tmp_path)
    report = await archive.run(client, Selection(since=now() - 9 * DAY))
    assert (report.selected, report.archived) == (1, 1)
    assert "1 call has no readable beginning" in report.problems[0]


async def test_partial_files_of_dead_runs_are_removed_where_they_worked(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    from agentphone_async.archive.catalog.runs import begin_run, unfinished_folders, use_folders
    from agentphone_async.sinks import disk

    emulator.add_call(id="x", started_at=now() - DAY, duration=0.1)
    folder = tmp_path / "1999" / "01"
    folder.mkdir(parents=True)
    dead = f".agentphone-{disk._this_host()}-{2**22 + 1:x}-00000000-0.part"
    (folder / dead).write_bytes(b"half")
    async with await Catalog.open(tmp_path) as catalog:
        run = await catalog.transaction(begin_run, Selection(), now())
        await catalog.transaction(use_folders, run, [PurePosixPath("1999/01")])
    await Archive(tmp_path).run(client)
    assert not (folder / dead).exists()
    async with await Catalog.open(tmp_path, write=False) as catalog:
        assert await catalog.run(unfinished_folders, 99) == []


async def test_counts_always_sum_to_what_was_selected(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for number in range(60):
        emulator.add_call(
            started_at=now() - (3 if number % 2 else 40) * HOUR,
            duration=0.1,
            recording=number % 3 > 0,
        )
    emulator.fail(route="recording", probability=0.3, status=500)
    emulator.fail(route="recording", probability=0.2, wav="long", framing="length")
    archive = Archive(tmp_path)
    totals = Report()
    for _ in range(4):
        report = await archive.run(client)
        Oracle.counts(report)
        assert report.left == 0
        totals.archived += report.archived + report.suspect
    assert totals.archived > 0
    async with await Catalog.open(tmp_path, write=False) as catalog:
        ids = [call.id for call in emulator.calls]
        assert len(await catalog.run(current_recordings, ids)) == 60
