"""Shards on a real Dask cluster of processes, against a real object store."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentphone_async import dask
from agentphone_async.archive.bucket.archive import meanwhile
from agentphone_async.archive.bucket.store import Store
from agentphone_async.archive.report import Report
from agentphone_async.dask import archive
from agentphone_async.emulator import EmulatorThread, Settings
from agentphone_async.errors import AuthenticationError, ConfigurationError, DestinationError
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.transport.limits import HostLimits
from benchmarks import weed
from tests.support.archives import fill
from tests.transport.slots import slot_of
from tests.transport.virtual_time import run_virtually

pytestmark = pytest.mark.skipif(find_spec("distributed") is None, reason="Dask is not installed")


@pytest.fixture(scope="module")
def cluster(server: weed.Weed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import dask  # takes long, and only these tests need it
    import distributed

    # What forks has imported it all, so that a worker starts in no time; its environment is older.
    cache = str(tmp_path_factory.mktemp("cache"))
    env = server.env | {"AGENTPHONE_API_KEY": Settings().api_key, "XDG_CACHE_HOME": cache}
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50, env=env
        ) as running,
    ):
        yield running


@pytest.fixture
def client(cluster: Any, server: weed.Weed, s3: str) -> Iterator[Any]:
    with cluster.get_client() as client:
        client.wait_for_workers(2)
        client.run(_set, server.env)  # as a test before may have set others
        yield client


def _set(variables: dict[str, str]) -> None:
    os.environ.update(variables)


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[EmulatorThread]:
    with EmulatorThread() as running:
        monkeypatch.setenv("AGENTPHONE_API_KEY", running.api_key)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        yield running


def test_a_lost_worker_costs_the_rest_of_its_shard_and_the_rate_is_held(
    client, s3, emulator, tmp_path
):
    ids = fill(emulator, 160)
    emulator.fail(route="recording", rate_limit=80)
    pids = sorted(client.run(os.getpid).values())
    seen: list[Report] = []

    def progress(report: Report) -> None:
        seen.append(report)
        if len(seen) == 2:
            os.kill(pids[0], signal.SIGKILL)

    began = time.monotonic()
    report = archive(
        client, s3, rate=80, shard_size=20, base_url=emulator.base_url, progress=progress
    )
    took = time.monotonic() - began
    bucket = Bucket.from_url(s3)
    # Who is killed between making and removing its probe leaves those five bytes.
    there = sorted(bucket.read(head.path) for head in bucket.list() if head.path[0] not in "_.")
    assert there == sorted(map(emulator.expected_audio, ids))
    assert report.complete
    assert report.archived + report.already_archived == 160
    assert len(seen) == 8
    assert emulator.requests.count("recording") / took <= 80 * 1.1
    assert not [one for one in emulator.requests if one.status == 429]
    store = Store(bucket, tmp_path / "cache")
    assert store.open(make=False)
    store.pull()
    states = store.connection.execute("SELECT state, count(*) FROM recordings GROUP BY 1")
    assert states.fetchall() == [("archived", 160)]
    store.close()


def test_the_rate_is_held_in_every_second_while_workers_come_and_go(monkeypatch):
    alive = {"a": 1, "b": 1, "c": 1}
    sent: list[float] = []

    async def at_once(work: Callable[..., object], *args: object, **_: object) -> object:
        return work(*args)

    async def machine() -> None:
        monkeypatch.setattr(dask._Cluster, "_was_counted", False)  # a process of its own
        cluster = dask._Cluster()
        cluster._client = SimpleNamespace(nthreads=lambda: alive)
        clock = asyncio.get_running_loop().time
        limits = HostLimits(tpslimit=cluster.share(60.0), clock=clock)
        async with meanwhile(dask._share, cluster, limits, 60.0):
            await cluster.be_counted()
            while True:
                async with slot_of(limits):
                    sent.append(clock() - began)

    async def main() -> None:
        nonlocal began
        began = asyncio.get_running_loop().time()
        first, *_ = machines = [asyncio.create_task(machine()) for _ in range(3)]
        await asyncio.sleep(10)
        first.cancel()
        del alive["a"]
        await asyncio.sleep(5)
        alive["a"] = 1
        machines.append(asyncio.create_task(machine()))
        await asyncio.sleep(10)
        for one in machines:
            one.cancel()
        await asyncio.wait(machines)

    began = 0.0
    monkeypatch.setattr(dask.to_thread, "run_sync", at_once)
    run_virtually(main())
    seconds = Counter(map(int, sent))
    assert max(seconds.values()) <= 60 * 1.1
    for steady in (5, 13, 20):  # three, two and three workers
        assert seconds[steady] == pytest.approx(60, rel=0.1)


def test_a_destination_that_a_worker_cannot_use_ends_everything(client, s3, emulator, tmp_path):
    fill(emulator, 4)
    client.run(_set, {"AWS_SECRET_ACCESS_KEY": "wrong"})
    with pytest.raises(DestinationError, match="the credentials are refused"):
        archive(client, s3, shard_size=1, base_url=emulator.base_url)
    assert emulator.requests.count("recording") == 0
    assert not client.futures


def test_a_key_that_is_refused_ends_it_before_a_task_begins(client, s3, emulator, monkeypatch):
    monkeypatch.setenv("AGENTPHONE_API_KEY", "another")
    with pytest.raises(AuthenticationError):
        archive(client, s3, base_url=emulator.base_url)
    with pytest.raises(ConfigurationError, match="more than 0"):
        archive(client, s3, rate=0)
    assert not client.futures
