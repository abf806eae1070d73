"""Calls that were erased: nothing of them is left, and nothing brings them back."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agentphone_async import AsyncAgentPhone, Failed, LocalSink
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.erased import erased_after
from agentphone_async.archive.erase import ErasureReport, forget, hold, prune
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.query import entries
from agentphone_async.archive.rebuild import rebuild
from agentphone_async.archive.repair import repair
from agentphone_async.archive.tombstones import is_erased
from agentphone_async.archive.verify import verify
from agentphone_async.emulator import Emulator
from agentphone_async.errors import (
    ArchiveLockedError,
    CatalogError,
    ConfigurationError,
    RecordingErasedError,
)
from agentphone_async.sinks.erased import ERASED_NAME, SETTINGS_NAME
from tests.support.archives import (
    DAY,
    archived,
    catalogued,
    day_folder,
    execute,
    fill,
    sha256sum_accepts,
)

ALL = {"metadata": True, "transcripts": True}
FOLDER = day_folder()


def traces(folder: Path, *words: str) -> dict[str, list[str]]:
    """In which files of an archive, and in which names, these words still are."""
    found: dict[str, list[str]] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        data = b"" if path.is_dir() else path.read_bytes()
        hits = [word for word in words if word in name or word.encode() in data]
        if hits:
            found[name] = hits
    return found


def number_of(emulator: Emulator, call_id: str) -> str:
    number = emulator.call(call_id).from_number
    assert number is not None
    return number


@pytest.mark.parametrize("hash_ids", [False, True], ids=["plain", "hashed"])
async def test_nothing_is_left_of_a_forgotten_call(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, hash_ids
):
    fill(emulator, 3, from_number="+15550001111")
    emulator.add_call(id="gone", started_at=DAY, duration=0.2, from_number="+15559998888")
    options = RunOptions(hash_ids=hash_ids)
    await archived(client, tmp_path, options, **ALL)
    emulator.change_recording("gone")
    await archived(client, tmp_path, RunOptions(hash_ids=hash_ids, refresh=True), **ALL)
    mine = [path for path, one in (await catalogued(tmp_path)).items() if one.call_id == "gone"]
    assert len(mine) == 5, "two versions, and three files beside them"
    for path in mine:
        if path.endswith(".wav"):
            (tmp_path / f"{path}.damaged").write_bytes(b"kept aside")
            (tmp_path / f"{path}.altered-0123abcd-2").write_bytes(b"kept aside")
            (tmp_path / path).with_suffix(".flac.damaged").write_bytes(b"kept aside")
    await rebuild(tmp_path)  # leaves an old catalog, which has it all, too
    words = ("gone", "+15559998888", *(Path(path).stem for path in mine))
    assert traces(tmp_path, *words)
    dry = await forget(tmp_path, ["gone", "never"])
    assert (dry.dry_run, dry.calls, dry.unknown) == (True, 1, 1)
    assert (dry.recordings, dry.sidecars, dry.others) == (2, 3, 6)
    assert not (tmp_path / ERASED_NAME).exists()
    assert all((tmp_path / path).exists() for path in mine)
    done = await forget(tmp_path, ["gone", "never"], dry_run=False)
    assert done.as_dict() == dry.as_dict() | {"dry_run": False}
    assert traces(tmp_path, *words) == {}
    assert sha256sum_accepts(tmp_path / FOLDER)
    assert (await verify(tmp_path)).clean
    assert (tmp_path / ERASED_NAME).stat().st_mode & 0o777 == 0o600
    assert is_erased(tmp_path, "gone")
    assert is_erased(tmp_path, "never")
    assert not is_erased(tmp_path, "call_0")
    async with await Catalog.open(tmp_path, write=False) as catalog:
        entry, nothing = sorted(await catalog.run(erased_after), key=lambda one: -(one.bytes or 0))
        assert (entry.recordings, entry.sidecars, entry.others) == (2, 3, 6)
        assert (entry.bytes, nothing.bytes) == (done.bytes, 0)
        listed = [one async for batch in entries(catalog, states=["erased"]) for one in batch]
        assert [one.state for one in listed] == ["erased", "erased"]
        assert not traces(tmp_path, *words)
        everything = [one async for batch in entries(catalog) for one in batch]
        assert {one.call.id for one in everything} == {"call_0", "call_1", "call_2"}
    again = await forget(tmp_path, ["gone"], dry_run=False)
    assert (again.calls, again.unknown, again.bytes) == (0, 1, 0)


async def back_by_refresh(client: AsyncAgentPhone, folder: Path) -> None:
    await archived(client, folder, RunOptions(refresh=True, recheck=True, probe_all=True), **ALL)


async def back_by_repair(client: AsyncAgentPhone, folder: Path) -> None:
    await repair(folder, client)


async def back_by_rebuild(_: AsyncAgentPhone, folder: Path) -> None:
    await rebuild(folder)


async def back_by_a_lost_catalog(_: AsyncAgentPhone, folder: Path) -> None:
    for path in folder.glob("catalog.sqlite3*"):
        path.unlink()
    await rebuild(folder)


async def back_by_lost_tombstones(client: AsyncAgentPhone, folder: Path) -> None:
    (folder / ERASED_NAME).unlink()
    await back_by_refresh(client, folder)


async def back_by_lost_settings(client: AsyncAgentPhone, folder: Path) -> None:
    (folder / SETTINGS_NAME).unlink()
    await back_by_refresh(client, folder)


async def back_by_prune(_: AsyncAgentPhone, folder: Path) -> None:
    await prune(folder, timedelta(days=100_000), dry_run=False)


async def back_by_fetch(client: AsyncAgentPhone, folder: Path) -> None:
    """Into the archive, below it, through a link from elsewhere, as a file, and with a sink."""
    link = folder.parent / f"{folder.name}-link"
    if not link.is_symlink():
        link.symlink_to(folder / FOLDER, target_is_directory=True)
    for dest in (folder, folder / "new" / "place", link, f"file://{folder}", LocalSink(folder)):
        with pytest.raises(RecordingErasedError):
            await client.fetch_recording("call_1", dest, overwrite=True)
        (outcome,) = [one async for one in client.download_recordings(["call_1"], dest)]
        assert isinstance(outcome, Failed), dest
        assert isinstance(outcome.error, RecordingErasedError), dest
    with pytest.raises(RecordingErasedError):
        await client.fetch_recording("call_1", path=folder / "my.wav")


WAYS: list[Callable[[AsyncAgentPhone, Path], Awaitable[None]]] = [
    back_by_refresh,
    back_by_repair,
    back_by_rebuild,
    back_by_a_lost_catalog,
    back_by_prune,
    back_by_lost_tombstones,
    back_by_lost_settings,
    back_by_fetch,
]


@settings(
    max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(order=[back_by_a_lost_catalog, back_by_fetch, back_by_lost_tombstones])
@example(order=[back_by_lost_settings, back_by_a_lost_catalog])
@given(order=st.lists(st.sampled_from(WAYS), min_size=2, max_size=4))
async def test_tombstones_never_come_back(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path_factory, order
):
    folder = tmp_path_factory.mktemp("archive")
    if not len(emulator.calls):
        fill(emulator, 3)
    await archived(client, folder, **ALL)
    await forget(folder, ["call_1"], dry_run=False)
    asked = [request.target for request in emulator.requests if "call_1/" in request.target]
    for way in order:
        await way(client, folder)
        assert traces(folder, "call_1") == {}, way.__name__
    assert asked == [
        request.target for request in emulator.requests if "call_1/" in request.target
    ], "it was asked for"
    assert {one.call_id for one in (await catalogued(folder)).values()} == {"call_0", "call_2"}


async def test_it_goes_by_age_but_not_what_is_held_or_kept(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 4)
    emulator.add_call(id="new", started_at=DAY + timedelta(days=30), duration=0.2)
    emulator.add_call(id="out", started_at=DAY, duration=0.2, direction="outbound")
    await archived(client, tmp_path)
    assert await hold(tmp_path, ["call_0", "call_1"]) == 2
    assert await hold(tmp_path, ["call_0"]) == 0
    assert await hold(tmp_path, ["call_1"], release=True) == 1
    how = {"keep": {"direction": ["Outbound"]}, "now": DAY + timedelta(days=31)}
    dry = await prune(tmp_path, timedelta(days=30), **how)
    assert (dry.calls, dry.recordings, dry.held, dry.dry_run) == (3, 3, 1, True)
    assert len(await catalogued(tmp_path)) == 6
    done = await prune(tmp_path, timedelta(days=30), dry_run=False, **how)
    assert (done.calls, done.bytes) == (3, dry.bytes)
    left = {one.call_id for one in (await catalogued(tmp_path)).values()}
    assert left == {"call_0", "new", "out"}
    refused = await forget(tmp_path, ["call_0"], dry_run=False)
    assert (refused.held, refused.calls, refused.held_ids) == (1, 0, ["call_0"])
    await hold(tmp_path, ["call_0"], release=True)
    assert (await forget(tmp_path, ["call_0"], dry_run=False)).calls == 1
    with pytest.raises(ConfigurationError, match="'colour'"):
        await prune(tmp_path, timedelta(days=1), keep={"colour": ["red"]})


async def test_holds_outlive_the_catalog(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 2)
    await archived(client, tmp_path)
    await hold(tmp_path, ["call_0"])
    await back_by_a_lost_catalog(client, tmp_path)
    assert (await prune(tmp_path, timedelta(0), dry_run=False)).held == 1
    assert {one.call_id for one in (await catalogued(tmp_path)).values()} == {"call_0"}


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from agentphone_async.archive.erase import forget

def die_at(step):
    left = step
    def watch(event, arguments):
        nonlocal left
        if event in {"os.rename", "os.link", "os.remove", "os.rmdir"} or (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
            and "erased" in str(arguments[0])
        ):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)

for folder in sys.argv[1:]:
    child = os.fork()
    if not child:
        die_at(int(Path(folder).name))
        asyncio.run(forget(folder, ["call_1"], dry_run=False))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in {0, signal.SIGKILL}, status
    print(status)
"""


