"""Signals: which of them end a command."""

from __future__ import annotations

import signal

import pytest

from agentphone_async.cli.event_loop import run
from agentphone_async.cli.signals import interruptible

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
    during = run(interruptible(handlers()))
    assert [number for number in ALL if during[number] is signal.SIG_IGN] == [ignored]
