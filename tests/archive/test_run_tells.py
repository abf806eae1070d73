"""What a run refuses at its beginning, whom it tells what, and that its counts add up."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest

from agentphone_async import AsyncAgentPhone, Outcome
from agentphone_async.archive.archive import Archive
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.recordings import (
    current_recordings,
)
from agentphone_async.archive.catalog.runs import unfinished_folders
from agentphone_async.archive.observer import Observer
from agentphone_async.archive.options import Placed, RunOptions
from agentphone_async.archive.report import Report
from agentphone_async.archive.selection import Selection
from agentphone_async.emulator import Emulator
from agentphone_async.errors import (
    ArchiveLockedError,
    AuthenticationError,
    CatalogError,
    ConnectionFailedError,
    DestinationError,
)
from tests.conftest import Sleeps
from tests.faults.oracle import Oracle
from tests.support.runs import DAY, HOUR, now


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
    from agentphone_async.archive.catalog.runs import begin_run, use_folders
    from agentphone_async.sinks import leftovers

    emulator.add_call(id="x", started_at=now() - DAY, duration=0.1)
    folder = tmp_path / "1999" / "01"
    folder.mkdir(parents=True)
    dead = f".agentphone-{leftovers._this_host()}-{2**22 + 1:x}-00000000-0.part"
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
