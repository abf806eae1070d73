"""A catalog that was lost or torn comes back from the disk."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.archive import Archive
from agentphone_async.archive.catalog.calls import note_pending, pending_of
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.opening import connected, path_of
from agentphone_async.archive.catalog.recordings import recordings_after
from agentphone_async.archive.catalog.rows import RecordingRow
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.rebuild import rebuild
from agentphone_async.archive.recovery import Recovery
from agentphone_async.emulator import Emulator, damaged_wave
from agentphone_async.errors import CatalogError, DestinationError
from tests.faults.oracle import Oracle

DAY = datetime(2026, 11, 2, tzinfo=UTC)


PLAIN = RunOptions(checksums=False)
"""Without sums: nothing but the bytes themselves vouches for a recording."""


async def rows(folder: Path) -> dict[tuple[str, int], RecordingRow]:
    async with await Catalog.open(folder, write=False) as catalog:
        found = await catalog.run(recordings_after)
        return {(row.call_id, row.version): row for row in found}


@pytest.fixture
async def archive(emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path) -> Path:
    for number in range(8):
        emulator.add_call(id=f"call_{number}", started_at=DAY, duration=0.1, recording=number > 0)
    emulator.add_call(id="Call_UPPER", started_at=DAY, duration=0.1)
    emulator.fail(route="recording", call_id="call_7", wav="long", processed=True)
    folder = tmp_path / "archive"
    await Archive(folder).run(client, options=PLAIN)
    emulator.change_recording("call_1")
    await Archive(folder).run(client, options=RunOptions(refresh=True, checksums=False))
    emulator.clear_faults()
    return folder


def oracle_of(emulator: Emulator, folder: Path) -> Oracle:
    long = damaged_wave(emulator.expected_audio("call_7"), "long")
    return Oracle(emulator, folder, aside=True, altered={"call_7": long})


def lose(folder: Path) -> None:
    for file in folder.glob("catalog*"):
        file.unlink()


async def test_without_any_catalog_names_tell_whose_recordings_they_are(
    archive: Path, emulator: Emulator
):
    before = await rows(archive)
    lose(archive)
    report = await rebuild(archive)
    after = await rows(archive)
    assert (report.recordings, report.unknown, report.unsound) == (7, 1, 1)
    assert report.old is None
    for key, row in after.items():
        old = before[key]
        assert (row.path, row.size, row.sha256) == (old.path, old.size, old.sha256)
        assert (row.sample_rate, row.channels, row.duration) == (8000, 1, pytest.approx(0.1))
    assert ("call_1", 2) in after
    oracle = oracle_of(emulator, archive)
    report = await oracle.run()
    assert (report.already_archived, report.archived) == (7, 1), "only the unsound one is fetched"
    await oracle.holds(report)


async def test_a_torn_catalog_gives_what_can_still_be_read(archive: Path, emulator: Emulator):
    before = await rows(archive)
    path = path_of(archive)
    data = bytearray(path.read_bytes())
    data[:100] = os.urandom(100)
    path.write_bytes(bytes(data))
    with pytest.raises(CatalogError, match="rebuild"):
        await Catalog.open(archive)
    report = await rebuild(archive)
    assert report.old is not None
    assert report.old.read_bytes() == bytes(data)
    assert {k for k in before if k in await rows(archive)}
    await oracle_of(emulator, archive).holds()


async def test_a_good_catalog_keeps_what_it_knows(archive: Path, emulator: Emulator):
    before = await rows(archive)
    report = await rebuild(archive)
    assert await rows(archive) == before
    assert (report.recordings, report.suspect, report.unknown) == (9, 1, 0)
    assert report.recovered >= len(before)


async def test_a_folder_that_is_none_is_called_what_it_is(tmp_path: Path):
    with pytest.raises(DestinationError, match="it is not there"):
        await rebuild(tmp_path / "nowhere")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DestinationError, match="is a file, not a folder"):
        await rebuild(tmp_path / "file")


async def test_what_calls_still_lack_is_kept(archive: Path):
    async with await Catalog.open(archive) as catalog:
        await catalog.transaction(note_pending, "transcript", DAY, pending=["call_1"], done=[])
    await rebuild(archive)
    async with await Catalog.open(archive, write=False) as catalog:
        assert await catalog.run(pending_of, ["call_1", "call_2"]) == {"call_1"}


async def test_what_is_gone_or_altered_is_not_claimed(archive: Path, emulator: Emulator):
    folder = archive / "2026/11/02"
    (folder / "recording-call_2.wav").unlink()
    (folder / "recording-call_3.wav").write_bytes(b"RIFF")
    await rebuild(archive)
    after = await rows(archive)
    assert {key for key, row in after.items() if row.state == "failed"} == {
        ("call_2", 1),
        ("call_3", 1),
    }
    oracle = oracle_of(emulator, archive)
    await oracle.holds(await oracle.run())


async def test_metadata_beside_a_recording_tells_more_than_its_name(
    archive: Path, emulator: Emulator, client: AsyncAgentPhone
):
    name = next((archive / "2026/11/02").glob("recording-Call_UPPER~*.wav"))
    name.with_suffix(".json").write_text('{"id": "Call_UPPER", "status": "completed"}')
    lose(archive)
    report = await rebuild(archive)
    assert report.unknown == 0
    assert ("Call_UPPER", 1) in await rows(archive)


async def test_hashed_names_tell_nothing_but_the_key_is_kept(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    emulator.add_call(id="secret", started_at=DAY, duration=0.1)
    hidden = RunOptions(hash_ids=True, checksums=False)
    await Archive(tmp_path).run(client, options=hidden)
    before = await rows(tmp_path)
    await rebuild(tmp_path)
    assert await rows(tmp_path) == before
    assert (await Archive(tmp_path).run(client, options=hidden)).already_archived == 1
    lose(tmp_path)
    report = await rebuild(tmp_path)
    assert (report.recordings, report.unknown) == (0, 1)


async def test_what_is_not_ours_is_left_alone(tmp_path: Path):
    with pytest.raises(DestinationError):
        await rebuild(tmp_path / "nowhere")
    path_of(tmp_path).write_bytes(b"SQLite format 3\0" + bytes(4080))
    with pytest.raises(CatalogError, match="another program"):
        await rebuild(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["catalog.sqlite3"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("2026/11/02/recording-call_1.wav", ("call_1", 1)),
        ("recording-call_1.v2.wav", ("call_1", 2)),
        ("recording-call_1.v1.wav", (None, 1)),
        ("recording-abcdefghijklmnopqrstuvwxyz234567.wav", (None, 1)),
        ("recording-Call~abc.wav", (None, 1)),
        ("recording-con.mp3", (None, 1)),
        ("other-call_1.wav", (None, 1)),
    ],
)
def test_identities(tmp_path, path, expected):
    with connected(tmp_path, write=True) as new:
        recovery = Recovery(tmp_path, new, datetime.now(UTC))
        recovery.go(tmp_path / "nothing")
        assert recovery.identity(PurePosixPath(path)) == expected
