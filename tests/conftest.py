"""What tests of every room share: an emulated API, and a client for a server that misbehaves."""

from __future__ import annotations

import compileall
import gc
import os
import random
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from agentphone_async import AsyncAgentPhone, RetryPolicy, Timeouts
from agentphone_async.emulator import Emulator
from agentphone_async.transport.retry import Retrier

# Seconds of one example say how busy the machine is; and the first one builds the models.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

API_KEY = "sk_test_never_seen_anywhere"
"""Told apart from everything else in a log or a message."""

BRISK = RetryPolicy(attempts=3, first_delay=0.001, longest_delay=0.002, total=1.0)
"""Tries again as usual, without the usual pauses."""

SHORT = Timeouts(connect=0.3, read=0.3, head=0.3, minimum_speed_window=0.2)
"""Long enough for loopback on a busy machine, short enough to be waited for."""


IN_MEMORY = Path("/dev/shm")
"""Where tests have their files if there is room: there, a sync costs nothing."""


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """A run of everything takes three processes on two cores, since some of its tests wait.

    ``-n 0``, as well as naming tests, keeps it to one. In three, each would rewrite all asserts,
    which takes longer than all else before the first test: a failure shows its local variables
    instead, and the values of its assert when it is run again by its name or by ``--last-failed``.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:  # a worker, which would start two more, and so on
        return
    if IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > 4 << 30:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if everything and config.getoption("numprocesses", 0) is None:
        config.option.numprocesses = min(3, 1 + (os.cpu_count() or 1))
        config.option.dist = "worksteal"  # neighbours stay together: they share what they computed
        config.option.assertmode, config.option.showlocals = "plain", True
        for folder in ("agentphone_async", "benchmarks", "tests"):  # once, and not in each of them
            compileall.compile_dir(config.rootpath / folder, quiet=2, workers=0)


def pytest_configure() -> None:
    """Commands that tests start must hear of signals, however the tests were started.

    A shell begins what it puts into the background with SIGINT ignored, ``nohup`` with SIGHUP; that
    is handed down, and our commands keep to it.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def pytest_collection_finish() -> None:
    """What was collected stays to the end, so the garbage collector need not go over it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """An emulated API without calls, on the test's own loop."""
    async with Emulator() as running:
        yield running


ClientFactory = Callable[..., AsyncAgentPhone]


@pytest.fixture
async def client_of() -> AsyncIterator[ClientFactory]:
    """Makes brisk clients for a base URL, and closes them at the end of the test."""
    clients: list[AsyncAgentPhone] = []

    def make(base_url: str, **options: Any) -> AsyncAgentPhone:
        options.setdefault("api_key", API_KEY)
        options.setdefault("retry", BRISK)
        client = AsyncAgentPhone(base_url=base_url, **options)
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
def client(emulator: Emulator, client_of: ClientFactory) -> AsyncAgentPhone:
    """A brisk client of the emulator."""
    return client_of(emulator.base_url, api_key=emulator.api_key)


class Sleeps(list[float]):
    """Stands in for ``asyncio.sleep``: takes no time, and moves its own clock instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


@pytest.fixture
def sleeps() -> Sleeps:
    return Sleeps()


def timeless(client: AsyncAgentPhone, sleeps: Sleeps, policy: RetryPolicy | None = None) -> None:
    """Let the client's retries and pauses take no time, with seeded jitter."""
    session = client.session
    session.limits._stop._sleep = sleeps
    session.limits._circuit._clock = sleeps.clock
    session.limits._clock = sleeps.clock
    session.retrier = Retrier(
        policy or session.settings.retry,
        session.limits,
        clock=sleeps.clock,
        rng=random.Random(7),
    )
