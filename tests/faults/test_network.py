"""Network faults: retried within the budget, or fatal with a reason; never half a file."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from agentphone_async import Observer
from agentphone_async.emulator import Emulator
from agentphone_async.errors import (
    CertificateError,
    ConnectionFailedError,
    TimedOutError,
    TransportError,
)
from tests.conftest import SHORT, Sleeps
from tests.faults.conftest import Scene


class Resolver:
    """Names that do not resolve at first."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.asked = 0

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[dict[str, object]]:
        self.asked += 1
        if self.asked <= self.failures:
            raise OSError(None, "Name or service not known")
        return [
            {"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET,
             "proto": 0, "flags": 0}
        ]  # fmt: skip

    async def close(self) -> None:
        pass


def resolving(monkeypatch: pytest.MonkeyPatch, failures: int) -> Resolver:
    resolver = Resolver(failures)
    monkeypatch.setattr("agentphone_async.transport.session.PatientResolver", lambda _: resolver)
    return resolver


async def test_a_name_that_flaps_is_asked_again(scene: Scene, sleeps: Sleeps, monkeypatch):
    resolver = resolving(monkeypatch, failures=2)
    url = scene.emulator.base_url.replace("127.0.0.1", "api.localhost")
    await scene.endures(base_url=url, sleeps=sleeps)
    assert resolver.asked > 2


async def test_a_name_that_never_resolves_ends_the_run_before_it_began(
    scene: Scene, sleeps: Sleeps, monkeypatch
):
    resolver = resolving(monkeypatch, failures=10**6)
    url = scene.emulator.base_url.replace("127.0.0.1", "api.localhost")
    with pytest.raises(ConnectionFailedError, match="cannot find"):
        await scene.run(base_url=url, sleeps=sleeps)
    assert resolver.asked > 1
    assert not scene.folder.exists()
    await scene.oracle.holds()


class Revives(Sleeps):
    """Time passes at once; after some pauses the server is back."""

    def __init__(self, emulator: Emulator, after: int) -> None:
        super().__init__()
        self._emulator = emulator
        self._after = after

    async def __call__(self, seconds: float) -> None:
        await super().__call__(seconds)
        if len(self) == self._after:
            await self._emulator.start()
        await asyncio.sleep(0)


class Cuts(Observer):
    """Takes the server away as soon as the list is there."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self.stopping_it: asyncio.Task[None] | None = None

    def selected(self, count: int) -> None:
        if self.stopping_it is None:
            self.stopping_it = asyncio.create_task(self._emulator.stop())


@pytest.mark.parametrize("pauses", [1, 30])
async def test_a_link_that_is_down_is_one_shared_pause_and_no_failure(scene: Scene, pauses):
    for number in range(60):
        scene.add(id=f"more_{number}", duration=0.1)
    revives = Revives(scene.emulator, pauses)
    cuts = Cuts(scene.emulator)
    await scene.endures(sleeps=revives, observer=cuts)
    assert cuts.stopping_it is not None
    await cuts.stopping_it
    probes = [seconds for seconds in revives if seconds >= 0.4]
    assert len(probes) <= pauses + 10, "one asks, the others wait for the answer"


async def test_a_server_that_stays_away_fails_what_is_left_and_keeps_what_is_there(
    scene: Scene, sleeps: Sleeps
):
    cuts = Cuts(scene.emulator)
    report = await scene.run(sleeps=sleeps, observer=cuts)
    assert report.failed > 0
    assert all(isinstance(error, TransportError) for _, error in report.failures)
    assert cuts.stopping_it is not None
    await cuts.stopping_it
    await scene.emulator.start()
    await scene.oracle.holds(report)


@pytest.mark.parametrize("where", ["connection", "headers", 0, 1000, -1])
async def test_a_reset_is_retried_wherever_it_happens(scene: Scene, where):
    size = scene.emulator.expected_size(scene.first.id)
    scene.fail_one(reset=size + where if where == -1 else where, times=2)
    await scene.endures()
    assert scene.emulator.requests.count("recording", call_id=scene.first.id) == 3


async def test_resets_that_do_not_end_fail_one_recording(scene: Scene):
    scene.fail_one(reset=1000)
    await scene.fails_one(TransportError)


async def test_a_black_hole_is_left_after_the_connect_timeout(scene: Scene, sleeps: Sleeps):
    with socket.socket() as hole, socket.socket() as first, socket.socket() as second:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for one in (first, second):  # the queue of connections is full now; more are dropped
            one.setblocking(False)
            one.connect_ex(hole.getsockname())
        url = f"http://127.0.0.1:{hole.getsockname()[1]}"
        with pytest.raises(TimedOutError):
            await scene.run(base_url=url, sleeps=sleeps)
    assert not scene.folder.exists()
    await scene.oracle.holds()


@pytest.mark.parametrize("where", ["connection", "headers", 0, 500])
async def test_silence_is_left_after_the_idle_timeout(scene: Scene, where):
    scene.fail_one(stall=where, times=1)
    await scene.endures()


async def test_a_drip_is_left_for_its_speed_and_retried(scene: Scene):
    scene.fail_one(bandwidth=10.0, times=1)
    await scene.endures()


async def test_a_stale_kept_alive_connection_is_invisible(scene: Scene):
    scene.emulator.fail(route="recording", hang_up=True)
    scene.emulator.fail(route="list_calls", hang_up=True)
    report = await scene.run(observer=None)
    assert report.archived == 6
    assert scene.emulator.requests.count("recording") == 6
    await scene.oracle.holds(report)


async def test_a_bad_certificate_is_fatal_at_once_and_says_so(over_tls, tmp_path: Path):
    emulator, authority = over_tls
    scene = Scene(emulator, tmp_path / "archive")
    with pytest.raises(CertificateError, match="certificate") as caught:
        await scene.run(timeouts=SHORT)
    assert caught.value.attempts == 1
    assert not scene.folder.exists()
    assert len(emulator.requests) == 0
    with authority.cert_pem.tempfile() as file:
        report = await scene.run(ca_file=file)
    assert report.archived == 7
