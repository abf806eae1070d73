"""Running a command's coroutine: uvloop where there is one, and signals that end it cleanly."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from agentphone_async.cli.exits import INTERRUPTED

T = TypeVar("T")

GRACE = 5.0
"""Seconds that running transfers get after the first signal."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, on uvloop if it is installed."""
    gc.set_threshold(10_000, 20)  # there is next to no cyclic garbage, and looking for it takes 3 %
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


async def interruptible(
    work: Coroutine[Any, Any, T], stop: Callable[[], None] | None = None
) -> T | None:
    """Run ``work`` so that SIGINT, SIGTERM and SIGHUP end it cleanly.

    The first signal calls ``stop``, which should let ``work`` finish by itself; if it has not
    after `GRACE` seconds, or if there is no ``stop``, ``work`` is cancelled. A second signal
    ends the process at once.

    Returns:
        What ``work`` returns; None if it was cancelled by a signal.
    """
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
        loop.call_later(GRACE, task.cancel)

    if sys.platform == "win32":
        signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(on_signal))
    else:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, on_signal)
    try:
        return await task
    except asyncio.CancelledError:
        if not signals:
            raise
        return None
