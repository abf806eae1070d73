"""An emulated account, and the command line in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from agentphone_async.emulator import EmulatorThread
from tests.support.archives import CommandLine, logging_undone


@pytest.fixture
def server() -> Iterator[EmulatorThread]:
    with EmulatorThread() as running:
        yield running


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide terminal, and no configuration file of whoever runs the tests."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """However a test runs a command, its log handlers end with it."""
    with logging_undone():
        yield


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's zone is UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
