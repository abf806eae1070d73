"""What `verify` finds, and what it leaves in peace."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive import verify as verify_module
from agentphone_async.archive.verify import Finding, verify
from agentphone_async.emulator import Emulator
from agentphone_async.errors import CatalogError
from tests.support.archives import archived, day_folder, execute, fill

FOLDER = day_folder()
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes, links and fifos")


@pytest.fixture
async def archive(emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path) -> Path:
    """Five recordings with all that can lie beside them."""
    fill(emulator, 5)
    folder = tmp_path / "archive"
    await archived(client, folder, metadata=True, transcripts=True)
    return folder


async def found_in(folder: Path, **options: int) -> list[tuple[str, str]]:
    found: list[Finding] = []
    report = await verify(folder, found=found.append, **options)
    assert report.problems == len(found) == len(report.findings)
    return [(finding.kind, finding.path.as_posix()) for finding in found]


async def test_a_sound_archive_is_clean(archive: Path):
    told: list[tuple[int, int]] = []
    report = await verify(archive, progress=lambda files, size: told.append((files, size)))
    assert report.clean
    assert report.checked == sum(files for files, _ in told) == 20
    on_disk = [path for path in (archive / FOLDER).iterdir() if path.name != "SHA256SUMS"]
    assert report.bytes == sum(size for _, size in told)
    assert report.bytes == sum(path.stat().st_size for path in on_disk)
    assert (report.exposed, report.leftovers, report.aside) == (0, 0, 0)


@pytest.mark.parametrize("name", ["recording-call_2.wav", "transcript-call_2.txt"])
async def test_files_that_are_gone_are_missing(archive: Path, name: str):
    (archive / FOLDER / name).unlink()
    assert await found_in(archive) == [("missing", f"{FOLDER}/{name}")]


async def test_one_flipped_bit_is_found(archive: Path):
    path = archive / FOLDER / "recording-call_3.wav"
    body = bytearray(path.read_bytes())
    body[-1] ^= 1
    path.write_bytes(body)
    assert await found_in(archive) == [("altered", f"{FOLDER}/{path.name}")]


async def test_another_length_is_found_without_reading(archive: Path):
    path = archive / FOLDER / "recording-call_3.wav"
    os.truncate(path, 10**12)  # a hole
    report = await verify(archive)
    assert report.altered == 1
    assert report.bytes < 10**6


async def test_what_is_no_file_any_more_is_altered(archive: Path, tmp_path: Path):
    link, folder, fifo = (archive / FOLDER / f"recording-call_{n}.wav" for n in range(3))
    elsewhere = tmp_path / "elsewhere.wav"
    os.replace(link, elsewhere)
    link.symlink_to(elsewhere)
    for path, make in ((folder, os.mkdir), (fifo, os.mkfifo)):
        path.unlink()
        make(path, 0o700)
    found = await asyncio.wait_for(found_in(archive), 20)
    assert found == [("altered", f"{FOLDER}/{path.name}") for path in (link, folder, fifo)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_file_that_may_not_be_read_is_unreadable(archive: Path):
    path = archive / FOLDER / "recording-call_3.wav"
    path.chmod(0)
    assert await found_in(archive) == [("unreadable", f"{FOLDER}/{path.name}")]


async def test_errors_while_reading_are_findings(archive: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(verify_module.os, "read", broken)
    found: list[Finding] = []
    await verify(archive, found=found.append)
    assert len(found) == 20
    assert {(each.kind, each.reason) for each in found} == {("unreadable", "Input/output error")}


async def test_suspect_recordings_are_told_with_the_reason(archive: Path):
    await execute(
        archive,
        "UPDATE recordings SET state = 'suspect', last_error = 'odd' WHERE call_id = 'call_4'",
    )
    found: list[Finding] = []
    await verify(archive, found=found.append)
    assert [(each.kind, each.reason) for each in found] == [("suspect", "odd")]


async def test_files_that_nobody_knows_are_unknown(archive: Path):
    (archive / "notes.txt").write_text("hers")
    (archive / FOLDER / "recording-other.wav").write_bytes(b"")
    (archive / FOLDER / "link").symlink_to(archive)
    (archive / "empty folder").mkdir()
    strange = os.fsdecode(b"\xff.wav")
    (archive / strange).write_bytes(b"")
    assert set(await found_in(archive)) == {
        ("unknown", "notes.txt"),
        ("unknown", f"{FOLDER}/recording-other.wav"),
        ("unknown", f"{FOLDER}/link"),
        ("unknown", strange),
    }


async def test_what_is_ours_by_name_is_no_problem(archive: Path):
    leftover = archive / FOLDER / ".agentphone-00000000-1-00000000-0.part"
    leftover.write_bytes(b"")
    aside = archive / FOLDER / "recording-call_1.wav.altered-0123abcd"
    aside.write_bytes(b"")
    (archive / FOLDER / "recording-call_1.wav.damaged").write_bytes(b"")
    (archive / "catalog.sqlite3.old-1").write_bytes(b"")
    report = await verify(archive)
    assert report.clean
    assert (report.leftovers, report.aside) == (1, 3)
    assert report.leftover_paths[0].name == leftover.name


async def test_what_others_may_read_is_noted_and_no_problem(archive: Path):
    (archive / FOLDER / "recording-call_1.wav").chmod(0o640)
    (archive / "2026").chmod(0o755)
    archive.chmod(0o755)  # chosen by the user
    report = await verify(archive)
    assert report.clean
    assert {path.as_posix() for path in report.exposed_paths} == {
        f"{FOLDER}/recording-call_1.wav",
        "2026",
    }


async def test_a_recording_that_a_run_found_lost_is_missing(archive: Path):
    (archive / FOLDER / "recording-call_1.wav").unlink()
    await execute(
        archive,
        "UPDATE recordings SET state = 'no_recording', last_error = NULL WHERE call_id = 'call_1'",
    )
    assert await found_in(archive) == [("missing", f"{FOLDER}/recording-call_1.wav")]


async def test_findings_come_in_the_order_of_paths_whatever_the_threads(
    archive: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(verify_module, "_FILES_A_HOP", 1)
    monkeypatch.setattr(verify_module, "_ROWS", 3)
    gone = sorted(path for path in (archive / FOLDER).iterdir() if path.name != "SHA256SUMS")
    for path in gone:
        path.unlink()
    found = await found_in(archive, threads=4)
    assert [path for _, path in found] == [p.relative_to(archive).as_posix() for p in gone]


async def test_leaving_in_the_middle_leaves_nothing_running(
    archive: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(verify_module, "_FILES_A_HOP", 1)
    for path in (archive / FOLDER).glob("*.wav"):
        path.unlink()

    class EnoughError(Exception):
        pass

    def found(_: Finding) -> None:
        raise EnoughError

    tasks = asyncio.all_tasks()
    with pytest.raises(EnoughError):
        await verify(archive, found=found)
    assert asyncio.all_tasks() == tasks


async def test_nothing_is_changed(archive: Path):
    def state() -> dict[str, tuple[int, bytes]]:
        return {
            path.as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
            for path in archive.rglob("*")
            if path.is_file() and not path.name.endswith(("-shm", "-wal"))
        }

    before = state()
    await verify(archive)
    assert state() == before


async def test_only_the_first_hundred_findings_are_kept(archive: Path):
    for number in range(150):
        (archive / f"{number}").write_bytes(b"")
    report = await verify(archive)
    assert (report.unknown, len(report.findings)) == (150, 100)


@pytest.mark.parametrize("what", ["nothing", "empty", "file"])
async def test_no_archive_is_said_in_one_line(tmp_path: Path, what: str):
    dest = tmp_path / "dest"
    if what == "empty":
        dest.mkdir()
    elif what == "file":
        dest.write_text("hers")
    with pytest.raises(CatalogError, match="no archive"):
        await verify(dest)
    assert dest.exists() == (what != "nothing")