async def test_a_killed_erasure_is_finished_by_whoever_comes_next(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 3)
    steps = (0, 1, 2, 4, 6, 8, 10)
    folders = [tmp_path / str(step) for step in steps]
    await archived(client, folders[0], **ALL)
    for folder in folders[1:]:
        shutil.copytree(folders[0], folder)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *folders], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split().count(str(int(signal.SIGKILL))) >= 5
    for step, folder in zip(steps, folders, strict=True):
        begun = is_erased(folder, "call_1")
        if step % 4 == 0:
            await back_by_a_lost_catalog(client, folder)
        await archived(client, folder, **ALL)
        if begun:
            assert traces(folder, "call_1") == {}, step
        else:
            assert step <= 1, "the tombstone comes first"
        assert (await verify(folder)).clean, step
        assert (await forget(folder, ["call_1"], dry_run=False)).held == 0
        assert traces(folder, "call_1") == {}, step


async def test_another_calls_file_stays_though_a_template_calls_it_the_same(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 2)
    await archived(client, tmp_path)
    stranger = tmp_path / FOLDER / "recording-call_0.v2.wav.txt"
    stranger.write_text("mine")
    await execute(
        tmp_path,
        "UPDATE recordings SET path = 'elsewhere/recording-call_1.wav' WHERE call_id = 'call_0'",
    )
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / FOLDER / "recording-call_0.wav").rename(
        tmp_path / "elsewhere" / "recording-call_1.wav"
    )
    await execute(
        tmp_path,
        "UPDATE recordings SET path = 'elsewhere/recording-call_1.v2.wav' WHERE call_id = 'call_1'",
    )
    (tmp_path / FOLDER / "recording-call_1.wav").rename(
        tmp_path / "elsewhere" / "recording-call_1.v2.wav"
    )
    await forget(tmp_path, ["call_1"], dry_run=False)
    assert [path.name for path in (tmp_path / "elsewhere").glob("*.wav")] == [
        "recording-call_1.wav"
    ]
    assert stranger.exists()


