"""404s against the word of the list, calls that nobody answered, incidents, and cut-off lists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.archive import Archive
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.recordings import recordings_after
from agentphone_async.archive.options import Limits, RunOptions
from agentphone_async.archive.selection import Selection
from agentphone_async.emulator import Emulator

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)


async def states(folder: Path) -> dict[str, str]:
    async with await Catalog.open(folder, write=False) as catalog:
        return {row.call_id: row.state for row in await catalog.run(recordings_after)}


async def test_a_404_against_the_word_of_the_list_stays_open_with_growing_pauses(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for number in range(30):
        emulator.add_call(id=f"good{number}", started_at=now() - 3 * DAY, duration=0.1)
    emulator.add_call(
        id="lost", started_at=now() - 3 * DAY, recording=False, recording_available=True
    )
    emulator.add_call(id="none", started_at=now() - 3 * DAY, recording=False)
    time = start = now()
    archive = Archive(tmp_path, now=lambda: time)

    def asked() -> int:
        return emulator.requests.count("recording", call_id="lost")

    report = await archive.run(client)
    assert (report.archived, report.not_ready, report.no_recording) == (30, 1, 1)
    assert (report.disputed, report.disputed_first, report.failures_met) == (1, 1, True)
    assert "1 that the API says exist answered 404" in report.problems[0]
    assert "no recordingUrl" in report.problems[1]
    assert (await states(tmp_path))["lost"] == "disputed"
    again = await archive.run(client)
    assert (again.disputed, again.failures_met, asked()) == (1, False, 1)
    assert (await archive.run(client, options=RunOptions(recheck=True))).disputed == 1
    assert asked() == 2
    for day in range(1, 7):
        time = start + day * DAY + HOUR
        await archive.run(client)
        assert asked() == 2 + day
    for day in range(7, 20):
        time = start + day * DAY + 2 * HOUR
        await archive.run(client)
    assert asked() == 8 + 2, "every week after the first"
    time = start + 91 * DAY
    last = await archive.run(client)
    assert (last.disputed, last.no_recording, asked()) == (0, 2, 11)
    assert (await states(tmp_path))["lost"] == "no_recording"
    assert (await archive.run(client)).no_recording == 2
    assert asked() == 11


async def test_a_disputed_recording_that_turns_up_is_archived(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="late", started_at=now() - 3 * DAY, duration=0.1)
    emulator.fail(route="recording", status=404, call_id="late")
    time = now()
    archive = Archive(tmp_path, now=lambda: time)
    assert (await archive.run(client)).disputed_first == 1
    emulator.clear_faults()
    time += DAY
    report = await archive.run(client)
    assert (report.archived, report.disputed) == (1, 0)
    assert (await states(tmp_path)) == {"late": "archived"}


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled", "not_connected"])
async def test_calls_that_nobody_answered_are_not_waited_for(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, status: str
):
    emulator.add_call(id="x", started_at=now() - HOUR, status=status, recording=False, duration=0.0)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    archive = Archive(tmp_path, sleep=sleep)
    report = await archive.run(client, options=RunOptions(wait=60.0))
    assert (report.no_recording, report.not_ready, slept) == (1, 0, [])


async def test_a_young_call_of_an_unknown_status_without_an_end_is_in_progress(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="x", started_at=now() - HOUR, status="in-progress")

    def edit(page):
        return {**page, "data": [{**row, "status": "ongoing"} for row in page["data"]]}

    emulator.fail(route="list_calls", edit=edit)
    report = await Archive(tmp_path).run(client)
    assert (report.not_ready, emulator.requests.count("recording")) == (1, 0)


@pytest.mark.parametrize("fault", [{"status": 404}, {"status": 500}])
async def test_an_incident_makes_nothing_final_and_a_healthy_run_brings_all(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, fault
):
    for number in range(30):
        emulator.add_call(
            id=f"c{number}", started_at=now() - 30 * DAY, duration=0.1,
            recording_available=True if number % 2 else None,
        )  # fmt: skip
    emulator.fail(
        route="list_calls",
        edit=lambda page: {
            **page,
            "data": [
                {
                    k: v
                    for k, v in row.items()
                    if k != "recordingAvailable" or int(row["id"][1:]) % 2
                }
                for row in page["data"]
            ],
        },
    )
    emulator.fail(route="recording", **fault)
    archive = Archive(tmp_path)
    bad = await archive.run(client)
    assert bad.incident is not None
    assert "30 of 30 recordings were refused" in bad.incident
    assert bad.problems == [bad.incident], "one line"
    assert bad.failures_met
    assert "no_recording" not in set((await states(tmp_path)).values())
    emulator.clear_faults()
    settings = {"base_url": emulator.base_url, "api_key": client.settings.api_key}
    async with AsyncAgentPhone(**settings) as tomorrows:
        healthy = await archive.run(tomorrows)
    assert (healthy.archived, healthy.incident) == (30, None)


async def test_an_incident_that_killed_its_run_makes_nothing_final_either(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for number in range(20):
        emulator.add_call(id=f"c{number}", started_at=now() - 30 * DAY, duration=0.1)
    emulator.fail(route="recording", status=404)
    archive = Archive(tmp_path)
    await archive.run(client)
    async with await Catalog.open(tmp_path) as catalog:
        await catalog.transaction(
            lambda db: db.execute("UPDATE recordings SET state = 'no_recording'").fetchall()
        )
        await catalog.transaction(lambda db: db.execute("UPDATE runs SET finished = NULL"))
    emulator.clear_faults()
    assert (await archive.run(client)).archived == 20


async def test_recordings_that_the_user_finds_too_large_are_no_incident(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for _ in range(12):
        emulator.add_call(started_at=now() - 30 * DAY, duration=0.1)
    report = await Archive(tmp_path).run(
        client, options=RunOptions(limits=Limits(max_file_size=100))
    )
    assert (report.failed, report.incident) == (12, None)


async def test_few_404s_among_many_answers_are_final(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for number in range(20):
        emulator.add_call(
            id=f"c{number}", started_at=now() - 30 * DAY, duration=0.1, recording=number < 4
        )
    emulator.fail(
        route="list_calls",
        edit=lambda page: {
            **page,
            "data": [{**row, "recordingAvailable": None} for row in page["data"]],
        },
    )
    report = await Archive(tmp_path).run(client)
    assert (report.archived, report.no_recording, report.incident) == (4, 16, None)


# ------------------------------------------------------------------ lists


async def test_a_list_that_is_cut_off_covers_what_was_seen_whole(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for number in range(400):
        emulator.add_call(
            id=f"c{number}", started_at=now() - DAY - number * HOUR, recording=False,
            recording_available=False,
        )  # fmt: skip
    emulator.fail(route="list_calls", status=400, skip=3)
    archive = Archive(tmp_path)
    everything = await archive.run(client)
    assert not everything.complete
    assert everything.failures_met
    assert everything.error is None
    assert "lists no more than its newest" in everything.problems[0]
    assert everything.seen_since is not None
    emulator.add_call(id="new", started_at=now(), duration=0.1)
    emulator.clear_faults()
    emulator.fail(route="list_calls", status=400, skip=3)
    nightly = await archive.run(client, options=RunOptions(since_last=True))
    assert (nightly.archived, nightly.complete, nightly.failures_met) == (1, True, False)
    emulator.clear_faults()
    emulator.fail(route="list_calls", status=400, skip=3)
    week = await archive.run(client, Selection(since=now() - 7 * DAY))
    assert (week.complete, week.failures_met) == (True, False)


async def test_rows_that_cannot_be_read_are_counted(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="x", started_at=now() - DAY, duration=0.1)
    emulator.fail(
        route="list_calls", edit=lambda page: {**page, "data": [*page["data"], {"status": 1}]}
    )
    report = await Archive(tmp_path).run(client)
    assert (report.archived, report.unreadable, report.failures_met) == (1, 1, True)


async def test_410_is_final(emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path):
    emulator.add_call(id="x", started_at=now() - HOUR, duration=0.1)
    emulator.fail(route="recording", status=410)
    archive = Archive(tmp_path)
    assert (await archive.run(client)).no_recording == 1
    assert (await archive.run(client)).no_recording == 1
    assert emulator.requests.count("recording") == 1
    emulator.clear_faults()
    assert (await archive.run(client, options=RunOptions(recheck=True))).archived == 1


async def test_lists_of_numbers_without_ends_or_of_nothing(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for number in range(150):
        emulator.add_call(
            id=str(10_000 + number), started_at=now() - DAY, recording=number < 3, duration=0.1
        )
    edit = lambda page: {"data": [{**row, "id": int(row["id"])} for row in page["data"]]}  # noqa: E731
    emulator.fail(route="list_calls", edit=edit)
    report = await Archive(tmp_path).run(client)
    assert (report.listed, report.archived, report.complete) == (150, 3, True)
    emulator.clear_faults()
    emulator.fail(route="list_calls", status=204, body=b"")
    empty = await Archive(tmp_path).run(client)
    assert (empty.listed, empty.complete) == (0, True)


async def test_addresses_are_kept_without_their_signatures(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="x", started_at=now() - DAY, duration=0.1)
    times = 0

    def sign(page):
        nonlocal times
        times += 1
        return {**page, "data": [{**row, "recordingUrl": f"{row['recordingUrl']}?token=s3cret{times}"}
                                 for row in page["data"]]}  # fmt: skip

    emulator.fail(route="list_calls", edit=sign)
    archive = Archive(tmp_path)
    options = RunOptions(metadata=True)
    assert (await archive.run(client, options=options)).archived == 1
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("rec*.json")}
    assert (await archive.run(client, options=options)).already_archived == 1
    assert times == 2
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"s3cret" not in path.read_bytes(), path
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("rec*.json")}


async def test_waiting_is_over_in_time_and_asks_side_by_side(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for number in range(12):
        emulator.add_call(id=f"live{number}", status="in-progress", started_at=now() - HOUR)
    emulator.fail(route="get_call", delay=0.4)
    report = await Archive(tmp_path).run(client, options=RunOptions(wait=2.5))
    assert report.not_ready == 12
    assert report.seconds < 5
    assert emulator.requests.count("get_call") >= 8


async def test_waiting_for_a_call_whose_name_another_one_has_takes_a_name_of_its_own(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    from agentphone_async.archive.template import Template

    began = now() - HOUR
    emulator.add_call(id="ab", started_at=began, duration=0.1)
    first = RunOptions(template=Template.parse("{direction}/x-{call_id}"), hash_ids=False)
    await Archive(tmp_path).run(client, options=first)
    emulator.add_call(id="x-ab", started_at=began, duration=0.1)
    emulator.fail(route="recording", call_id="x-ab", status=404, times=1)

    async def sleep(_seconds: float) -> None:
        return

    second = RunOptions(template=Template.parse("{direction}/{call_id}"), wait=5.0)
    report = await Archive(tmp_path, sleep=sleep).run(client, options=second)
    assert (report.archived, report.already_archived, report.failed) == (1, 1, 0)
    for call_id in ("ab", "x-ab"):
        audio = emulator.expected_audio(call_id)
        assert sum(path.read_bytes() == audio for path in tmp_path.rglob("*.wav")) >= 1
    assert len(list(tmp_path.rglob("*.wav"))) == 2
