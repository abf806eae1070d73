"""Processes that end in the middle, whether they are asked to or not."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest

from agentphone_async.archive.catalog.opening import path_of
from agentphone_async.archive.rebuild import rebuild
from agentphone_async.errors import CatalogError
from tests.faults.command import Command, requested
from tests.faults.conftest import Scene
from tests.recordings.test_fetch_resume import offset_of, part, whole
from tests.support.downloads import wave
from tests.support.raw_server import RawServer, then_hold

MANY = 100


@pytest.fixture
def many(scene: Scene) -> Scene:
    """Enough calls, served slowly enough, to be caught in the middle."""
    for number in range(MANY - len(scene.emulator.calls)):
        scene.add(id=f"more_{number:03}", duration=0.1 + number / 50)
    scene.emulator.settings.latency = 0.02
    scene.oracle.sidecars = True
    return scene


@pytest.mark.parametrize("after", [1, 20, 70])
async def test_sigkill_leaves_only_whole_files_and_the_next_run_goes_on(many: Scene, after):
    command = await Command.archive(many.emulator, many.folder, "--quiet")
    await requested(many.emulator, lambda: many.emulator.requests.count("recording") >= after)
    command.signal(signal.SIGKILL)
    assert (await command.ended()).code == -signal.SIGKILL
    many.emulator.settings.latency = 0.0
    await many.oracle.holds(killed=True)


async def test_sigkill_in_a_large_recording_costs_only_what_had_not_come(tmp_path):
    body = wave(10 * 1024 * 1024)
    script = then_hold(whole(body)[: -len(body) // 2]), whole(body), part(body)
    async with RawServer(*script) as server:
        fetch = ("fetch", "call_x", "--dest", str(tmp_path), "--base-url", server.base_url)

        def written() -> int:
            return sum(part.stat().st_size for part in tmp_path.glob(".agentphone-*.part"))

        command = await Command.start(*fetch)
        async with asyncio.timeout(30):
            while not (list(tmp_path.glob(".agentphone-*.note")) and written()):
                await asyncio.sleep(0.01)
        command.signal(signal.SIGKILL)
        await command.ended()
        size = written()
        ended = await (await Command.start(*fetch)).ended()
        assert ended.code == 0, ended.err
        assert offset_of(server.requests[2]) == size > 0
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == body


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_one_signal_ends_cleanly_and_says_what_is_left(many: Scene, number):
    command = await Command.archive(many.emulator, many.folder)
    await requested(many.emulator, lambda: many.emulator.requests.count("recording") >= 40)
    command.signal(number)
    ended = await asyncio.wait_for(command.ended(), timeout=6)
    assert ended.code == 130
    assert "left" in ended.err
    many.emulator.settings.latency = 0.0
    await many.oracle.at_rest()
    assert await many.oracle.disk(), "what was finished is catalogued"
    await many.oracle.holds()


async def test_two_signals_end_at_once(many: Scene):
    many.emulator.fail(route="recording", stall="headers", skip=20)
    command = await Command.archive(many.emulator, many.folder)
    await requested(many.emulator, lambda: many.emulator.requests.count("recording") >= 22)
    command.signal(signal.SIGINT)
    assert command.process.stderr is not None
    async with asyncio.timeout(10):
        while b"stopping" not in (line := await command.process.stderr.readline()):
            assert line
    command.signal(signal.SIGINT)
    ended = await asyncio.wait_for(command.ended(), timeout=2)
    assert ended.code == 130
    many.emulator.settings.latency = 0.0
    await many.oracle.holds(killed=True)


async def test_transfers_that_do_not_end_are_dropped_within_five_seconds(many: Scene):
    many.emulator.fail(route="recording", stall=1000, skip=20)
    command = await Command.archive(many.emulator, many.folder, "--json")
    await requested(many.emulator, lambda: many.emulator.requests.count("recording") >= 22)
    command.signal(signal.SIGINT)
    ended = await asyncio.wait_for(command.ended(), timeout=6)
    assert ended.code == 130
    summary = json.loads(ended.out.splitlines()[-1])
    assert summary["event"] == "summary"
    assert summary["left"] == summary["listed"] - summary["archived"] > 0
    many.emulator.settings.latency = 0.0
    await many.oracle.holds()


async def test_a_reader_that_goes_away_breaks_nothing(many: Scene):
    many.emulator.settings.latency = 0.0
    reading, writing = os.pipe()
    command = await Command.archive(many.emulator, many.folder, "--json", stdout=writing)
    os.close(writing)
    os.close(reading)
    ended = await asyncio.wait_for(command.ended(), timeout=20)
    assert ended.code >= 0
    await many.oracle.holds()


@pytest.mark.parametrize("damage", ["torn log", "torn catalog", "nonsense"])
async def test_a_torn_catalog_is_said_clearly_and_rebuilt(many: Scene, damage):
    many.emulator.settings.latency = 0.0
    await many.run()
    path = path_of(many.folder)
    data = path.read_bytes()
    match damage:
        case "torn log":
            path.with_name(path.name + "-wal").write_bytes(os.urandom(5000))
        case "torn catalog":
            path.write_bytes(data[: len(data) // 2 // 4096 * 4096])
        case "nonsense":
            path.write_bytes(os.urandom(len(data)))
    if damage != "torn log":
        with pytest.raises(CatalogError, match="catalog rebuild"):
            await many.run()
        ended = await (await Command.archive(many.emulator, many.folder)).ended()
        assert ended.code == 4
        assert len(ended.err.strip().splitlines()) == 1, ended.err
        report = await rebuild(many.folder)
        assert report.recordings == MANY
    asked = many.emulator.requests.count("recording")
    again = await many.run()
    assert again.already_archived == MANY
    assert many.emulator.requests.count("recording") == asked
    await many.oracle.holds(again)
