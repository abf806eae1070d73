"""Processes that die, and processes side by side, on a real object store."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentphone_async.archive.bucket.store import Store
from agentphone_async.emulator import EmulatorThread
from agentphone_async.sinks.bucket import Bucket
from benchmarks import weed
from tests.support import warm
from tests.support.archives import fill

KILLS = int(os.environ.get("AGENTPHONE_TEST_KILLS", "2"))
CALLS = 60


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[EmulatorThread]:
    with EmulatorThread() as running:
        monkeypatch.setenv("AGENTPHONE_API_KEY", running.api_key)
        monkeypatch.setenv("AGENTPHONE_BASE_URL", running.base_url)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
        yield running


def start(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    return warm.Popen(
        [*warm.COMMAND, *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(process: subprocess.Popen[bytes]) -> str:
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()
    return said.decode()


def audio(bucket: Bucket) -> list[bytes]:
    return sorted(bucket.read(head.path) for head in bucket.list() if head.path[0] != "_")


def rows(bucket: Bucket, cache: Path) -> list[tuple[object, ...]]:
    store = Store(bucket, cache)
    assert store.open(make=False)
    store.pull()
    found = [
        row
        for table in ("runs", "calls", "recordings")
        for row in store.connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")
    ]
    store.close()
    return found


def open_uploads(server: weed.Weed) -> int:
    boto3 = pytest.importorskip("boto3")
    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=weed.KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=weed.KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    return len(client.list_multipart_uploads(Bucket=weed.BUCKET).get("Uploads", []))


def test_runs_that_are_killed_leave_whole_objects_and_the_next_one_goes_on(
    server, s3, api, tmp_path, monkeypatch
):
    ids = fill(api, CALLS)
    api.add_call(id="call_long", duration=60 * 6)  # 5.8 MB: spooled, and put from a map
    expected = sorted(map(api.expected_audio, [*ids, "call_long"]))
    api.fail(route="recording", delay=0.03)
    moments = random.Random(13)
    bucket = Bucket.from_url(s3)
    run = ("archive", s3, "--since", "1970-01-01", "--transfers", "4", "--quiet")
    for number in range(KILLS):
        before = api.requests.count("recording")
        # Each on a machine of its own, or on the one before, which knows what was not sent.
        cache = str(tmp_path / f"cache-{number // 2}")
        process = start(*run, XDG_CACHE_HOME=cache)
        wanted = before + moments.randrange(1, CALLS // 3)
        deadline = time.monotonic() + 60
        while api.requests.count("recording") < wanted and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        there = audio(bucket)
        assert all(data in expected for data in there), "a torn object is visible"
    finish(start(*run))
    assert audio(bucket) == expected
    fetched = api.requests.count("recording")
    finish(start(*run))
    finish(start(*run, XDG_CACHE_HOME=str(tmp_path / "new")))
    assert api.requests.count("recording") == fetched
    assert open_uploads(server) == 0
    cache = next((tmp_path / "caches" / "agentphone-async").iterdir())
    assert rows(bucket, cache) == rows(bucket, tmp_path / "rebuilt")


def test_two_machines_at_one_plan_store_every_recording_once(server, s3, api, tmp_path):
    ids = fill(api, 80)
    api.fail(route="recording", delay=0.02)
    finish(start("archive", "plan", s3, "--since", "1970-01-01", "--shard-size", "10"))
    workers = [
        start("archive", "work", s3, "--all", XDG_CACHE_HOME=str(tmp_path / name))
        for name in ("one", "two")
    ]
    for worker in workers:
        finish(worker)
    bucket = Bucket.from_url(s3)
    assert audio(bucket) == sorted(map(api.expected_audio, ids))
    assert api.requests.count("recording") == 80
    assert bucket.head("_catalog/archive.json").size > 0
