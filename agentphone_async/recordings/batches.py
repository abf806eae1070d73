"""What every way of downloading has in common: one task that works, one consumer that may leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from agentphone_async.recordings.channel import Channel, Closed
from agentphone_async.recordings.outcomes import Outcome
from agentphone_async.sinks.outlast import outlast

Outcomes = Channel[list[Outcome]]
"""Where the work puts what has settled."""


async def batches_of(
    work: Callable[[Outcomes], Coroutine[Any, Any, None]],
    end: Callable[[], Awaitable[None]],
    *,
    makers: int = 1,
) -> AsyncGenerator[list[Outcome]]:
    """Run ``work`` in a task, and yield what it puts into its channel.

    No cancel scope is open while the consumer holds a batch. When the consumer leaves, or is
    cancelled, the work is cancelled, ended and waited for, whatever happens meanwhile.

    Args:
        work: puts batches into the channel that it is given.
        end: tidies up; called once, when the task is over.
        makers: how many tasks of the work say that they are done.

    Raises:
        BaseException: whatever ended the work first; a group is undone.
    """
    outcomes = Outcomes(8, makers=makers)
    run = asyncio.create_task(work(outcomes), name="agentphone-download")
    # Work that fails ends in the middle, with makers that never say so: wake up for it, too.
    run.add_done_callback(lambda _: outcomes.abandon())
    try:
        with suppress(Closed):
            while True:
                yield await outcomes.get()
        try:
            await run
        except BaseExceptionGroup as failures:
            raise _first_of(failures) from failures
    finally:
        run.cancel()
        ending = asyncio.create_task(_end(run, end), name="agentphone-download-end")
        await outlast(ending)
        ending.result()


async def _end(run: asyncio.Task[None], end: Callable[[], Awaitable[None]]) -> None:
    await asyncio.wait([run])
    if not run.cancelled():
        run.exception()  # seen; it was raised to the consumer, unless that has left
    await end()


def _first_of(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure that began it; the others followed from it."""
    first: BaseException = failures
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
