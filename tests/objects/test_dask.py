"""Shards on a real Dask cluster of processes, against a real object store."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentphone_async.archive.bucket.store import Store
from agentphone_async.archive.report import Report
from agentphone_async.dask import archive
from agentphone_async.emulator import EmulatorThread
from agentphone_async.errors import AuthenticationError, ConfigurationError, DestinationError
from agentphone_async.sinks.bucket import Bucket
from tests.support.archives import fill

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as running:
        yield running


@pytest.fixture
def client(cluster: Any, s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    names = [name for name in os.environ if name.startswith("AWS_")]
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2)
        # Workers have an environment of their own, in which keys are found.
        client.run(_set, {name: os.environ[name] for name in names})
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
    there = sorted(bucket.read(head.path) for head in bucket.list() if head.path[0] != "_")
    assert there == sorted(map(emulator.expected_audio, ids))
    assert report.complete
    assert report.archived + report.already_archived == 160
    assert len(seen) == 8
    assert emulator.requests.count("recording") / took <= 80 * 1.1
    store = Store(bucket, tmp_path / "cache")
    assert store.open(make=False)
    store.pull()
    states = store.connection.execute("SELECT state, count(*) FROM recordings GROUP BY 1")
    assert states.fetchall() == [("archived", 160)]
    store.close()


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
