"""Two at once, cancellation at the worst moment, slow disks, and poison."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from agentphone_async import Archive, AsyncAgentPhone, Observer, RunOptions, Timeouts
from agentphone_async.archive import lock
from agentphone_async.errors import ArchiveLockedError
from tests.conftest import BRISK
from tests.faults.command import Command, requested
from tests.faults.conftest import Scene


async def test_the_second_archiver_is_told_who_holds_the_archive(scene: Scene):
    scene.fail_one(stall="headers", times=1)
    archive = Archive(scene.folder)
    first = asyncio.create_task(
        scene.run(archive=archive, timeouts=Timeouts(), options=RunOptions(stop_grace=0.0))
    )
    await requested(scene.emulator, lambda: scene.emulator.requests.count("recording") == 6)
    with pytest.raises(ArchiveLockedError, match=f"process {os.getpid()} on "):
        await scene.run()
    ended = await (await Command.archive(scene.emulator, scene.folder)).ended()
    assert ended.code == 5
    assert f"process {os.getpid()} on " in ended.err
    archive.stop()
    report = await first
    assert (report.archived, report.left) == (5, 1)
    await scene.oracle.holds(report)


@pytest.mark.parametrize("archivers", [2, 4])
async def test_archivers_that_ignore_the_lock_are_still_correct(
    scene: Scene, monkeypatch, archivers
):
    monkeypatch.setattr(lock, "_lock", lambda fd: None)
    for number in range(90):
        scene.add(id=f"more_{number}", duration=0.1)
    scene.fail_one(wav="list")  # no two of them may disagree about it, either
    from agentphone_async.emulator import damaged_wave

    scene.oracle.altered[scene.first.id] = damaged_wave(
        scene.emulator.expected_audio(scene.first.id), "list"
    )
    reports = await asyncio.gather(*(scene.run(timeouts=Timeouts()) for _ in range(archivers)))
    assert sum(report.failed for report in reports) == 0
    for report in reports:
        scene.oracle.counts(report)
        assert report.archived + report.already_archived == 96
    assert sum(report.archived for report in reports) == 96, "each was archived by one of them"
    await scene.oracle.holds()


class Held:
    """Holds a call of the operating system in its thread until it is let go."""

    def __init__(self, patch: pytest.MonkeyPatch, name: str, folder: object) -> None:
        self._loop = asyncio.get_running_loop()
        self._go = threading.Event()
        self.reached = asyncio.Event()
        self.calls = 0
        real = getattr(os, name)

        def held(first, *args, **more):
            where = (
                os.fspath(first)
                if isinstance(first, str | os.PathLike)
                else os.readlink(f"/proc/self/fd/{first}")
            )
            below = os.path.dirname(where).startswith(f"{folder}/")  # not the archive's settings
            if below and where.endswith(".part"):
                self.calls += 1
                self._loop.call_soon_threadsafe(self.reached.set)
                assert self._go.wait(20)
            return real(first, *args, **more)

        patch.setattr(os, name, held)

    def let_go(self) -> None:
        self._go.set()


@pytest.mark.parametrize("where", ["write", "writev", "link", "unlink"])
@pytest.mark.parametrize("again", [False, True])
async def test_cancelling_waits_for_the_thread_and_leaves_nothing(
    scene: Scene, monkeypatch, where, again
):
    scene.large()
    held = Held(monkeypatch, where, scene.folder)
    run = asyncio.create_task(scene.run())
    waits = asyncio.create_task(held.reached.wait())
    await asyncio.wait((run, waits), return_when=asyncio.FIRST_COMPLETED)
    if not held.calls:
        waits.cancel()
        held.let_go()
        report = await run
        pytest.skip(f"{where} is not used here: {report.archived}")
    run.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    if again:
        run.cancel()
        await asyncio.sleep(0)
    assert not run.done(), "the thread is still at it"
    held.let_go()
    with pytest.raises(asyncio.CancelledError):
        await run
    await scene.oracle.at_rest()
    assert not list(scene.folder.rglob("*.part"))
    await scene.oracle.holds()


async def test_a_slow_disk_slows_the_network_and_memory_stays_flat(scene: Scene, monkeypatch):
    for number in range(60):
        scene.add(id=f"more_{number:03}", duration=60.0)  # about a megabyte each
    held = Held(monkeypatch, "close", scene.folder)  # the end of every write
    run = asyncio.create_task(scene.run(options=RunOptions(transfers=8)))
    await held.reached.wait()
    quiet = 0
    asked = -1
    while quiet < 50:  # until nothing more is asked for
        await asyncio.wait([run], timeout=0.002)
        now = scene.emulator.requests.count("recording")
        quiet = quiet + 1 if now == asked else 0
        asked = now
    assert asked < 50, "the byte budget is all that came"
    held.let_go()
    report = await run
    assert report.archived == 66
    await scene.oracle.holds(report)


async def test_one_poisonous_recording_does_not_hold_up_the_others(scene: Scene):
    for number in range(40):
        scene.add(id=f"more_{number}", duration=0.1)
    scene.fail_one(stall=100)
    archived: list[str] = []

    class Noting(Observer):
        def settled(self, outcome):
            archived.append(outcome.call_id)

    report = await scene.run(observer=Noting(), options=RunOptions(transfers=2))
    assert (report.archived, report.failed) == (45, 1)
    assert archived[-1] == scene.first.id, "the others did not wait for it"
    await scene.oracle.holds(report)


async def test_an_observer_that_raises_is_isolated(scene: Scene, caplog):
    class Broken(Observer):
        def settled(self, outcome):
            raise ValueError("a bug in a progress bar")

    await scene.endures(observer=Broken())
    assert sum("observer failed" in record.message for record in caplog.records) == 1


async def test_a_run_that_is_cancelled_anywhere_leaves_a_sound_archive(scene: Scene):
    for number in range(30):
        scene.add(id=f"more_{number}", duration=0.1)
    for turns in range(0, 400, 23):
        async with AsyncAgentPhone(
            scene.emulator.api_key, base_url=scene.emulator.base_url, retry=BRISK
        ) as client:
            run = asyncio.create_task(Archive(scene.folder).run(client))
            for _ in range(turns):
                await asyncio.sleep(0)
            run.cancel()
            await asyncio.wait([run])
        await scene.oracle.at_rest()
        if scene.folder.exists():
            assert not list(scene.folder.rglob("*.part"))
    await scene.oracle.holds()
