"""The event loop of a command, and the signals that end it; its process does nothing else."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click

from agentphone_async.cli.exit_codes import INTERRUPTED

T = TypeVar("T")

GRACE = 5.0
"""Seconds that a command gets to end by itself after the first signal."""

LET_GO = 4.0
"""Seconds that transfers under way get of these; see `RunOptions.stop_grace`."""

SECOND_SIGNAL = "a second Ctrl-C stops at once"


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, on uvloop if it is installed."""
    # What is there stays to the end, and next to none of what comes is cyclic garbage.
    gc.freeze()
    gc.set_threshold(10_000, 20)
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


def run_interruptible(
    work: Coroutine[Any, Any, T], stop: Callable[[], None] | None = None, *, patient: bool = False
) -> T:
    """Run ``work`` so that SIGINT, SIGTERM and SIGHUP end it cleanly.

    The first signal calls ``stop``, which should let ``work`` finish by itself; if it has not
    after `GRACE` seconds, or if there is no ``stop``, ``work`` is cancelled; if one is ``patient``,
    it gets as long as it takes. A second signal ends the process at once.

    Raises:
        click.Abort: ``work`` was cancelled by a signal; everything in it is closed.
    """
    finished = run(_interruptible(work, stop, patient=patient))
    if not finished:
        raise click.Abort
    return finished[0]


async def _interruptible(
    work: Coroutine[Any, Any, T], stop: Callable[[], None] | None, *, patient: bool
) -> tuple[T] | None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    signals = 0

    def on_signal() -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            os._exit(INTERRUPTED)
        if stop is None:
            task.cancel()
            return
        stop()
        if not patient:
            loop.call_later(GRACE, task.cancel)

    on_signals(on_signal)
    try:
        return (await task,)
    except asyncio.CancelledError:
        if not signals:
            raise
        return None


def on_signals(act: Callable[[], None]) -> None:
    """From now on call ``act`` in the running loop at each SIGINT, SIGTERM and SIGHUP.

    One that is ignored stays so: ``nohup`` and a shell's ``&`` begin a process like that.
    """
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(act))
    else:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, act)
