"""An archive call by call, and in numbers."""

from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.archive import Archive
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.schema import MIGRATIONS
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.query import STATES, Entry, damage, entries, overview
from agentphone_async.archive.selection import Selection
from agentphone_async.cli.period import STATES as CLI_STATES
from agentphone_async.emulator import Emulator
from tests.support.archives import DAY, archived, day_folder, execute, fill

MINUTE = timedelta(minutes=1)


async def listed(folder: Path, *arguments: object, **options: object) -> list[Entry]:
    async with await Catalog.open(folder, write=False) as catalog:
        found = entries(catalog, *arguments, **options)
        async with aclosing(found) as batches:
            return [entry async for batch in batches for entry in batch]


def ids(found: list[Entry]) -> list[str]:
    return [entry.call.id for entry in found]


@pytest.fixture
async def archive(emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path) -> Path:
    """A call in each state, from the latest to the earliest."""
    fill(emulator, 5)
    emulator.remove_call("call_1")
    emulator.add_call(id="call_1", started_at=DAY + MINUTE, recording=False, direction="outbound")
    emulator.fail(route="recording", status=500, call_id="call_2")
    emulator.add_call(id="live", status="in-progress")
    await archived(client, tmp_path)
    await execute(tmp_path, "UPDATE recordings SET state = 'suspect' WHERE call_id = 'call_3'")
    await execute(tmp_path, "DELETE FROM recordings WHERE call_id = 'call_4'")
    return tmp_path


async def test_calls_come_by_their_beginning_each_with_its_state(archive: Path):
    assert [(entry.call.id, entry.state) for entry in await listed(archive)] == [
        ("call_0", "archived"),
        ("call_1", "no_recording"),
        ("call_2", "failed"),
        ("call_3", "suspect"),
        ("call_4", "pending"),
        ("live", "not_ready"),
    ]
    assert set(STATES) >= {entry.state for entry in await listed(archive)}
    assert STATES == CLI_STATES


@pytest.mark.parametrize(
    "state", ["archived", "not_ready", "no_recording", "failed", "suspect", "pending"]
)
async def test_states_can_be_chosen(archive: Path, state: str):
    found = await listed(archive, states=[state])
    assert [entry.state for entry in found] == [state]


async def test_more_than_one_state(archive: Path):
    assert ids(await listed(archive, states=["pending", "failed"])) == ["call_2", "call_4"]


async def test_a_state_that_is_none_is_refused(archive: Path):
    with pytest.raises(ValueError, match="no state 'lost'; use one of archived"):
        await listed(archive, states=["lost"])


async def test_selections_are_those_of_a_run(archive: Path):
    span = Selection(since=DAY + MINUTE, until=DAY + 3 * MINUTE)
    assert ids(await listed(archive, span)) == ["call_1", "call_2"]
    assert ids(await listed(archive, Selection(direction="outbound"))) == ["call_1"]
    assert ids(await listed(archive, Selection(status="in_progress"))) == ["live"]


async def test_a_call_without_a_beginning_lies_in_no_span(archive: Path):
    await execute(archive, "UPDATE calls SET started = NULL WHERE id = 'call_2'")
    assert ids(await listed(archive))[0] == "call_2"
    assert "call_2" not in ids(await listed(archive, Selection(since=DAY)))


async def test_batches_do_not_matter(archive: Path):
    assert ids(await listed(archive, at_once=1)) == ids(await listed(archive))


async def test_the_current_version_or_every_one(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 2)
    await archived(client, tmp_path)
    emulator.change_recording("call_0")
    await Archive(tmp_path).run(client, None, RunOptions(refresh=True))
    versions = [e.recording.version for e in await listed(tmp_path) if e.recording]
    assert versions == [2, 1]
    every = await listed(tmp_path, versions=True)
    assert sorted((e.call.id, e.recording.version) for e in every if e.recording) == [
        ("call_0", 1),
        ("call_0", 2),
        ("call_1", 1),
    ]


async def test_an_entry_tells_everything(emulator: Emulator, archive: Path):
    entry = (await listed(archive, states=["archived"]))[0]
    fields = entry.as_dict()
    assert fields["path"] == f"{day_folder()}/recording-call_0.wav"
    assert fields["size"] == len(emulator.expected_audio("call_0"))
    assert fields["started"] == "2026-03-14T12:00:00.000000Z"
    assert fields["call"]["id"] == fields["call_id"] == "call_0"
    pending = (await listed(archive, states=["pending"]))[0].as_dict()
    assert pending.keys() == fields.keys()
    assert pending["path"] is None


async def test_an_archive_in_numbers(archive: Path):
    async with await Catalog.open(archive, write=False) as catalog:
        found = await catalog.run(overview)
        assert await catalog.run(damage) == []
    assert (found.schema, found.calls, found.sidecars) == (len(MIGRATIONS), 6, 0)
    assert found.states == dict.fromkeys(
        ("archived", "not_ready", "no_recording", "failed", "suspect"), 1
    )
    assert found.bytes == sum(
        path.stat().st_size for path in archive.rglob("*.wav") if "call_4" not in path.name
    )
    assert [run.counts["archived"] for run in found.runs] == [3]
