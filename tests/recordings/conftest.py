"""An emulator, an impatient client, and nothing left of either."""

from __future__ import annotations

import asyncio

import pytest

from agentphone_async.emulator import EmulatorThread
from tests.support.downloads import impatient, open_files, partial


@pytest.fixture
def server():
    with EmulatorThread() as running:
        yield running


@pytest.fixture
async def client(server):
    async with impatient(server.base_url) as made:
        yield made
        assert made.session.limits.slots.held == 0
        assert not made.session.limits.slots.waiters


@pytest.fixture
async def nothing_left(tmp_path):
    """No task of ours, no temp file and no open file outlives a test."""
    yield
    names = [
        task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("agentphone")
    ]
    assert names == []
    assert partial(tmp_path) == []
    assert open_files(tmp_path) == []
