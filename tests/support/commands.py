"""Running the command line: inside the test's process, or as a process that gets signals."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner

from agentphone_async.cli.main import main
from tests.support import warm

ROOT = Path(__file__).parents[2]
# Before 8.2, click put standard error into standard output unless told otherwise.
SEPARATE: dict[str, Any] = (
    {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}
)


@contextmanager
def logging_undone() -> Iterator[None]:
    """What a command sets up for the rest of its process ends here: its standard error is gone."""
    logger = logging.getLogger("agentphone_async")
    before = logger.handlers[:], logger.level, logger.propagate
    try:
        yield
    finally:
        logger.handlers[:] = before[0]
        logger.setLevel(before[1])
        logger.propagate = before[2]


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        last = self.events[-1]
        assert last.pop("event") == "summary"
        assert last.pop("seconds") >= 0
        return last


class Command:
    """The command line, called in this process as its entry point calls it."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self._patch = patch
        self._capture = capture

    def __call__(self, *args: object) -> Ended:
        self._patch.setattr(sys, "argv", ["agentphone-async", *map(str, args)])
        self._capture.readouterr()
        with logging_undone():
            code = self._code()
        said = self._capture.readouterr()
        assert "Traceback" not in said.err
        return Ended(code, said.out, said.err)

    def _code(self) -> int:
        def call() -> NoReturn:
            main()

        with pytest.raises(SystemExit) as caught:
            call()
        assert isinstance(caught.value.code, int)
        return caught.value.code


@contextmanager
def process(*args: object, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """The command line, or a script, as a process; killed at the end if it still runs."""
    script = more.pop("program", None)
    program = warm.COMMAND if script is None else (sys.executable, str(script))
    more.setdefault("stdin", subprocess.DEVNULL)
    more.setdefault("stdout", subprocess.PIPE)
    more.setdefault("stderr", subprocess.PIPE)
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | more.pop("env", {})
    running = warm.Popen([*program, *map(str, args)], text=True, env=environment, **more)
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def ended(running: subprocess.Popen[str], timeout: float = 20.0) -> Ended:
    """Wait for the end of a process."""
    out, err = running.communicate(timeout=timeout)
    assert "Traceback" not in (err or "")
    return Ended(running.returncode, out or "", err or "")
