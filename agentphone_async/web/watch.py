"""`watch`: recordings are archived minutes after their calls, as webhooks tell of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import anyio

from agentphone_async.archive.archive import Archive
from agentphone_async.archive.bucket.archive import BucketArchive
from agentphone_async.archive.catalog.opening import inspect
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.selection import Selection
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.errors import (
    AgentPhoneError,
    ArchiveLockedError,
    AuthenticationError,
    ConfigurationError,
    PermissionDeniedError,
)
from agentphone_async.waiting import first_of
from agentphone_async.web.consumer import Consumer, a_day_before
from agentphone_async.web.inbox import Inbox
from agentphone_async.web.listen import Address, listen, notify, runner_of
from agentphone_async.web.receiver import Receiver

BETWEEN_ROUNDS = 1.0
"""Seconds in which other commands may take the archive's lock."""

AFTER_ERROR = 15.0
DRAIN = 10.0
"""Seconds after a stop in which what is under way may be finished."""

_log = logging.getLogger("agentphone_async.web")


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How to watch.

    Attributes:
        address: where webhooks come in.
        secrets: of the webhook: one, or the old and the new one.
        poll: seconds between readings of the list of calls; None never reads it.
        behind_proxy: other machines may connect.
        run: the archive's options.
    """

    address: Address
    secrets: Sequence[str]
    poll: float | None = 900.0
    behind_proxy: bool = False
    run: RunOptions = field(default_factory=lambda: RunOptions(metadata=True, transcripts=True))

    def __post_init__(self) -> None:
        if not self.address.is_loopback and not self.behind_proxy:
            raise ConfigurationError(
                f"{self.address} is reachable from other machines, and webhooks need TLS; listen "
                "on 127.0.0.1 behind a proxy, or add --behind-proxy if the proxy is elsewhere"
            )


class Watch:
    """Receives webhooks and archives what they announce, until it is stopped.

    Args:
        archive: where recordings go.
        client: an open client with an API key.
        options: how.
        now: Unix time.
        clock: seconds, for pauses and rounds.
    """

    def __init__(
        self,
        archive: Archive | BucketArchive,
        client: AsyncAgentPhone,
        options: WatchOptions,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self._archive = archive
        self._options = options
        self._now = now
        self._clock = clock
        self._stopping = asyncio.Event()
        self._well = True
        self._consumer: Consumer | None = None
        self.counts: Counter[str] = Counter()

    def stop(self) -> None:
        """Take no more webhooks, finish what is under way, and end."""
        self._stopping.set()

    async def run(self, ready: Callable[[Address], Any] = lambda _: None) -> None:
        """Watch.

        Args:
            ready: told where, as soon as webhooks are taken.

        Raises:
            ConfigurationError: the address cannot be used.
            CatalogError: inbox or catalog are not ours, damaged or newer than we are.
            DestinationError: the folder cannot be written, or the bucket not be used.
            AuthenticationError, PermissionDeniedError: the API key was refused at the start.
        """
        inspect(self._archive.folder)  # a catalog that is not ours is not a place for an inbox
        if isinstance(self._archive, BucketArchive):
            async with self._archive.opened(make=True):
                pass  # a bucket that cannot be used is said now
        async with await Inbox.open(self._archive.folder) as inbox:
            receiver = Receiver(
                inbox, self._options.secrets, healthy=lambda: self._well, now=self._now
            )
            receiver.counts = self.counts
            runner = runner_of(receiver.app(), DRAIN)
            await runner.setup()
            try:
                address = await listen(runner, self._options.address)
                async with anyio.create_task_group() as group:
                    group.start_soon(self._consume, inbox)
                    ready(address)
                    notify("READY=1")
                    await self._stopping.wait()
                    notify("STOPPING=1")
                    await runner.cleanup()  # what was sent is kept and acknowledged
                    await self._drain()
            except BaseExceptionGroup as failures:
                raise _first_of(failures) from failures
            finally:
                await runner.cleanup()

    async def _drain(self) -> None:
        if self._consumer is not None:
            self._consumer.stop()
        asyncio.get_running_loop().call_later(DRAIN, self._archive.stop)

    async def _consume(self, inbox: Inbox) -> None:
        consumer = self._consumer = Consumer(
            self._archive,
            self.client,
            inbox,
            self._options.run,
            self.counts,
            now=self._now,
            clock=self._clock,
        )
        poll_at = self._clock() if self._options.poll is not None else float("inf")
        first, polled = True, False
        while True:
            stopping, pause = self._stopping.is_set(), BETWEEN_ROUNDS
            try:
                due = await inbox.is_due(self._now(), fresh=stopping)
                if self._clock() >= poll_at and not stopping and not (due and polled):
                    polled = True
                    await self._poll(consumer, inbox)
                    poll_at = self._clock() + (self._options.poll or 0.0)
                elif due:
                    polled = False
                    await consumer.round()
                elif stopping:
                    return
                else:
                    pause = await self._idle(inbox, poll_at)
                self._note_well()
            except AgentPhoneError as error:
                if first and isinstance(error, AuthenticationError | PermissionDeniedError):
                    raise
                pause = self._complain(error)
                if stopping:
                    return
            first = False
            await self._wait(inbox, pause)

    async def _idle(self, inbox: Inbox, poll_at: float) -> float:
        coming = await inbox.next_due()
        until_due = 60.0 if coming is None else coming - self._now()
        return max(0.0, min(until_due, poll_at - self._clock(), 60.0))

    async def _wait(self, inbox: Inbox, pause: float) -> None:
        """Pause, but not beyond news; the lock stays free for a moment even then."""
        if self._stopping.is_set():
            return
        inbox.changed.clear()
        events = [self._stopping] if pause <= BETWEEN_ROUNDS else [self._stopping, inbox.changed]
        await first_of(asyncio.sleep(pause), *(event.wait() for event in events))

    async def _poll(self, consumer: Consumer, inbox: Inbox) -> None:
        await inbox.prune(self._now())
        options = replace(self._options.run, since_last=True)
        try:
            await consumer.poll(Selection(), options)
        except ConfigurationError:
            day = a_day_before(datetime.fromtimestamp(self._now(), UTC))
            await consumer.poll(day, self._options.run)

    def _note_well(self) -> None:
        if not self._well:
            _log.info("it works again")
        self._well = True

    def _complain(self, error: AgentPhoneError) -> float:
        """Say it once, and return how long to wait."""
        if isinstance(error, ArchiveLockedError):
            _log.info("waiting: %s", error)
            return 2.0
        if self._well:
            _log.error("%s; webhooks are kept meanwhile", error)
        self._well = False
        return AFTER_ERROR


def _first_of(failures: BaseException) -> BaseException:
    while isinstance(failures, BaseExceptionGroup):
        failures = failures.exceptions[0]
    return failures
