"""Files that a run finds where a recording is to go: taken in, moved aside, or said to be there."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.archive import Archive
from agentphone_async.archive.catalog.database import path_of
from agentphone_async.archive.files import storage as files_module
from agentphone_async.archive.files.sidecar_files import SidecarFiles
from agentphone_async.archive.names import SUMS_NAME
from agentphone_async.archive.observer import Observer
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.repair import repair
from agentphone_async.emulator import Emulator
from tests.support.archives import DAY, archived, catalogued, day_folder, execute, fill

FOLDER = day_folder()


async def test_what_is_adopted_is_on_the_disk_for_good_before_its_row(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(emulator, 2)
    await archived(client, tmp_path)
    for path in tmp_path.glob("catalog*"):
        path.unlink()
    synced: dict[str, int] = {}

    def rows() -> int:
        with closing(sqlite3.connect(path_of(tmp_path))) as catalog:
            return int(catalog.execute("SELECT count(*) FROM recordings").fetchone()[0])

    real_many, real_folder = files_module.sync_many, files_module.sync_folder

    def many(paths) -> None:
        real_many(paths)
        synced.update((os.path.basename(path), rows()) for path in paths)

    def folder(path: Path) -> None:
        real_folder(path)
        synced[path.name] = rows()

    monkeypatch.setattr(files_module, "sync_many", many)
    monkeypatch.setattr(files_module, "sync_folder", folder)
    report = await archived(client, tmp_path)
    assert report.already_archived == 2
    assert synced == {"recording-call_0.wav": 0, "recording-call_1.wav": 0, FOLDER.name: 0}


async def test_what_another_process_has_put_there_meanwhile_is_synced_before_its_row(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(emulator, 1)
    await archived(client, tmp_path / "theirs")
    name = FOLDER / "recording-call_0.wav"
    synced: list[str] = []

    class Faster(Observer):
        def bytes(self, count: int) -> None:
            (tmp_path / "ours" / FOLDER).mkdir(parents=True, exist_ok=True)
            shutil.copy(tmp_path / "theirs" / name, tmp_path / "ours" / name)

    monkeypatch.setattr(files_module, "sync_many", synced.extend)
    report = await Archive(tmp_path / "ours").run(client, observer=Faster())
    assert report.already_archived == 1
    assert synced == [str(tmp_path / "ours" / name)]


async def test_the_same_bytes_are_taken_in_whatever_their_header_says(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    """Neither header nor sum vouches for it; that its bytes are those of the row does."""
    fill(emulator, 1)
    emulator.fail(route="recording", wav="long")
    await archived(client, tmp_path, RunOptions(checksums=False), sums=False)
    path = tmp_path / FOLDER / "recording-call_0.wav"
    data = path.read_bytes()
    await execute(tmp_path, "UPDATE recordings SET state = 'failed', last_error = 'gone'")
    asked = emulator.requests.count("recording")
    await archived(client, tmp_path, RunOptions(checksums=False), sums=False)
    assert emulator.requests.count("recording") == asked
    assert path.read_bytes() == data
    (row,) = (await catalogued(tmp_path)).values()
    assert row.state == "suspect"


async def test_what_a_sum_vouches_for_is_not_moved_for_an_older_catalogs_word(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 1)
    emulator.fail(route="recording", wav="streamed")
    await archived(client, tmp_path)
    await execute(tmp_path, "UPDATE recordings SET sha256 = ?, size = 7", "0" * 64)
    asked = emulator.requests.count("recording")
    report = await archived(client, tmp_path)
    assert (report.failed, report.already_archived) == (0, 1)
    assert emulator.requests.count("recording") == asked
    assert not list(tmp_path.rglob("*.damaged*"))


@pytest.mark.parametrize("kind", ["link", "dangling", "folder"])
async def test_what_is_in_the_way_is_named(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, kind
):
    fill(emulator, 1)
    folder = tmp_path / "archive"
    place = folder / FOLDER / "recording-call_0.wav"
    place.parent.mkdir(parents=True)
    outside = tmp_path / "outside.wav"
    outside.write_bytes(b"mine")
    match kind:
        case "link":
            place.symlink_to(outside)
        case "dangling":
            place.symlink_to(tmp_path / "nowhere")
        case "folder":
            place.mkdir()
    for _ in range(2):
        report = await Archive(folder).run(client, options=RunOptions(refresh=True))
        ((_, error),) = report.failures
        assert "is in the way at 2026/03/14/recording-call_0.wav; move it away" in str(error)
        assert ("a folder" if kind == "folder" else "a symbolic link") in str(error)
        assert "run again" not in str(error)
    assert outside.read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()


async def test_clocks_that_were_set_back_cost_no_sums(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 1)
    await archived(client, tmp_path)
    emulator.add_call(id="later", started_at=DAY + timedelta(minutes=9), duration=0.1)
    await archived(client, tmp_path, RunOptions(checksums=False), sums=False)
    await execute(
        tmp_path,
        "UPDATE settings SET value = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '+2 hours') "
        "WHERE name = 'evidence_written'",
    )
    async with SidecarFiles(tmp_path) as files:
        await files.finish_sums([])
    assert "recording-later.wav" in (tmp_path / FOLDER / SUMS_NAME).read_text()


@pytest.mark.parametrize("dated", [True, False])
async def test_a_recording_is_as_old_as_its_call(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, dated
):
    fill(emulator, 1, duration=30.0)
    emulator.add_call(id="large", started_at=DAY, duration=90.0)
    options = RunOptions(mtime=dated)
    await archived(client, tmp_path, options)
    for call_id, seconds in (("call_0", 30), ("large", 90)):
        written = (tmp_path / FOLDER / f"recording-{call_id}.wav").stat().st_mtime
        assert (abs(written - DAY.timestamp() - seconds) < 1) is dated
    emulator.change_recording("call_0")
    await archived(client, tmp_path, RunOptions(mtime=dated, refresh=True))
    second = tmp_path / FOLDER / "recording-call_0.v2.wav"
    assert (second.stat().st_mtime < DAY.timestamp() + 100) is dated
    second.unlink()
    await repair(tmp_path, client)
    assert second.stat().st_mtime < DAY.timestamp() + 100
