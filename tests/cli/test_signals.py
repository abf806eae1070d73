"""Signals: which of them end a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from agentphone_async.cli.event_loop import run_interruptible
from tests.support.commands import ROOT

ALL = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(params=ALL, ids=lambda number: number.name)
def ignored(request):
    """One that is ignored, as nohup and a shell's background jobs have it."""
    before = signal.signal(request.param, signal.SIG_IGN)
    yield request.param
    signal.signal(request.param, before)


async def handlers():
    return {number: signal.getsignal(number) for number in ALL}


def test_one_that_was_ignored_stays_ignored_and_the_others_are_not(ignored):
    during = run_interruptible(handlers())
    assert [number for number in ALL if during[number] is signal.SIG_IGN] == [ignored]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_the_command_is_imported_ends_it_quietly(number, tmp_path):
    """The import of the command line is where it comes."""
    (tmp_path / "click.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\n")
    program = "from agentphone_async.cli.entry import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_little_is_imported_before_signals_are_minded():
    program = "import agentphone_async.cli.entry, sys; print('typing' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-ISc", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {program}"],
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"False\n"
