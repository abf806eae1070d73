"""Running ``fetch``: what is shown, and how it ends."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from datetime import datetime, timedelta
from pathlib import Path

import click

from agentphone_async.cli.after import Program, running
from agentphone_async.cli.connection import Connection, Transfers
from agentphone_async.cli.display import Quiet
from agentphone_async.cli.event_loop import LET_GO, SECOND_SIGNAL, run_interruptible
from agentphone_async.cli.exit_codes import DONE, INTERRUPTED, SOME_FAILED
from agentphone_async.cli.ids import call_ids, count_ids
from agentphone_async.cli.slowness import Slowness
from agentphone_async.errors import DestinationError, RunStoppedError
from agentphone_async.recordings.outcomes import was_left
from agentphone_async.recordings.stop import StopToken


class FetchJob:
    """One run of ``fetch``."""

    def __init__(
        self,
        call_ids: tuple[str, ...],
        from_file: Path | None,
        dest: Path | str,
        transfers: Transfers,
        connection: Connection,
        display: Quiet,
        program: Program | None,
        wait: float,
    ) -> None:
        self._call_ids = call_ids
        self._from_file = from_file
        self._dest = dest
        self._transfers = transfers
        self._connection = connection
        self._display = display
        self._program = program
        self._wait = wait
        self._said_waiting = False
        self._stop_token = StopToken()
        self._all_read = from_file is None

    def run(self) -> int:
        """Run it, say what happened, and return the exit code."""
        started = time.monotonic()
        summary = self._display.summary
        failure = None
        try:
            with suppress(click.Abort):  # the token knows of it, too
                run_interruptible(self._fetch(), self._stop)
        except DestinationError as error:
            failure = error
        finally:
            self._display.close()
        began = any(summary.counts.values()) or os.path.isdir(self._dest)  # noqa: PTH112 - which raises at long names
        if failure is not None and not began:
            raise failure  # with nothing to sum up
        summary.seconds = time.monotonic() - started
        summary.unread = self._unread()
        self._display.conclude()
        if failure is not None:
            raise failure
        if self._stop_token.closed:
            return INTERRUPTED
        failed = summary.counts["failed"] or (self._program is not None and self._program.failed)
        return SOME_FAILED if failed else DONE

    def _stop(self) -> None:
        self._display.note(f"stopping: it was interrupted; {SECOND_SIGNAL}")
        self._stop_token.close()
        asyncio.get_running_loop().call_later(LET_GO, self._stop_token.drop)

    def _unread(self) -> int | None:
        if self._all_read or self._from_file is None:
            return 0
        if str(self._from_file) == "-":
            return None
        read = max(0, self._display.summary.listed - len(self._call_ids))
        return max(0, count_ids(self._from_file) - read)

    async def _fetch(self) -> None:
        async with (
            aclosing(call_ids(self._call_ids, self._from_file, self._stop_token)) as ids,
            self._transfers.client(self._connection, key_needed=False) as client,
            running(self._program, self._display.note, lambda: self._stop_token.closed),
        ):
            slowness = Slowness(self._display, client, self._connection.retry_time)
            slowness.begin()

            def arrived(count: int) -> None:
                slowness.answered()
                self._display.bytes(count)

            def waiting() -> None:
                slowness.answered()
                self._say_waiting()

            outcomes = self._transfers.downloads(
                client,
                self._counted(ids),
                self._dest,
                arrived,
                self._stop_token,
                self._wait,
                waiting,
            )
            async with aclosing(outcomes):
                async for outcome in outcomes:
                    slowness.answered()
                    if not was_left(outcome):
                        self._display.settled(outcome)
                        if self._program is not None:
                            self._program.settled(outcome)
            slowness.end()

    def _say_waiting(self) -> None:
        if not self._said_waiting:
            self._said_waiting = True
            until = (datetime.now() + timedelta(seconds=self._wait)).strftime("%H:%M:%S")  # noqa: DTZ005 - for people
            self._display.note(f"some recordings are not ready yet; polling until {until}")

    async def _counted(self, ids: AsyncGenerator[str]) -> AsyncGenerator[str]:
        try:
            async for call_id in ids:
                if self._stop_token.closed:
                    return
                self._display.listed(1)
                yield call_id
        except RunStoppedError:
            return
        self._all_read = True
        if not self._display.summary.listed:
            raise click.BadParameter(
                f"there is no call id in {str(self._from_file)!r}", param_hint="--from-file"
            )
