"""What `repair` puts right, and what it would rather leave as it is."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.archive import Archive
from agentphone_async.archive.lock import ArchiveLock
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.repair import Repaired, repair
from agentphone_async.archive.verify import VerifyReport, verify
from agentphone_async.emulator import Emulator
from agentphone_async.errors import ArchiveLockedError, CatalogError, DestinationError
from tests.support.archives import (
    archived,
    catalogued,
    day_folder,
    execute,
    fill,
    names,
    sha256sum_accepts,
)
from tests.support.downloads import wave

FOLDER = day_folder()


@pytest.fixture
async def archive(emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path) -> Path:
    """Three recordings with all that can lie beside them."""
    fill(emulator, 3)
    folder = tmp_path / "archive"
    await archived(client, folder, metadata=True, transcripts=True)
    return folder


async def repaired(client: AsyncAgentPhone, folder: Path) -> tuple[VerifyReport, list[Repaired]]:
    told: list[Repaired] = []
    report = await repair(folder, client, settled=told.append)
    return report, told


async def is_clean(folder: Path) -> bool:
    return (await verify(folder)).clean and sha256sum_accepts(folder / FOLDER)


async def test_a_missing_recording_is_fetched_again(
    emulator: Emulator, client: AsyncAgentPhone, archive: Path
):
    path = archive / FOLDER / "recording-call_1.wav"
    path.unlink()
    report, told = await repaired(client, archive)
    assert (report.problems, report.repaired, report.clean) == (1, 1, True)
    assert [each.line for each in told] == ["fetched again"]
    assert path.read_bytes() == emulator.expected_audio("call_1")
    assert path.stat().st_mode & 0o777 == 0o600
    assert await is_clean(archive)
    assert emulator.requests.count("recording") == 4


async def test_a_bad_file_is_kept_aside(emulator: Emulator, client: AsyncAgentPhone, archive: Path):
    path = archive / FOLDER / "recording-call_1.wav"
    bad = bytearray(path.read_bytes())
    bad[100] ^= 255
    path.write_bytes(bad)
    aside = f"{path.name}.altered-{hashlib.sha256(bad).hexdigest()[:8]}"
    _, told = await repaired(client, archive)
    assert told[0].line == f"fetched again; the bad file is kept as {aside}"
    assert (archive / FOLDER / aside).read_bytes() == bad
    assert path.read_bytes() == emulator.expected_audio("call_1")
    assert await is_clean(archive)
    path.write_bytes(bad)
    await repaired(client, archive)
    assert (archive / FOLDER / f"{aside}-2").read_bytes() == bad


async def test_nothing_is_put_aside_before_its_replacement_is_there(
    emulator: Emulator, client: AsyncAgentPhone, archive: Path
):
    path = archive / FOLDER / "recording-call_1.wav"
    path.write_bytes(b"bad")
    before = names(archive / FOLDER)
    emulator.fail(route="recording", status=503)
    report, told = await repaired(client, archive)
    assert (report.repaired, report.remaining) == (0, 1)
    assert "503" in told[0].line
    assert names(archive / FOLDER) == before
    assert path.read_bytes() == b"bad"


async def test_what_the_server_has_no_more_stays_a_problem(
    emulator: Emulator, client: AsyncAgentPhone, archive: Path
):
    (archive / FOLDER / "recording-call_1.wav").unlink()
    emulator.remove_call("call_1")
    report, told = await repaired(client, archive)
    assert report.remaining == 1
    assert told[0].line == "the server has no recording of this call"
    assert (await verify(archive)).missing == 1


async def test_other_bytes_than_before_take_the_place_of_lost_ones(
    emulator: Emulator, client: AsyncAgentPhone, archive: Path
):
    path = archive / FOLDER / "recording-call_1.wav"
    path.unlink()
    emulator.change_recording("call_1")
    _, told = await repaired(client, archive)
    assert told[0].repaired
    assert "other bytes than before" in told[0].line
    row = (await catalogued(archive))[f"{FOLDER}/{path.name}"]
    assert row.sha256 == hashlib.sha256(emulator.expected_audio("call_1")).hexdigest()
    assert await is_clean(archive)


async def test_an_earlier_version_is_only_replaced_by_the_very_same_bytes(
    emulator: Emulator, client: AsyncAgentPhone, archive: Path
):
    first, second = (archive / FOLDER / f"recording-call_1{v}.wav" for v in ("", ".v2"))
    emulator.change_recording("call_1")
    await Archive(archive).run(client, None, RunOptions(refresh=True))
    await archived(client, archive, metadata=True)
    first.unlink()
    second.unlink()
    report, told = await repaired(client, archive)
    assert [(each.finding.path.name, each.repaired) for each in told] == [
        (second.name, True),
        (first.name, False),
    ]
    assert "earlier version" in told[1].line
    assert report.remaining == 1
    assert second.read_bytes() == emulator.expected_audio("call_1")
    assert not first.exists()


async def test_a_suspect_recording_that_is_sound_now_is_replaced(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    cut = wave(4000, declared=9000)
    fill(emulator, 1, audio=cut)
    report = await archived(client, tmp_path)
    assert report.suspect == 1
    path = tmp_path / FOLDER / "recording-call_0.wav"
    _, told = await repaired(client, tmp_path)
    assert not told[0].repaired
    assert "same bytes" in told[0].line
    assert path.read_bytes() == cut
    emulator.change_recording("call_0", wave(5000))
    _, told = await repaired(client, tmp_path)
    assert told[0].repaired
    assert path.read_bytes() == wave(5000)
    (aside,) = tmp_path.rglob("*.suspect-*")
    assert aside.read_bytes() == cut
    assert await is_clean(tmp_path)


async def test_another_suspect_one_does_not_replace_a_suspect_one(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 1, audio=wave(4000, declared=9000))
    await archived(client, tmp_path)
    emulator.change_recording("call_0", wave(3000, declared=9000))
    report, told = await repaired(client, tmp_path)
    assert report.remaining == 1
    assert "suspect, too" in told[0].line
    assert len(list(tmp_path.rglob("*.wav*"))) == 1


async def test_what_arrives_suspect_in_place_of_a_lost_one_stays_a_problem(
    emulator: Emulator, client: AsyncAgentPhone, archive: Path
):
    (archive / FOLDER / "recording-call_1.wav").unlink()
    emulator.change_recording("call_1", wave(3000, declared=9000))
    report, told = await repaired(client, archive)
    assert report.remaining == 1
    assert "still suspect" in told[0].line
    assert (await verify(archive)).suspect == 1


async def test_sidecars_come_back_from_catalog_and_api(
    emulator: Emulator, client: AsyncAgentPhone, archive: Path
):
    beside = [path for path in (archive / FOLDER).iterdir() if "call_1." in path.name]
    wanted = {path.name: path.read_bytes() for path in beside if path.suffix != ".wav"}
    for name in wanted:
        (archive / FOLDER / name).write_bytes(b"rot")
    report, told = await repaired(client, archive)
    assert report.repaired == len(wanted) == 3
    assert {name: (archive / FOLDER / name).read_bytes() for name in wanted} == wanted
    assert len(list(archive.rglob("*.altered-*"))) == 3
    assert {each.line.partition(";")[0] for each in told} == {
        "written again from the catalog",
        "fetched again",
    }
    assert await is_clean(archive)


async def test_a_transcript_needs_the_key_and_says_so(emulator: Emulator, client_of, archive: Path):
    (archive / FOLDER / "transcript-call_1.json").unlink()
    (archive / FOLDER / "recording-call_2.wav").unlink()
    async with client_of(emulator.base_url, api_key=None) as keyless:
        report, told = await repaired(keyless, archive)
    assert (report.repaired, report.remaining) == (1, 1)
    assert "key" in told[1].line


async def test_unknown_files_are_left_alone(client: AsyncAgentPhone, archive: Path):
    (archive / "notes.txt").write_text("hers")
    report, told = await repaired(client, archive)
    assert report.remaining == 1
    assert not told[0].repaired
    assert (archive / "notes.txt").read_text() == "hers"


async def test_a_folder_in_the_place_of_a_file_goes_aside(
    emulator: Emulator, client: AsyncAgentPhone, archive: Path
):
    path = archive / FOLDER / "recording-call_1.wav"
    path.unlink()
    path.mkdir()
    await repaired(client, archive)
    assert path.read_bytes() == emulator.expected_audio("call_1")
    assert (archive / FOLDER / f"{path.name}.altered-00000000").is_dir()


async def test_a_recording_whose_kind_has_changed_gets_its_own_extension(
    emulator: Emulator, client: AsyncAgentPhone, archive: Path
):
    mp3 = emulator.add_call(
        id="mp3", media_type="audio/mpeg", started_at=emulator.calls[0].started_at
    )
    (archive / FOLDER / "recording-call_1.wav").unlink()
    call = emulator.call("call_1")
    call.media_type = "audio/mpeg"
    emulator.change_recording("call_1", emulator.expected_audio(mp3.id))
    report, _ = await repaired(client, archive)
    assert report.repaired == 1
    assert (archive / FOLDER / "recording-call_1.mp3").exists()
    assert await is_clean(archive)


async def test_more_than_one_batch(emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path):
    fill(emulator, 70, duration=0.02)
    await archived(client, tmp_path)
    for path in (tmp_path / FOLDER).glob("*.wav"):
        path.unlink()
    report, told = await repaired(client, tmp_path)
    assert report.repaired == len(told) == 70
    assert await is_clean(tmp_path)


async def test_what_was_fetched_in_vain_does_not_fill_the_disk(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    for number in range(12):
        emulator.add_call(id=f"call_{number}", duration=20.0)  # too large to wait in memory
    emulator.fail(route="recording", wav="long")
    await archived(client, tmp_path)
    partial: list[int] = []

    def settled(_: Repaired) -> None:
        partial.append(len(list(tmp_path.rglob("*.part"))))

    report = await repair(tmp_path, client, settled=settled)
    assert (report.problems, report.repaired) == (12, 0)
    assert max(partial) == 0


async def test_a_full_disk_ends_it_and_nothing_is_lost(
    client: AsyncAgentPhone, archive: Path, monkeypatch: pytest.MonkeyPatch
):
    path = archive / FOLDER / "recording-call_1.wav"
    path.write_bytes(b"bad")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agentphone_async.sinks.local.write_all", full)
    with pytest.raises(DestinationError, match="disk is full"):
        await repaired(client, archive)
    monkeypatch.undo()
    assert [p.read_bytes() for p in (archive / FOLDER).iterdir() if "call_1.wav" in p.name] == [
        b"bad"
    ]
    assert not list(archive.rglob("*.part"))


async def test_one_at_a_time(client: AsyncAgentPhone, archive: Path):
    with ArchiveLock(archive) as lock:
        lock.acquire()
        with pytest.raises(ArchiveLockedError):
            await repaired(client, archive)


async def test_no_archive_nothing_made(client: AsyncAgentPhone, tmp_path: Path):
    with pytest.raises(CatalogError, match="no archive"):
        await repaired(client, tmp_path)
    assert not list(tmp_path.iterdir())


async def test_a_row_that_has_gone_meanwhile_is_said(client: AsyncAgentPhone, archive: Path):
    (archive / FOLDER / "recording-call_1.json").unlink()
    await execute(archive, "DELETE FROM calls WHERE id = 'call_1'")
    report, told = await repaired(client, archive)
    assert report.remaining == 1
    assert told[0].line == "the catalog does not have its call"
