"""One of the processes of a run that has several: an event loop that downloads what it is told to.

It reads orders from standard input and answers on standard output (`agentphone_async.recordings.
pipes`). Signals are its parent's business. When the parent closes the pipe, or dies, it drops what
is under way, leaves no partial file, and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from typing import Any, BinaryIO

from agentphone_async.errors import AgentPhoneError
from agentphone_async.models import Call
from agentphone_async.own_loop import run
from agentphone_async.recordings.descriptors import affordable
from agentphone_async.recordings.downloader import Downloader, Job
from agentphone_async.recordings.fetch import BUDGET, Fetcher
from agentphone_async.recordings.pipes import (
    Arrived,
    Broken,
    Close,
    Done,
    Drop,
    FromWorker,
    Jobs,
    NoMore,
    Order,
    Pause,
    Settled,
    ToWorker,
    framed,
    messages_of,
    share_of_connections,
)
from agentphone_async.recordings.valve import Valve
from agentphone_async.sinks.interface import Target
from agentphone_async.sinks.local import LocalSink
from agentphone_async.transport.budget import ByteBudget
from agentphone_async.transport.limits import HostLimits
from agentphone_async.transport.session import Session
from agentphone_async.transport.timetable import Timetable

TELL_EVERY = 0.2
"""Seconds between two messages about arriving bytes, at the most."""

TELL_AFTER = 1024 * 1024
"""Bytes after which there is a message even sooner: the parent keeps to limits by them."""


def share_of_limits(order: Order) -> HostLimits:
    """One process's share of the limits of a host."""
    settings, shares = order.settings, order.shares
    limit = None if settings.bwlimit is None else Timetable.parse(settings.bwlimit)
    limits = HostLimits(
        share_of_connections(order),
        tpslimit=None if settings.tpslimit is None else settings.tpslimit / shares,
        bwlimit=None if limit is None else share_of(limit, shares),
        outage_budget=settings.retry.total,
    )
    if order.transfers is None:
        limits.adapt()
    return limits


def share_of(timetable: Timetable, shares: int) -> Timetable:
    """The same timetable with an equal part of each rate."""
    return Timetable(
        tuple(
            (minute, None if rate is None else rate / shares) for minute, rate in timetable.entries
        )
    )


class Worker:
    """The state of the process.

    Args:
        order: what to do.
        inbox: further messages; iterating blocks, and ends when the parent has gone.
        outbox: where answers go.
    """

    def __init__(self, order: Order, inbox: Iterator[ToWorker], outbox: BinaryIO) -> None:
        self._order = order
        self._inbox = inbox
        self._outbox = outbox
        self._jobs: asyncio.Queue[Job | None] = asyncio.Queue()  # the parent bounds it
        self._targets: defaultdict[str, deque[Target]] = defaultdict(deque)
        self._limits = share_of_limits(order)
        self._limits.listeners.add(self._tell_pause)
        self._budget = ByteBudget(BUDGET // order.shares)
        self._valve = Valve()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="agentphone-pipe")
        self._arrived = 0
        self._much_arrived = asyncio.Event()

    async def run(self) -> None:
        """Work until there is no more, or until the parent has gone."""
        loop = asyncio.get_running_loop()
        work = asyncio.create_task(self._work())
        reader = threading.Thread(target=self._read, args=(loop, work), daemon=True)
        reader.start()
        # Not joined: it ends with the parent, or with this process.
        with contextlib.suppress(asyncio.CancelledError):
            await work

    async def _work(self) -> None:
        telling = asyncio.create_task(self._tell_bytes())
        last: FromWorker = Done()
        try:
            await self._download()
        except AgentPhoneError as error:
            last = Broken(error)
        except Exception as error:  # noqa: BLE001 - the parent raises it, whatever it is
            last = Broken(AgentPhoneError(f"unexpected {type(error).__name__}: {error}"))
        finally:
            telling.cancel()
        await self._send(Arrived(self._arrived, 0))
        await self._send(last)

    async def _download(self) -> None:
        order = self._order
        settings = replace(order.settings, connections=share_of_connections(order))
        async with Session(settings, limits=self._limits) as session:
            fetcher = Fetcher(
                session,
                LocalSink(order.folder, fsync=order.fsync, own_loop=True),
                budget=self._budget,
                max_file_size=order.max_file_size,
                progress=self._count,
            )
            downloader = Downloader(
                fetcher,
                order.folder,
                affordable(order.transfers or self._limits.max_concurrency),
                target_of=self._target_of,
                grace=order.grace,
                skip_existing=order.skip_existing,
                valve=self._valve,
            )
            async with aclosing(downloader.batches(self._calls())) as batches:
                async for batch in batches:
                    await self._send(Settled(batch))

    async def _calls(self) -> AsyncIterator[str | Call]:
        while (job := await self._jobs.get()) is not None:
            self._targets[job.call_id].append(job.target)
            yield job.call_id if job.call is None else job.call

    def _target_of(self, call_id: str, call: Call | None) -> Target:  # noqa: ARG002 - a Namer's
        waiting = self._targets[call_id]
        target = waiting.popleft()
        if not waiting:
            del self._targets[call_id]
        return target

    # ---------------------------------------------------------------- telling

    def _count(self, size: int) -> None:
        self._arrived += size
        if self._arrived >= TELL_AFTER:
            self._much_arrived.set()

    async def _tell_bytes(self) -> None:
        told = Arrived(0, 0)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TELL_EVERY):
                    await self._much_arrived.wait()
            self._much_arrived.clear()
            now = Arrived(self._arrived, self._budget.held)
            if now.size or now.held != told.held:
                self._arrived = 0
                told = now
                await self._send(now)

    def _tell_pause(self, seconds: float) -> None:
        self._writer.submit(self._write, Pause(seconds))

    async def _send(self, message: FromWorker) -> None:
        """One hop, because the parent may be slow to read; then we are slow to fetch."""
        await asyncio.get_running_loop().run_in_executor(self._writer, self._write, message)

    def _write(self, message: FromWorker) -> None:
        with contextlib.suppress(OSError):  # the parent has gone: the reader ends everything
            self._outbox.write(framed(message))
            self._outbox.flush()

    # ---------------------------------------------------------------- being told; in a thread

    def _read(self, loop: asyncio.AbstractEventLoop, work: asyncio.Task[None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: we were done already
            for message in self._inbox:
                loop.call_soon_threadsafe(self._obey, message)
            loop.call_soon_threadsafe(work.cancel)

    def _obey(self, message: ToWorker) -> None:
        match message:
            case Jobs(jobs):
                for job in jobs:
                    self._jobs.put_nowait(job)
            case NoMore():
                self._jobs.put_nowait(None)
            case Close():
                self._valve.close()
            case Drop():
                self._valve.drop()
            case Pause(seconds):
                self._limits.pause(seconds)


def main() -> None:
    """Be a worker process."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        with contextlib.suppress(AttributeError):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # What is printed by accident must not go between the messages.
    outbox = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    inbox = messages_of(os.fdopen(os.dup(0), "rb"))
    order = next(inbox, None)
    if isinstance(order, Order):
        run(_serve(order, inbox, outbox))
    # Without the usual end of an interpreter, which would wait for the thread that reads.
    sys.stderr.flush()
    os._exit(0)


async def _serve(order: Order, inbox: Iterator[Any], outbox: BinaryIO) -> None:
    await Worker(order, inbox, outbox).run()
