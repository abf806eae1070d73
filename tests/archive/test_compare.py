"""Which calls of the API an archive lacks."""

from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.compare import Comparison, MissingReport
from agentphone_async.archive.selection import Selection
from agentphone_async.emulator import Emulator
from agentphone_async.errors import CatalogError, UnexpectedResponseError
from tests.support.archives import DAY, archived, fill


async def compared(
    folder: Path, client: AsyncAgentPhone, selection: Selection | None = None, **options: bool
) -> tuple[list[tuple[str, str]], MissingReport]:
    comparison = Comparison(folder, client, selection, **options)
    async with aclosing(comparison.missing()) as missing:
        found = sorted([(each.call.id, each.state) async for each in missing])
    return found, comparison.report


@pytest.fixture
async def archive(emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path) -> Path:
    fill(emulator, 4)
    emulator.add_call(id="none", started_at=DAY, recording=False)
    emulator.add_call(id="live", status="in-progress")
    emulator.fail(route="recording", status=500, call_id="call_2")
    await archived(client, tmp_path)
    emulator.clear_faults()
    return tmp_path


async def test_what_is_not_archived_is_listed_with_its_state(
    emulator: Emulator, client: AsyncAgentPhone, archive: Path
):
    emulator.add_call(id="new")
    asked = emulator.requests.count("recording")
    found, report = await compared(archive, client)
    assert emulator.requests.count("recording") == asked
    assert found == [("call_2", "failed"), ("live", "not_ready"), ("new", "unseen")]
    assert (report.listed, report.selected, report.archived) == (7, 7, 3)
    assert report.no_recording == 1
    assert report.missing == {"failed": 1, "not_ready": 1, "unseen": 1}
    assert report.complete


async def test_calls_without_a_recording_only_on_demand(client: AsyncAgentPhone, archive: Path):
    found, _ = await compared(archive, client, absent=True)
    assert ("none", "no_recording") in found


async def test_only_the_selected_ones(emulator: Emulator, client: AsyncAgentPhone, archive: Path):
    emulator.add_call(id="early", started_at=DAY - timedelta(days=9))
    found, report = await compared(archive, client, Selection(until=DAY))
    assert found == [("early", "unseen")]
    assert report.selected == 1


async def test_calls_without_a_beginning_are_not_lost(
    client: AsyncAgentPhone, archive: Path, monkeypatch: pytest.MonkeyPatch
):
    listing = client.calls.list()
    calls = [call async for call in listing]
    undated = calls[0].model_copy(update={"id": "undated", "started_at": None})

    class Listing:
        complete = True
        problems = ()

        async def __aiter__(self):
            yield undated

    monkeypatch.setattr(client.calls, "list", Listing)
    found, report = await compared(archive, client, Selection(since=DAY))
    assert found == [("undated", "unseen")]
    assert report.undated == 1


async def test_more_than_a_batch(emulator: Emulator, client: AsyncAgentPhone, archive: Path):
    for number in range(300):
        emulator.add_call(id=f"more_{number}", started_at=DAY)
    found, report = await compared(archive, client)
    assert len(found) == 302
    assert report.selected == 306


async def test_a_list_that_breaks_off_is_an_error(
    emulator: Emulator, client: AsyncAgentPhone, archive: Path
):
    emulator.fail(route="list_calls", html=True)
    with pytest.raises(UnexpectedResponseError):
        await compared(archive, client)


async def test_a_list_that_was_not_seen_as_a_whole_is_said(
    emulator: Emulator, client: AsyncAgentPhone, archive: Path
):
    emulator.fail(route="list_calls", page="endless")
    _, report = await compared(archive, client)
    assert not report.complete


async def test_no_archive(client: AsyncAgentPhone, tmp_path: Path):
    with pytest.raises(CatalogError, match="no archive"):
        await compared(tmp_path / "none", client)
