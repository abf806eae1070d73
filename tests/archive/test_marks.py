"""What runs cover, and how much of the list they walk: marks, scopes, short walks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.archive import Archive
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.runs import last_covered, runs
from agentphone_async.archive.lock import ArchiveLock
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.prefetch import NewestFirst
from agentphone_async.archive.rebuild import rebuild
from agentphone_async.archive.recovery import Recovery
from agentphone_async.archive.selection import Selection
from agentphone_async.emulator import Emulator
from agentphone_async.errors import ConfigurationError
from agentphone_async.models import Call

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LAST = RunOptions(since_last=True)


def now() -> datetime:
    return datetime.now(UTC)


def fill(emulator: Emulator, count: int, *, first: datetime, every: timedelta) -> None:
    """Calls without recordings, that are not asked for: only their list counts."""
    for number in range(count):
        emulator.add_call(
            id=f"old_{number:06}", started_at=first - number * every, recording=False,
            recording_available=False,
        )  # fmt: skip


def pages(emulator: Emulator) -> int:
    return emulator.requests.count("list_calls")


# ------------------------------------------------------------------ short walks


@pytest.mark.parametrize("count", [1000, 3000])
async def test_a_day_costs_a_day(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, count: int
):
    fill(emulator, count, first=now() - 3 * DAY, every=30 * timedelta(minutes=1))
    archive = Archive(tmp_path)
    first = await archive.run(client, Selection(since=now() - 10 * DAY))
    assert (first.listing, first.listed, first.complete) == ("full", count, True)
    for number in range(48):
        emulator.add_call(id=f"new_{number}", started_at=now() - number * HOUR / 48, duration=0.1)
    before = pages(emulator)
    report = await archive.run(client, options=LAST)
    assert (report.archived, report.listing, report.complete) == (48, "recent", True)
    assert pages(emulator) - before <= 48 / 100 + 5
    before = pages(emulator)
    again = await archive.run(client, options=LAST)
    assert (again.already_archived, again.listing) == (48, "recent")
    assert pages(emulator) - before <= 48 / 100 + 5


async def test_a_short_walk_asks_by_id_for_what_is_open(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 900, first=now() - DAY, every=HOUR)
    emulator.add_call(id="deep", started_at=now() - 36 * DAY, duration=0.1)
    emulator.fail(route="recording", call_id="deep", html=True)
    archive = Archive(tmp_path)
    assert (await archive.run(client)).failed == 1
    emulator.clear_faults()
    report = await archive.run(client, options=LAST)
    assert (report.listing, report.archived, report.complete) == ("recent", 1, True)
    assert emulator.requests.count("get_call", call_id="deep") == 1


async def test_the_whole_list_is_walked_when_it_is_time_or_wanted_or_out_of_order(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 700, first=now() - DAY, every=HOUR)
    time = now()
    archive = Archive(tmp_path, now=lambda: time)
    assert (await archive.run(client)).listing == "full"
    assert (await archive.run(client, options=LAST)).listing == "recent"
    full = RunOptions(since_last=True, full_list=True)
    assert (await archive.run(client, options=full)).listing == "full"
    time += 7 * DAY
    assert (await archive.run(client, options=LAST)).listing == "full"
    assert (await archive.run(client, options=LAST)).listing == "recent"
    backwards = {"edit": lambda page: {**page, "data": page["data"][::-1]}, "route": "list_calls"}
    emulator.fail(**backwards)
    disordered = await archive.run(client, options=LAST)
    assert (disordered.listing, disordered.listed) == ("full", 700)


async def test_a_call_that_appears_late_and_deep_ends_no_walk_before_it(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 800, first=now() - DAY, every=HOUR)
    archive = Archive(tmp_path)
    await archive.run(client)
    emulator.add_call(id="late", started_at=now() - DAY - 250 * HOUR, duration=0.1)
    report = await archive.run(client, options=LAST)
    assert report.listing == "recent"
    assert report.listed > 500, "an unknown call among old ones starts the proof again"


def test_a_list_proves_itself_only_by_whole_pages_of_old_and_known_calls():
    start = datetime(2026, 11, 1, tzinfo=UTC)

    def calls(*hours: float) -> list[Call]:
        return [
            Call.from_json({"id": f"c{hour}", "startedAt": (start + hour * HOUR).isoformat()})
            for hour in hours
        ]

    order = NewestFirst(start)
    order.add(calls(*range(100, 0, -1)), ())
    assert order.seen_since == start + HOUR + HOUR
    order.add(calls(*range(-1, -285, -1)), ())
    assert not order.proved
    order.add(calls(-285), {"c-285"})
    order.add(calls(*range(-286, -570, -1)), ())
    assert not order.proved, "the unknown one has started the count again"
    order.add(calls(-570), ())
    assert order.proved
    order.add(calls(-568.5), ())
    assert order.broken
    assert not order.proved
    assert order.seen_since is None


# ------------------------------------------------------------------ marks


async def test_last_is_of_one_account_one_host_and_filters_in_any_case(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="x", started_at=now() - 3 * HOUR, duration=0.1)
    archive = Archive(tmp_path)
    await archive.run(client, Selection(status="Completed", direction="INBOUND"))
    same = Selection(status="completed", direction="inbound")
    assert (await archive.run(client, same, LAST)).already_archived == 1
    with pytest.raises(ConfigurationError, match="no complete run"):
        await archive.run(client, Selection(status="failed"), LAST)
    for other in ({"api_key": "sk_live_other"}, {"sub_account": "sub_1"}):
        settings = {"api_key": client.settings.api_key, **other}
        async with AsyncAgentPhone(base_url=emulator.base_url, **settings) as another:
            with pytest.raises(ConfigurationError, match="this API key"):
                await archive.run(another, same, LAST)
    async with await Catalog.open(tmp_path, write=False) as catalog:
        scopes = await catalog.run(lambda db: db.execute("SELECT scope FROM runs").fetchall())
        assert all(client.settings.api_key not in scope for (scope,) in scopes)


async def test_the_mark_is_the_moment_before_the_list_was_opened(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="x", started_at=now() - 3 * HOUR, duration=0.1)
    time = began = now()
    holder = ArchiveLock(tmp_path)
    holder.acquire()

    async def sleep(seconds: float) -> None:  # the lock is released after hours
        nonlocal time
        time += 5 * HOUR
        holder.release()

    archive = Archive(tmp_path, now=lambda: time, sleep=sleep)
    report = await archive.run(client, options=RunOptions(wait_lock=60.0))
    assert report.complete
    async with await Catalog.open(tmp_path, write=False) as catalog:
        (run,) = await catalog.run(runs)
    assert run.covered_until == began
    assert run.started == began + 5 * HOUR


async def test_runs_from_before_there_were_scopes_count_for_the_next_account(tmp_path: Path):
    from agentphone_async.archive.catalog.runs import begin_run, finish_run

    async with await Catalog.open(tmp_path) as catalog:
        run = await catalog.transaction(begin_run, Selection(), now())
        await catalog.transaction(
            finish_run, run, now(), complete=True, covered_until=now(), stop_reason=None, counts={}
        )
        assert await catalog.run(last_covered, Selection(), "a") is not None
        await catalog.transaction(begin_run, Selection(), now(), "a")
        assert await catalog.run(last_covered, Selection(), "a") is not None
        assert await catalog.run(last_covered, Selection(), "b") is None


async def test_calls_without_a_beginning_are_dated_by_their_end_or_first_sight(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="ended", started_at=now() - 3 * DAY, duration=0.1)
    emulator.add_call(id="timeless", started_at=now() - 3 * DAY, duration=0.1)

    def edit(page):
        rows = [{**row, "startedAt": None} for row in page["data"]]
        return {**page, "data": [{**row, "endedAt": None} if row["id"] == "timeless" else row
                                 for row in rows]}  # fmt: skip

    emulator.fail(route="list_calls", edit=edit)
    archive = Archive(tmp_path)
    report = await archive.run(client, Selection(now() - 4 * DAY, now() - 2 * DAY))
    assert (report.selected, report.archived, report.undated) == (2, 2, 2)
    assert report.complete
    again = await archive.run(client, Selection(now() - 4 * DAY, now() - 2 * DAY))
    assert again.already_archived == 1, "what ended then is of those days; the other of today"
    assert (await archive.run(client, options=LAST)).already_archived == 1


async def test_given_calls_are_fetched_and_cover_nothing(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for number in range(4):
        emulator.add_call(id=f"c{number}", started_at=now() - DAY, duration=0.1)
    page = await client.calls.list()
    archive = Archive(tmp_path)
    report = await archive.run(client, calls=page.data[:2])
    assert (report.archived, report.complete) == (2, True)
    with pytest.raises(ConfigurationError, match="no complete run"):
        await archive.run(client, options=LAST)


# ------------------------------------------------------------------ a lost catalog


async def test_last_outlives_the_catalog_and_brings_what_was_open(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for number in range(6):
        emulator.add_call(id=f"c{number}", started_at=now() - number * DAY - HOUR, duration=0.1)
    emulator.fail(route="recording", call_id="c3", html=True)
    archive = Archive(tmp_path)
    week = Selection(since=now() - 7 * DAY)
    assert (await archive.run(client, week)).failed == 1
    emulator.clear_faults()
    (tmp_path / "catalog.sqlite3").unlink()
    await rebuild(tmp_path)
    with pytest.raises(ConfigurationError, match="no complete run"):
        async with AsyncAgentPhone("sk_other", client.base_url) as other:
            await archive.run(other, options=LAST)
    before = emulator.requests.count("recording")
    report = await archive.run(client, options=LAST)
    assert (report.archived, report.failed, report.complete) == (1, 0, True)
    assert emulator.requests.count("recording") - before == 1, "the one that was still open"
    assert report.listing == "full", "nobody knows when all pages were walked"
    assert (await archive.run(client, options=LAST)).archived == 0


async def test_marks_of_a_torn_catalog_are_not_believed(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its runs could be read, and not what they had left open."""
    emulator.add_call(id="open", started_at=now() - 3 * DAY, duration=0.1)
    emulator.fail(route="recording", call_id="open", html=True)
    archive = Archive(tmp_path)
    assert (await archive.run(client, Selection(since=now() - 7 * DAY))).failed == 1
    emulator.clear_faults()
    real = Recovery._rows

    def torn(self, old, table, names):
        if table != "recordings":
            return real(self, old, table, names)
        self._torn = True
        return iter(())

    monkeypatch.setattr(Recovery, "_rows", torn)
    await rebuild(tmp_path)
    assert (await archive.run(client, options=LAST)).archived == 1
