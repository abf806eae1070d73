"""The command in a process that knows where the emulated API is, and a folder for it."""

from __future__ import annotations

import pytest

from agentphone_async.emulator import EmulatorThread
from tests.support.commands import Command


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("AGENTPHONE_API_KEY", raising=False)
    with EmulatorThread() as running:
        monkeypatch.setenv("AGENTPHONE_BASE_URL", running.base_url)
        yield running


@pytest.fixture
def run(monkeypatch, capfd):
    return Command(monkeypatch, capfd)


@pytest.fixture
def dest(tmp_path):
    return tmp_path / "dest"


def add(server, count, **fields):
    fields.setdefault("duration", 0.1)
    return [server.add_call(id=f"call_{n}", **fields).id for n in range(count)]


def script(folder, *lines):
    """The command, after some lines that change it."""
    path = folder / "command.py"
    path.write_text("\n".join([*lines, "from agentphone_async.cli.main import main", "main()"]))
    return path


def quickly(*args):
    """No second attempts, so that failures come at once."""
    return (*args, "--retries", "0")
