"""Real processes, killed at random moments over one archive, by a server that fails, too."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentphone_async.archive.verify import verify
from agentphone_async.emulator import Emulator
from tests.faults.command import Command, requested
from tests.faults.oracle import Oracle

FIRST, MORE = 80, 10
"""Calls at first, and with each round, so that there is always something to do."""


def add_calls(emulator: Emulator, dice: random.Random, count: int) -> None:
    """More calls of three days ago: one in ten without a recording, and now and then a long one."""
    began = datetime.now(UTC) - timedelta(days=3)
    have = len(emulator.calls)
    for number in range(have, have + count):
        emulator.add_call(
            id=f"call_{number:05}",
            started_at=began + timedelta(seconds=number),
            duration=600.0 if number % 100 == 50 else dice.uniform(0.1, 3.0),
            recording=number % 10 != 9,
            recording_available=number % 10 != 9,
        )


@pytest.fixture
async def restless(seed: int) -> AsyncIterator[Emulator]:
    """Calls, among them large ones; a tenth of all requests goes wrong."""
    async with Emulator(seed=seed) as emulator:
        add_calls(emulator, random.Random(seed), FIRST)
        emulator.settings.latency = 0.005
        trouble(emulator)
        yield emulator


def trouble(emulator: Emulator) -> None:
    """10 % of all requests fail, each in another way."""
    for fault in (
        {"status": 503, "retry_after": 0},
        {"status": 500},
        {"reset": "connection"},
        {"reset": 700},
        {"truncate": -50},
    ):
        emulator.fail(probability=0.02, **fault)  # type: ignore[arg-type]


async def test_no_kill_costs_a_byte(restless: Emulator, tmp_path: Path, rounds: int, seed: int):
    dice = random.Random(seed)
    folder = tmp_path / "archive"
    oracle = Oracle(restless, folder, sidecars=True)
    killed = 0
    whole: set[str] = set()
    log = restless.requests
    for _ in range(rounds):
        add_calls(restless, dice, MORE)
        asked = log.count() + dice.randrange(1, 16)
        command = await Command.archive(restless, folder, "--quiet", "--transfers", "8")
        process = command.process
        ended = asyncio.ensure_future(process.wait())
        moment = asyncio.ensure_future(
            requested(restless, lambda asked=asked: log.count() >= asked)
        )
        await asyncio.wait((ended, moment), return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            # Some thousandths of a second later: inside a write, a sync, a rename or a commit.
            await asyncio.wait((ended,), timeout=dice.expovariate(1 / 0.02))
        if not ended.done():
            process.send_signal(signal.SIGKILL)
            killed += 1
        moment.cancel()
        await asyncio.wait((moment,))
        await command.ended()
        if folder.exists():
            now = await oracle.disk(killed=True)
            assert whole <= now, "what was archived once stays archived"
            whole = now
    assert killed >= rounds * 0.8
    restless.clear_faults()
    restless.settings.latency = 0.0
    final = await (await Command.archive(restless, folder, "--quiet")).ended()
    assert final.code == 0, final.err
    await oracle.holds()
    report = await verify(folder)
    assert report.clean, report
    recorded = sum(call.recorded for call in restless.calls)
    assert report.checked >= recorded
    asked = sum(oracle.requested().values())
    print(f"{killed} kills survived, 0 bytes lost, {asked} requests for {recorded} recordings")


async def test_two_at_once_and_one_of_them_killed(restless: Emulator, tmp_path: Path):
    folder = tmp_path / "archive"
    oracle = Oracle(restless, folder, sidecars=True)
    log = restless.requests
    restless.fail(route="recording", stall="headers", skip=20)
    first = await Command.archive(restless, folder, "--quiet")
    await requested(restless, lambda: log.count("recording") > 20)
    refused = await (await Command.archive(restless, folder, "--quiet")).ended()
    assert refused.code == 5, refused.err
    assert str(first.process.pid) in refused.err
    lists = log.count("list_calls")
    second = await Command.archive(restless, folder, "--quiet", "--wait-lock", "60s")
    await requested(restless, lambda: log.count("list_calls") > lists)
    first.signal(signal.SIGKILL)
    await first.ended()
    restless.clear_faults()
    trouble(restless)
    ended = await second.ended()
    assert ended.code in {0, 1}, ended.err
    await oracle.holds()
    assert (await verify(folder)).clean