async def test_no_link_leads_an_erasure_out_of_the_archive(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 1)
    folder = tmp_path / "archive"
    await archived(client, folder)
    outside = tmp_path / "outside"
    (folder / FOLDER).rename(outside)
    (folder / FOLDER).symlink_to(outside)
    with pytest.raises(CatalogError, match="outside of the archive"):
        await forget(folder, ["call_0"], dry_run=False)
    assert (outside / "recording-call_0.wav").exists()


async def test_what_else_keeps_things_of_calls_is_asked(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 2)
    await archived(client, tmp_path)
    asked: list[tuple[Path, list[str]]] = []

    def inbox(folder: Path, ids) -> int:
        asked.append((folder, list(ids)))
        return 7

    report = await forget(tmp_path, ["call_1"], dry_run=False, also=[inbox])
    assert asked == [(tmp_path, ["call_1"])]
    assert report.others == 7


async def test_a_run_at_work_is_not_disturbed(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    from agentphone_async.archive.lock import ArchiveLock

    fill(emulator, 1)
    await archived(client, tmp_path)
    with ArchiveLock(tmp_path) as lock:
        lock.acquire()
        assert (await forget(tmp_path, ["call_0"])).calls == 1, "looking is allowed"
        with pytest.raises(ArchiveLockedError):
            await forget(tmp_path, ["call_0"], dry_run=False)
        with pytest.raises(ArchiveLockedError):
            await hold(tmp_path, ["call_0"])


def test_reports_are_dicts_without_ids():
    report = ErasureReport(dry_run=True, held_ids=["secret"])
    assert "secret" not in str(report.as_dict())
