"""Disks that fail: the run stops, says so, leaves nothing partial, and blames no recording."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentphone_async import Archive, Fsync, RunOptions
from agentphone_async.archive.catalog import database as catalog_module
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.recordings import count_states
from agentphone_async.errors import CatalogError, DestinationError
from tests.faults.broken_disk import STEPS, BrokenDisk
from tests.faults.conftest import Scene

ERRORS = {
    errno.ENOSPC: "disk is full",
    errno.EIO: "disk reports an error",
    errno.EDQUOT: "quota",
    errno.EROFS: "read-only",
    errno.EACCES: "no permission",
    errno.ENAMETOOLONG: "too long",
}


async def states(folder: Path) -> dict[str, int]:
    async with await Catalog.open(folder, write=False) as catalog:
        return await catalog.run(count_states)


async def breaks(scene: Scene, disk: BrokenDisk, match: str) -> None:
    """A run that ends with the disk; then a whole disk, and the oracle."""
    with pytest.raises(DestinationError, match=match):
        await scene.run()
    assert disk.hits
    disk.mended = True
    found = await states(scene.folder)
    assert set(found) <= {"archived"}, "nothing is failed or absent because of the disk"
    await scene.oracle.holds()


@pytest.mark.parametrize("step", STEPS)
async def test_a_full_disk_stops_the_run_at_every_step(scene: Scene, monkeypatch, step):
    await breaks(
        scene, BrokenDisk(monkeypatch, scene.folder, step, errno.ENOSPC), ERRORS[errno.ENOSPC]
    )


@pytest.mark.parametrize("step", STEPS)
async def test_a_disk_that_fills_up_on_the_way_keeps_what_it_has(scene: Scene, monkeypatch, step):
    for number in range(40):
        scene.add(id=f"more_{number}", duration=0.1)
    after = 0 if step in {"mkdir", "sync folder"} else 20
    disk = BrokenDisk(monkeypatch, scene.folder, step, errno.ENOSPC, after=after)
    await breaks(scene, disk, ERRORS[errno.ENOSPC])


@pytest.mark.parametrize("error", [number for number in ERRORS if number != errno.ENOSPC])
@pytest.mark.parametrize("step", ["open", "rename"])
async def test_every_error_of_the_disk_is_called_by_its_name(
    scene: Scene, monkeypatch, step, error
):
    await breaks(scene, BrokenDisk(monkeypatch, scene.folder, step, error), ERRORS[error])


@pytest.mark.parametrize("step", ["open", "write"])
async def test_a_large_recording_meets_the_full_disk_while_it_arrives(
    scene: Scene, monkeypatch, step
):
    scene.large()
    disk = BrokenDisk(monkeypatch, scene.folder, step, errno.ENOSPC)
    await breaks(scene, disk, ERRORS[errno.ENOSPC])


@pytest.mark.parametrize("fsync", Fsync)
async def test_each_way_of_syncing_meets_the_failing_sync(scene: Scene, monkeypatch, fsync):
    disk = BrokenDisk(monkeypatch, scene.folder, "fsync", errno.EIO)
    scene.oracle.options = RunOptions(fsync=fsync)
    if fsync is Fsync.OFF:
        await scene.endures()
        assert not disk.hits
        return
    await breaks(scene, disk, ERRORS[errno.EIO])


@pytest.mark.parametrize("commit", ["planned", "fetched"])
@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR])
async def test_a_commit_that_fails_costs_rows_and_no_recording(
    scene: Scene, monkeypatch, commit, code
):
    real = catalog_module.in_transaction

    def failing(connection, work):
        def and_then_fail():
            result = work()
            (known,) = connection.execute("SELECT count(*) FROM recordings").fetchone()
            (planned,) = connection.execute("SELECT count(*) FROM calls").fetchone()
            if not (known if commit == "fetched" else planned):
                return result
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = code
            raise error

        return real(connection, and_then_fail)

    monkeypatch.setattr(catalog_module, "in_transaction", failing)
    with pytest.raises(CatalogError):
        await scene.run()
    monkeypatch.setattr(catalog_module, "in_transaction", real)
    assert await states(scene.folder) == {}
    files = list(scene.folder.rglob("*.wav"))
    assert bool(files) == (commit == "fetched"), "what was published before the commit stays"
    asked = scene.emulator.requests.count("recording")
    again = await scene.run()
    assert again.already_archived == len(files), "and is adopted, not fetched again"
    assert scene.emulator.requests.count("recording") == asked + 6 - len(files)
    await scene.oracle.holds(again)


async def test_short_writes_are_completed(scene: Scene, monkeypatch):
    real = os.write

    def stingy(fd, data):
        return real(fd, bytes(data[:1000]))

    def stingy_vector(fd, buffers):
        return real(fd, b"".join(bytes(one) for one in buffers)[:700])

    name = str(scene.folder)

    def only_ours(short, whole):
        def write(fd, data):
            ours = os.readlink(f"/proc/self/fd/{fd}").startswith(name)
            return short(fd, data) if ours else whole(fd, data)

        return write

    monkeypatch.setattr(os, "write", only_ours(stingy, real))
    monkeypatch.setattr(os, "writev", only_ours(stingy_vector, os.writev))
    await scene.endures()


# ------------------------------------------------------------------ the system's own limits


async def in_a_process(scene: Scene, *limits: str) -> dict[str, object]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.archiver", str(scene.folder),
        scene.emulator.base_url, scene.emulator.api_key, *limits,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert b"Traceback" not in err
    report: dict[str, object] = json.loads(out)
    return report


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs RLIMIT_FSIZE")
async def test_a_file_size_limit_of_the_system(scene: Scene):
    scene.add(id="long", duration=40.0)
    said = await in_a_process(scene, "fsize=300000")
    assert said["error"] == "DestinationError"
    assert "too large" in str(said["line"]).lower()
    await scene.oracle.holds()


async def test_few_descriptors_mean_fewer_at_a_time(scene: Scene):
    for number in range(60):
        scene.add(id=f"more_{number}", duration=0.1)
    said = await in_a_process(scene, "nofile=24")
    assert (said.get("archived"), said.get("failed")) == (66, 0), said
    assert scene.emulator.requests.peak_in_flight <= 16
    await scene.oracle.holds()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "mount"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(where)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield where
    subprocess.run(["umount", str(where)], check=True)


async def test_a_real_disk_of_one_megabyte(scene: Scene, small_disk: Path, tmp_path: Path):
    for number in range(40):
        scene.add(id=f"more_{number}", duration=2.0)
    scene.folder = scene.oracle.folder = small_disk / "archive"
    with pytest.raises(DestinationError, match="full"):
        await scene.run(archive=Archive(scene.folder))
    assert set(await states(scene.folder)) <= {"archived"}
    await scene.oracle.at_rest()
    await scene.oracle.disk()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    await scene.oracle.holds()


# ------------------------------------------------------------------ places that are none


async def test_a_destination_that_is_a_file_is_refused(scene: Scene):
    scene.folder.write_text("mine")
    with pytest.raises(DestinationError, match="is a file"):
        await scene.run()
    assert scene.folder.read_text() == "mine"
    assert len(scene.emulator.requests) == 0
    scene.folder.unlink()
    await scene.oracle.holds()


@pytest.mark.parametrize("how", ["deleted", "altered"])
async def test_a_file_that_changes_behind_our_back_comes_back(scene: Scene, how):
    await scene.run()
    path = next(scene.folder.rglob("recording-call_0.wav"))
    if how == "deleted":
        path.unlink()
    else:
        path.write_bytes(b"overwritten by somebody")
    scene.oracle.aside = how == "altered"
    report = await scene.run()
    assert (report.archived, report.already_archived) == (1, 5)
    await scene.oracle.holds(report)
