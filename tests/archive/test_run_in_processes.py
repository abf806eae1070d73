"""Runs over several processes: what is different when some of the work is done elsewhere."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.archive import Archive
from agentphone_async.archive.observer import Observer
from agentphone_async.archive.options import Limits, RunOptions
from agentphone_async.emulator import Emulator
from agentphone_async.errors import ConfigurationError
from agentphone_async.recordings.outcomes import Outcome
from agentphone_async.recordings.processes import WorkerLostError
from tests.faults.oracle import Oracle

CALLS = 60
TWO = RunOptions(transfers=4, processes=2)


@pytest.fixture
def pids(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of the processes that were started."""
    found: list[int] = []
    start = asyncio.create_subprocess_exec

    async def recorded(*args, **options):
        process = await start(*args, **options)
        found.append(process.pid)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", recorded)
    return found


@pytest.fixture
async def oracle(emulator: Emulator, tmp_path: Path) -> Oracle:
    """Over calls that are served slowly enough for something to happen meanwhile."""
    emulator.settings.latency = 0.02
    for _ in range(CALLS):
        emulator.add_call(started_at=datetime.now(UTC) - timedelta(days=1), duration=1.0)
    return Oracle(emulator, tmp_path)


class AfterSome(Observer):
    """Does something once, when a few calls are settled."""

    def __init__(self, act) -> None:
        self._act = act
        self._settled = 0
        self.paused_for: list[float] = []

    def settled(self, outcome: Outcome) -> None:
        self._settled += 1
        if self._settled == 8:
            self._act()

    def paused(self, seconds: float) -> None:
        self.paused_for.append(seconds)


async def test_a_process_that_is_killed_costs_what_it_was_at_until_the_next_run(
    oracle: Oracle, client: AsyncAgentPhone, pids
):
    kill = AfterSome(lambda: os.kill(pids[0], signal.SIGKILL))
    report = await Archive(oracle.folder).run(client, options=TWO, observer=kill)
    assert len(pids) == 2
    assert report.failed > 0
    assert report.archived + report.failed == CALLS
    assert all(isinstance(error, WorkerLostError) for _, error in report.failures)
    await oracle.holds(report)


async def test_a_transfer_limit_is_that_of_all_together(
    oracle: Oracle, client: AsyncAgentPhone, pids
):
    limits = Limits(max_transfer=100_000)
    options = RunOptions(transfers=2, processes=2, limits=limits)
    report = await Archive(oracle.folder).run(client, options=options)
    assert report.stop_reason == "max_transfer"
    assert 100_000 <= report.bytes == 16_044 * report.archived
    assert report.left > CALLS / 4, "news of what has arrived takes at most 0.2 s"
    await oracle.holds(report)


async def test_a_pause_of_one_process_is_everybodys_and_told(
    oracle: Oracle, client: AsyncAgentPhone, pids
):
    oracle.emulator.fail(route="recording", status=429, retry_after=0.2, skip=20, times=1)
    watching = AfterSome(lambda: None)
    limits = client.session.limits
    report = await Archive(oracle.folder).run(client, options=TWO, observer=watching)
    assert report.archived == CALLS
    assert watching.paused_for
    assert limits._gate._paused_until > 0, "listing and transcripts wait, too"
    assert limits.listeners == set()


async def test_nothing_to_fetch_starts_no_process(emulator: Emulator, client, tmp_path, pids):
    emulator.add_call(started_at=datetime.now(UTC) - timedelta(days=9), recording=False)
    emulator.add_call(status="in-progress", started_at=datetime.now(UTC))
    archive = Archive(tmp_path)
    await archive.run(client, options=TWO)
    asked = len(pids)
    report = await archive.run(client, options=TWO)
    assert (report.no_recording, report.not_ready) == (1, 1)
    assert len(pids) == asked


@pytest.mark.parametrize("wrong", [{"processes": 0}, {"transfers": 0}])
def test_none_at_all_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="at least 1"):
        RunOptions(**wrong)
