"""What a run does with files that are there, and how it names those that it fetches."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from zoneinfo import ZoneInfo

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.archive import Archive
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.recordings import (
    store_recordings,
)
from agentphone_async.archive.catalog.runs import unfinished_folders
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.template import Template
from agentphone_async.emulator import Emulator
from agentphone_async.sinks.leftovers import temp_names
from tests.faults.oracle import Oracle
from tests.support.archives import execute
from tests.support.runs import DAY, HOUR, files, now, rows


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
    left = next(tmp_path.rglob("*.wav")).with_name(next(temp_names()))  # of one that lives
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


async def test_an_unsound_file_is_quarantined_and_fetched_again(
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
