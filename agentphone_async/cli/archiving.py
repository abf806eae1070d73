"""Running an archive for the command line: what is shown, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentphone_async.archive.archive import Archive
from agentphone_async.archive.files.storage import LocalFiles
from agentphone_async.archive.observer import Observer
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.report import Report
from agentphone_async.archive.selection import Selection
from agentphone_async.cli.after import Program, running
from agentphone_async.cli.connection import Connection, Transfers
from agentphone_async.cli.display import Json, Quiet
from agentphone_async.cli.event_loop import SECOND_SIGNAL, run_interruptible
from agentphone_async.cli.exit_codes import DESTINATION, DONE, INTERRUPTED, SOME_FAILED
from agentphone_async.cli.showing import Showing
from agentphone_async.cli.slowness import Slowness
from agentphone_async.cli.summary import Summary, statuses_seen
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.models import Call
from agentphone_async.quantities import counted, size_text
from agentphone_async.recordings.outcomes import Outcome

if TYPE_CHECKING:
    from agentphone_async.archive.bucket.archive import BucketArchive


class Watcher(Observer):
    """Passes on to a display what a run tells.

    Attributes:
        interrupted: it was the user who stopped the run.
        stopped: it ends early, for whatever reason.
        note: prints a line.
    """

    def __init__(
        self,
        display: Quiet,
        slowness: Slowness | None = None,
        program: Program | None = None,
    ) -> None:
        self._slowness = slowness
        self._display = display
        self._program = program
        self.interrupted = False
        self.stopped = False
        self.note = display.note

    def listed(self, count: int) -> None:  # noqa: ARG002 - the display counts those of interest
        """A page of the list has come."""
        self._answered()

    def selected(self, count: int) -> None:
        """These are the calls that the display counts."""
        self._display.listed(count)

    def bytes(self, count: int) -> None:
        """Bytes have arrived."""
        self._answered()
        self._display.bytes(count)

    def settled(self, outcome: Outcome) -> None:
        """A call has its outcome."""
        self._display.settled(outcome)
        if self._program is not None:
            self._program.settled(outcome)

    def planned(self, calls: Sequence[Call]) -> None:
        """These are going to be fetched."""
        self._display.planned(call.duration_seconds for call in calls)

    def begin(self) -> None:
        """The client is open, and its first answer is waited for."""
        if self._slowness is not None:
            self._slowness.begin()

    def run(
        self,
        work: Coroutine[Any, Any, Report],
        stop: Callable[[], None],
        *,
        dry_run: bool = False,
    ) -> int:
        """Do what is watched, say what happened, and return the exit code.

        Args:
            work: the run.
            stop: lets it end early.
            dry_run: whether it only finds out what would be fetched.
        """

        def interrupt() -> None:
            self.interrupted = True
            stop()

        try:
            report = run_interruptible(work, interrupt)
        finally:
            self._display.close()
        conclude(report, self._display, dry_run=dry_run)
        if report.error is not None:
            raise report.error
        code = exit_code(report)
        program_failed = self._program is not None and self._program.failed
        return SOME_FAILED if code == DONE and program_failed else code

    def _answered(self) -> None:
        if self._slowness is not None:
            self._slowness.answered()

    def stopping(self, reason: str) -> None:
        """The run is about to end early."""
        self.stopped = True
        if self.interrupted:
            reason += f"; {SECOND_SIGNAL}"
        elif not self._display.brief:
            reason += "; Ctrl-C stops at once"
        self._display.note(f"stopping: {reason}")


@dataclass(frozen=True)
class BucketPlace:
    """A destination that is not a folder."""

    url: str
    cache: Path | None
    allow_overwrite: bool
    hash_ids: bool

    def archive(self) -> BucketArchive:
        """The archive there."""
        from agentphone_async.archive.bucket.archive import BucketArchive
        from agentphone_async.sinks.bucket import Bucket

        bucket = Bucket.from_url(self.url, allow_overwrite=self.allow_overwrite)
        return BucketArchive(bucket, self.cache, hash_ids=self.hash_ids)


@dataclass(frozen=True)
class ArchiveJob:
    """One run, as the command line asked for it."""

    dest: Path | BucketPlace
    selection: Selection
    options: RunOptions
    connection: Connection
    transfers_at_once: Transfers
    program: Program | None = None

    def run(self, showing: Showing) -> int:
        """Run it, say what happened, and return the exit code."""
        client = self.transfers_at_once.client(self.connection)
        dest = self.dest
        if isinstance(dest, BucketPlace):
            archive: Archive | BucketArchive = dest.archive()
        else:
            archive = Archive(dest, LocalFiles(dest, inline=True))
        display = showing.display()
        display.summary.waiting.grace = self.options.grace
        slowness = Slowness(display, client, self.connection.retry_time)
        watcher = Watcher(display, slowness, self.program)
        work = self._run(archive, client, watcher)
        return watcher.run(work, archive.stop, dry_run=self.options.dry_run)

    async def _run(
        self, archive: Archive | BucketArchive, client: AsyncAgentPhone, watcher: Watcher
    ) -> Report:
        async with (
            client,
            running(self.program, watcher.note, lambda: watcher.stopped),
        ):
            wanted = client, self.selection, self.options
            if not isinstance(archive, Archive):
                return await archive.run(*wanted, observer=watcher, ready=watcher.begin)
            watcher.begin()
            return await archive.run(*wanted, observer=watcher)


def exit_code(report: Report) -> int:
    """What the exit code says of a run that was not broken."""
    if report.stop_reason == "interrupted":
        return INTERRUPTED
    if report.stop_reason == "min_free_space":
        return DESTINATION
    if report.failures_met:
        return SOME_FAILED
    return DONE


def conclude(report: Report, display: Quiet, *, dry_run: bool = False) -> None:
    """The last line, for people or for programs; and above it, what is odd."""
    told, display.summary = display.summary, summary_of(report)
    display.summary.waiting, display.summary.effort = told.waiting, told.effort
    problems = [*report.problems, *unmatched(report)]
    if not isinstance(display, Json):
        for problem in problems:
            display.note(problem)
        if dry_run and not display.brief:
            click.echo(
                f"{report.would_fetch:,} of {counted(report.selected, 'recording')} would be "
                f"fetched, about {size_text(report.estimated_bytes)} if they are 8 kHz 16-bit mono"
            )
            return
    more: dict[str, object] = {
        "suspect": report.suspect,
        "left": report.left,
        "scanned": report.listed,
        "complete": report.complete,
        "stopped_because": report.stopped_because,
        "problems": problems,
    }
    if dry_run:
        more |= {
            "would_fetch": report.would_fetch,
            "estimated_bytes": report.estimated_bytes,
            "unknown_sizes": report.unknown_sizes,
        }
    display.conclude(**more)


def unmatched(report: Report) -> list[str]:
    """The line for a filter that no call has met although there were calls: a typing error?"""
    if report.selected or not report.statuses:
        return []
    return [f"no call matches the filters{statuses_seen(report.statuses)}"]


def summary_of(report: Report) -> Summary:
    """A report's counts, as every command shows them."""
    return Summary(
        listed=report.selected,
        counts={
            "archived": report.archived + report.suspect,
            "no_recording": report.no_recording,
            "not_ready": report.not_ready,
            "already_archived": report.already_archived,
            "failed": report.failed,
        },
        bytes=report.bytes,
        seconds=report.seconds,
    )
