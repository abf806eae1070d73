"""What is written beside recordings: when it is, when it is not, and what it says."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.files.sidecar_files import (
    pretty,
    sha256_of,
)
from agentphone_async.archive.options import Placed, RunOptions
from agentphone_async.archive.rebuild import rebuild
from agentphone_async.archive.sidecars import AT_ONCE, Sidecars, transcript_text
from agentphone_async.archive.template import Template
from agentphone_async.emulator import Emulator
from agentphone_async.errors import AuthenticationError, DestinationError
from agentphone_async.models import Call, Transcript
from agentphone_async.protocol.display import printable
from tests.conftest import ClientFactory
from tests.support.archives import DAY, archived, catalogued, day_folder, execute, fill

FOLDER = day_folder()


async def test_metadata_is_the_raw_call_private_and_catalogued(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    (call_id,) = fill(emulator, 1)
    await archived(client, tmp_path, metadata=True)
    path = tmp_path / FOLDER / f"recording-{call_id}.json"
    body = path.read_bytes()
    listed = (await client.calls.list()).data[0]
    assert json.loads(body) == listed.raw
    assert body == json.dumps(listed.raw, sort_keys=True, indent=2).encode() + b"\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    row = (await catalogued(tmp_path))[f"{FOLDER}/{path.name}"]
    assert (row.kind, row.size, row.sha256) == ("metadata", len(body), sha256_of(body))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=6))
def test_the_quick_way_to_pretty_json_writes_what_the_slow_one_does(raw: dict[str, object]):
    assert pretty(raw) == json.dumps(raw, sort_keys=True, indent=2).encode() + b"\n"


async def test_metadata_is_rewritten_only_when_the_call_has_changed(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 2)
    await archived(client, tmp_path, metadata=True)
    before = {path: path.stat().st_ino for path in (tmp_path / FOLDER).glob("*.json")}
    emulator.call("call_1").agent_name = "Somebody else"
    async with Sidecars(tmp_path, client, metadata=True) as beside:
        calls = [call async for call in client.calls.list()]
        await beside.process([_placed(call) for call in calls])
    changed = [path.name for path, inode in before.items() if path.stat().st_ino != inode]
    assert changed == ["recording-call_1.json"]
    assert b"Somebody else" in (tmp_path / FOLDER / changed[0]).read_bytes()


async def test_metadata_that_was_removed_is_written_again(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 1)
    await archived(client, tmp_path, metadata=True)
    path = tmp_path / FOLDER / "recording-call_0.json"
    path.unlink()
    await archived(client, tmp_path, metadata=True)
    assert path.exists()


async def test_what_lay_under_another_name_goes_when_the_place_changes(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 2, recording=False)
    await archived(client, tmp_path, metadata=True)
    touched = tmp_path / FOLDER / "recording-call_1.json"
    touched.write_text("mine")
    options = RunOptions(template=Template.parse("elsewhere/{call_id}"))
    await archived(client, tmp_path, options, metadata=True)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")} - {
        "archive.json"
    }
    assert files == {"elsewhere/call_0.json", "elsewhere/call_1.json", f"{FOLDER}/{touched.name}"}
    assert touched.read_text() == "mine"
    (line,) = (tmp_path / FOLDER / "SHA256SUMS").read_text().splitlines()
    assert line.endswith(touched.name), "what it was can still be told"


async def test_a_call_that_looks_like_a_transcript_has_a_name_of_its_own(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for call_id in ("x", "transcript-x", "recording-transcript-x", "transcript-x.call"):
        emulator.add_call(id=call_id, started_at=DAY, duration=0.2)
    options = RunOptions(template=Template.parse("{call_id}"))
    report = await archived(client, tmp_path, options, metadata=True, transcripts=True)
    assert report.archived == 4
    assert len(await catalogued(tmp_path)) == 16


async def test_calls_that_go_on_have_nothing_beside_them_yet(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="live", status="in-progress")
    await archived(client, tmp_path, metadata=True, transcripts=True)
    assert not [
        path
        for path in tmp_path.rglob("*")
        if path.suffix in {".json", ".txt"} and path.name != "archive.json"
    ]


async def test_hashed_names_do_not_tell_the_id(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 1)
    options = RunOptions(hash_ids=True)
    await archived(client, tmp_path, options, metadata=True, transcripts=True)
    names = [path.name for path in (tmp_path / FOLDER).iterdir()]
    assert len(names) == 5
    assert not [name for name in names if "call_0" in name]
    assert len({Path(name).stem.partition("-")[2] for name in names if "-" in name}) == 1


async def test_transcripts_come_as_json_and_as_text(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    said = [("agent", "Hello?"), ("user", "Grüße \x1b[31m\u202eevil\nnext line")]
    fill(emulator, 1, duration=60, transcript=said)
    await archived(client, tmp_path, transcripts=True)
    raw = (tmp_path / FOLDER / "transcript-call_0.json").read_bytes()
    assert json.loads(raw) == (await client.calls.get_transcript("call_0")).raw
    text = (tmp_path / FOLDER / "transcript-call_0.txt").read_text("utf-8")
    assert text.startswith("Call of 2026-03-14 12:00:00 UTC, ")
    assert "agent: Hello?\n" in text
    assert "user: Grüße \\x1b[31m\\u202eevil\n    next line\n" in text
    assert all(line == printable(line, 10**6) for line in text.splitlines())
    assert "call_0" not in text
    kinds = {file.kind for file in (await catalogued(tmp_path)).values()}
    assert kinds == {"recording", "transcript", "transcript_text"}


async def test_a_transcript_that_is_there_is_not_asked_for_again(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 5)
    await archived(client, tmp_path, transcripts=True)
    await archived(client, tmp_path, transcripts=True)
    assert emulator.requests.count("transcript") == 5


@pytest.mark.parametrize("ending", [".json", ".txt"])
async def test_either_file_of_a_transcript_comes_back(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, ending: str
):
    fill(emulator, 1)
    await archived(client, tmp_path, transcripts=True)
    path = tmp_path / FOLDER / f"transcript-call_0{ending}"
    path.unlink()
    await archived(client, tmp_path, transcripts=True)
    assert path.exists()


async def test_a_transcript_that_appears_later_is_picked_up_later(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    yesterday = datetime.now(UTC) - timedelta(days=1)
    fill(emulator, 1, transcript=(), started_at=yesterday)
    async with Sidecars(tmp_path, client, transcripts=True) as beside:
        call = (await client.calls.list()).data[0]
        await beside.process([_placed(call)])
        assert beside.report.absent == 1
        assert not list(tmp_path.rglob("transcript*"))
        emulator.remove_call("call_0")
        fill(emulator, 1, transcript=[("user", "At last.")], started_at=yesterday)
        await beside.process([_placed(call)])
    assert "At last." in (tmp_path / FOLDER / "transcript-call_0.txt").read_text()


async def test_a_transcript_that_did_not_come_in_a_week_is_not_asked_for_any_more(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 1, transcript=())
    young = emulator.add_call(
        id="young", started_at=datetime.now(UTC) - timedelta(days=6), transcript=(), duration=1.0
    )
    for runs in (1, 2, 3):
        await archived(client, tmp_path, transcripts=True)
        assert emulator.requests.count("transcript", call_id=young.id) == runs
        assert emulator.requests.count("transcript", call_id="call_0") == 1
    await rebuild(tmp_path)
    await archived(client, tmp_path, transcripts=True)
    assert emulator.requests.count("transcript", call_id="call_0") == 1, "a rebuild keeps that"


async def test_a_transcript_taken_right_after_the_call_is_taken_once_more(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    call = emulator.add_call(
        id="fresh", started_at=datetime.now(UTC) - timedelta(minutes=2), duration=60.0
    )
    listed = (await client.calls.list()).data[0]
    clock = [datetime.now(UTC)]
    async with Sidecars(tmp_path, client, transcripts=True) as beside:
        beside._files.now = lambda: clock[0]
        for expected in (1, 2):
            await beside.process([_placed(listed)])
            assert emulator.requests.count("transcript", call_id=call.id) == expected
            clock[0] += timedelta(hours=2)
        await beside.process([_placed(listed)])
        assert emulator.requests.count("transcript", call_id=call.id) == 2
        assert beside.report.written == 1  # the second one said the same


async def test_one_bad_transcript_is_counted_and_the_others_arrive(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 4)
    emulator.fail(route="transcript", status=500, call_id="call_2")
    async with Sidecars(tmp_path, client, transcripts=True) as beside:
        calls = [_placed(call) async for call in client.calls.list()]
        await beside.process(calls)
        report = beside.report
        assert (report.written, report.failed, report.absent) == (3, 1, 0)
        (line,) = beside.problems()
        assert "call_2" not in line.partition(":")[0]
    emulator.clear_faults()
    await archived(client, tmp_path, transcripts=True)
    assert len(list(tmp_path.rglob("transcript-*.json"))) == 4


async def test_no_more_transcripts_are_asked_for_at_once_than_allowed(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(emulator, 30)
    calls = [_placed(call) async for call in client.calls.list()]
    under_way = most = 0
    ask = client.calls.get_transcript

    async def counted(call_id: str) -> Transcript:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await ask(call_id)
        finally:
            under_way -= 1

    monkeypatch.setattr(client.calls, "get_transcript", counted)
    async with Sidecars(tmp_path, client, transcripts=True) as beside:
        await beside.process(calls)
    assert most == AT_ONCE
    assert len(list(tmp_path.rglob("transcript-*.json"))) == 30


async def test_a_refused_key_ends_it(
    emulator: Emulator, client_of: ClientFactory, tmp_path: Path, client: AsyncAgentPhone
):
    fill(emulator, 1)
    call = (await client.calls.list()).data[0]
    wrong = client_of(emulator.base_url, api_key="sk_wrong")
    async with Sidecars(tmp_path, wrong, transcripts=True) as beside:
        with pytest.raises(AuthenticationError):
            await beside.process([_placed(call)])


async def test_no_row_without_its_file(
    client: AsyncAgentPhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agentphone_async.sinks.local.os.replace", full)
    async with Sidecars(tmp_path, client, metadata=True) as beside:
        with pytest.raises(DestinationError, match="disk is full"):
            await beside.process([_placed(Call.from_json({"id": "x"}))])
    monkeypatch.undo()
    assert not await catalogued(tmp_path)
    assert not [
        path
        for path in tmp_path.rglob("*")
        if path.suffix == ".part" or path.name.startswith("recording-")
    ]


async def test_a_row_of_another_size_than_the_file_does_not_count(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 1)
    await archived(client, tmp_path, transcripts=True)
    await execute(tmp_path, "UPDATE sidecars SET size = 1 WHERE kind = 'transcript'")
    await archived(client, tmp_path, transcripts=True)
    assert emulator.requests.count("transcript") == 2


def test_times_of_a_transcript_are_those_of_the_zone():
    call = Call.from_json({"id": "x", "startedAt": "2026-01-15T23:30:00Z", "direction": "inbound"})
    said = Transcript.from_json(
        {
            "transcript": [
                {"role": "user", "content": None, "createdAt": "2026-01-15T23:30:05Z"},
                {"role": None},
            ]
        }
    )
    text = transcript_text(call, said, ZoneInfo("Europe/Berlin"))
    assert text == (
        "Call of 2026-01-16 00:30:00 CET, inbound, from ? to ?\n\n"
        "[00:30:05] user: \n[--:--:--] ?: \n"
    )


def test_a_call_at_the_edge_of_time_has_a_transcript_too():
    call = Call.from_json({"id": "x", "startedAt": "0001-01-01T00:00:00Z"})
    text = transcript_text(call, Transcript.from_json({}), ZoneInfo("America/New_York"))
    assert text.startswith("Call of an unknown time")


def _placed(call: Call) -> Placed:
    return Placed(call, PurePosixPath(FOLDER / f"recording-{call.id}"), "archived")
