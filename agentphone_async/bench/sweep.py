"""One number of transfers after the other, each for a while, over the same ids.

Every step has connections of its own and warms up first: connections are made, the window of the
network grows, and ``auto`` looks for its number. Only then is it measured. Recordings that are
under way when the time is over are dropped; their bytes count, they themselves do not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio

from agentphone_async.bench.figures import Step, Transfers
from agentphone_async.bench.stopwatch import Stopwatch
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.errors import RecordingNotFoundError
from agentphone_async.recordings.downloader import Downloader
from agentphone_async.recordings.jobs import flat_target, jobs_of
from agentphone_async.recordings.outcomes import Failed
from agentphone_async.sinks.interface import Sink

WARM_UP = 0.2
"""How long a fixed number warms up, as a share of the time that it is measured."""

SETTLING = 2.0
"""The same for ``auto``, which has to find its number first."""

HOPELESS = 1000
"""This many failures in a row end the sweep: a server that is gone is not worth measuring."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """How to measure.

    Attributes:
        transfers: the numbers to try, in this order.
        seconds: how long each is measured; it takes a fifth longer, and ``auto`` three times as
            long, because of the warm-up.
        client: makes a client, not yet open, that can have this many transfers at a time.
        sink: makes the place to which recordings go.
        sleep: ``asyncio.sleep``, or something else that takes time.
    """

    transfers: Sequence[Transfers]
    seconds: float
    client: Callable[[Transfers], AsyncAgentPhone]
    sink: Callable[[], Sink]
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep

    async def steps(self, ids: Iterator[str]) -> AsyncGenerator[Step]:
        """Measure, and yield each step when it is over.

        Args:
            ids: call ids without end; a step continues where the last one stopped, so that no step
                profits from what another has warmed up in the server.

        Raises:
            AgentPhoneError: a step brought nothing but failures, or there were a thousand in a
                row; this is the last of them.
            DestinationError: the sink failed.
        """
        for transfers in self.transfers:
            yield await self._step(transfers, ids)

    async def _step(self, transfers: Transfers, ids: Iterator[str]) -> Step:
        async with self.client(transfers) as client:
            workers = client.workers(transfers)
            stopwatch = Stopwatch(
                client.session, self.sink(), max_file_size=client.settings.max_file_size
            )
            downloader = Downloader(stopwatch, Path(), workers, skip_existing=False)
            fetching = asyncio.create_task(_fetch(downloader, ids))
            timing = asyncio.create_task(self._time(stopwatch, transfers))
            try:
                await asyncio.wait((fetching, timing), return_when=asyncio.FIRST_COMPLETED)
                if fetching.done():
                    await fetching
                step = await timing
            finally:
                for task in (timing, fetching):
                    task.cancel()
                with anyio.CancelScope(shield=True):
                    await asyncio.wait((timing, fetching))
                if not fetching.cancelled():
                    fetching.exception()  # seen: it was raised above, or came too late to matter
            if stopwatch.hopeless is not None:
                raise stopwatch.hopeless
            return step

    async def _time(self, stopwatch: Stopwatch, transfers: Transfers) -> Step:
        warm_up = SETTLING if transfers == "auto" else WARM_UP
        await self.sleep(self.seconds * warm_up)
        stopwatch.start()
        await self.sleep(self.seconds)
        return stopwatch.step(transfers)


async def probe(client: AsyncAgentPhone, call_id: str) -> None:
    """Ask for one recording, so that a wrong address is one error instead of empty steps.

    That there is none (404) is an answer, too.

    Raises:
        AgentPhoneError: no answer that a sweep could measure.
    """
    async with aclosing(client.stream_recording(call_id)) as chunks:
        with suppress(RecordingNotFoundError):
            await anext(chunks, b"")


async def _fetch(downloader: Downloader, ids: Iterator[str]) -> None:
    hopeless = 0
    jobs = jobs_of(ids, flat_target)
    async with (
        aclosing(downloader.fetcher.sink),
        aclosing(downloader.batches(jobs)) as batches,
    ):
        async for batch in batches:
            for _, outcome in batch:
                if not isinstance(outcome, Failed):
                    hopeless = 0
                    continue
                hopeless += 1
                if hopeless >= HOPELESS:
                    raise outcome.error
