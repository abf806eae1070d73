"""Asking again: for answers that were another request's, and for recordings not ready yet."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import anyio

from agentphone_async.errors import (
    RecordingGoneError,
    RecordingNotFoundError,
    RunStoppedError,
)
from agentphone_async.recordings.downloader import Downloader
from agentphone_async.recordings.fetch import Fetched, Fetcher, settled
from agentphone_async.recordings.jobs import Jobs, Settled
from agentphone_async.recordings.outcomes import NoRecording, NotReadyYet
from agentphone_async.sinks.interface import Target

FIRST_POLL = 1.0
LONGEST_POLL = 15.0


async def patient(
    downloader: Downloader,
    jobs: Jobs,
    wait: float,
    sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
) -> AsyncGenerator[list[Settled]]:
    """As `Downloader.batches`; what is not ready yet is asked for again for ``wait`` seconds.

    Calls of which nothing is known but their ids may always get a recording; so theirs count as
    not ready as long as there is time. A `RunStoppedError` of ``sleep`` ends the waiting.
    """
    deadline = time.monotonic() + wait
    pause = FIRST_POLL
    ask_all = False
    while True:
        absent: list[Settled] = []
        async with aclosing(downloader.batches(jobs, ask_all=ask_all)) as batches:
            async for batch in batches:
                now = [each for each in batch if not _may_appear(each)] if wait > 0 else batch
                absent += [each for each in batch if _may_appear(each)] if wait > 0 else []
                if now:
                    yield now
        left = deadline - time.monotonic()
        if left <= 0 or not absent:
            if absent:
                yield absent
            return
        try:
            await sleep(min(pause, left))
        except RunStoppedError:
            yield absent
            return
        pause = min(pause * 1.5, LONGEST_POLL)
        jobs, ask_all = [each.job for each in absent], True


def _may_appear(settled: Settled) -> bool:
    outcome = settled.outcome
    if isinstance(outcome, NoRecording):
        return settled.job.call is None and not outcome.gone
    return isinstance(outcome, NotReadyYet)


async def believed(fetcher: Fetcher, call_id: str, target: Target) -> Fetched:
    """Fetch it, again if the answer turns out to be another request's."""
    while True:
        try:
            fetched = await fetcher.fetch(call_id, target)
        except RecordingNotFoundError as error:
            await settled([error.trust])
            if error.trust is None or not error.trust.distrusted:
                raise
            continue
        try:
            await settled([fetched.trust])
            if fetched.trust is None or not fetched.trust.distrusted:
                return fetched
        except BaseException:
            fetcher.budget.release(fetched.held)
            raise
        fetcher.budget.release(fetched.held)
        await fetcher.sink.discard(fetched.ready)


async def patiently(ask: Callable[[], Awaitable[Fetched]], wait: float) -> Fetched:
    """Ask again, with growing pauses, while there is no recording and ``wait`` is not over."""
    deadline = time.monotonic() + wait
    pause = FIRST_POLL
    while True:
        try:
            return await ask()
        except RecordingNotFoundError as error:
            left = deadline - time.monotonic()
            if left <= 0 or isinstance(error, RecordingGoneError):
                raise
            asked = error.retry_after or 0.0
        await anyio.sleep(min(max(pause, asked), left))
        pause = min(pause * 1.5, LONGEST_POLL)
