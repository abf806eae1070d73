"""What a run shows while it works: a live line, a line now and then, JSON events, or nothing.

Data go to standard output, everything else to standard error. What comes from the network is made
harmless before it reaches a terminal.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from agentphone_async.cli.summary import Summary, name_of
from agentphone_async.protocol.display import printable
from agentphone_async.quantities import size_text
from agentphone_async.recordings.outcomes import AlreadyArchived, Archived, Failed, Outcome

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

LINE_EVERY = 10.0
UPDATES_PER_SECOND = 5
TYPICAL_BYTES_A_SECOND = 16_000
"""Of audio at 8 kHz in 16 bits."""

NARROW = 60
"""Columns of a terminal; with fewer, the live line is counts alone."""

MOST_FAILURES_SHOWN = 20


class Forecast:
    """How long it takes: weighted by the lengths of the calls, since longer ones come first."""

    def __init__(self) -> None:
        self._planned = 0.0
        self._done = 0.0
        self._bytes = 0

    def planned(self, lengths: Iterable[float | None]) -> None:
        """Recordings of calls of these lengths, in seconds, are going to be fetched."""
        self._planned += sum(length or 0.0 for length in lengths)

    def settled(self, outcome: Outcome) -> None:
        """One has come, or will not come."""
        length = (outcome.call.duration_seconds if outcome.call else None) or 0.0
        if isinstance(outcome, Archived):
            self._done += length
            self._bytes += outcome.recording.size
        elif not isinstance(outcome, AlreadyArchived):
            self._planned = max(self._done, self._planned - length)

    def seconds_left(self, arrived: int, elapsed: float) -> float | None:
        """Seconds until all have come, at the rate of until now; None if nobody can tell."""
        if not self._planned or not arrived or elapsed <= 0:
            return None
        a_second = self._bytes / self._done if self._done else TYPICAL_BYTES_A_SECOND
        return max(0.0, self._planned * a_second - arrived) * elapsed / arrived


class Quiet:
    """Says what went wrong, and nothing else.

    Attributes:
        brief: whether that is all.
    """

    brief = True

    def __init__(self, summary: Summary, *, verbose: bool = False) -> None:
        self.summary = summary
        self.forecast = Forecast()
        self.arrived = 0
        self._verbose = verbose
        self._reasons = 0
        self._last_reason = ""

    def listed(self, count: int) -> None:
        """Count them."""
        self.summary.listed += count

    def planned(self, lengths: Iterable[float | None]) -> None:
        """Recordings of calls of these lengths, in seconds, are going to be fetched."""
        self.forecast.planned(lengths)

    def bytes(self, count: int) -> None:
        """Count them."""
        self.arrived += count

    def settled(self, outcome: Outcome) -> None:
        """Count it; say why if it failed."""
        self.summary.add(outcome)
        self.forecast.settled(outcome)
        if isinstance(outcome, Failed):
            self._explain(str(outcome.error))
        elif isinstance(outcome, Archived) and outcome.recording.suspect:
            self.note(f"suspect: {outcome.recording.path.name}: {outcome.recording.suspect}")

    def _explain(self, reason: str) -> None:
        """Say it unless it was just said, or very many were: a host that is down says it once."""
        if self._verbose:
            self.note(f"failed: {reason}")
        elif reason != self._last_reason and self._reasons < MOST_FAILURES_SHOWN:
            self._reasons += 1
            self._last_reason = reason
            self.note(f"failed: {reason}")
            if self._reasons == MOST_FAILURES_SHOWN:
                self.note("further failures are only counted; --verbose names them all")

    def note(self, message: str) -> None:
        """One line on standard error."""
        click.echo(printable(message, 1000), err=True)

    def tell(self, event: str, line: str | None, **fields: object) -> None:  # noqa: ARG002
        """Something has happened: a line for people, if it is worth one; fields for programs."""
        if line is not None:
            self.note(line)

    def close(self) -> None:
        """Nothing to clean up."""

    def conclude(self, **more: object) -> None:  # noqa: ARG002 - more is for programs
        """The last lines."""
        if self.brief:
            lines = list(filter(None, [self.summary.rest()]))
        else:
            click.echo(self.summary.as_sentence(), err=True)
            lines = self.summary.notes()
        for line in lines:
            self.note(line)


class Lines(Quiet):
    """For logs: one plain line every ten seconds."""

    brief = False

    def __init__(self, summary: Summary, *, verbose: bool = False) -> None:
        super().__init__(summary, verbose=verbose)
        self._started = self._last = time.monotonic()

    def bytes(self, count: int) -> None:
        """Count them, and say how far it is if it is time for that."""
        super().bytes(count)
        self._tick()

    def settled(self, outcome: Outcome) -> None:
        """Count it, and say how far it is if it is time for that."""
        super().settled(outcome)
        if self._verbose and not isinstance(outcome, Failed):
            self.note(_account(outcome))
        self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._last >= LINE_EVERY:
            self._last = now
            rate = self.arrived / (now - self._started)
            click.echo(
                f"{self.summary.settled:,} of {self.summary.listed:,} calls, "
                f"{size_text(self.arrived)}, {size_text(rate)}/s",
                err=True,
            )


class Json(Quiet):
    """For programs: one JSON object a line on standard output."""

    brief = False

    def settled(self, outcome: Outcome) -> None:
        """Count it and write its event."""
        self.summary.add(outcome)
        event: dict[str, object] = {"event": name_of(outcome), "call_id": outcome.call_id}
        if isinstance(outcome, Archived):
            recording = outcome.recording
            event |= {
                "path": str(recording.path),
                "bytes": recording.size,
                "sha256": recording.sha256,
                "media_type": recording.media_type,
                "duration_seconds": recording.duration_seconds,
                "attempts": recording.attempts,
                "suspect": recording.suspect,
            }
        elif isinstance(outcome, Failed):
            event |= {"error": _public_name(outcome.error), "message": str(outcome.error)}
        self.emit(event)

    def tell(self, event: str, line: str | None, **fields: object) -> None:  # noqa: ARG002
        """An event of its own."""
        self.emit({"event": event, **fields})

    def conclude(self, **more: object) -> None:
        """The summary, and more of it."""
        self.emit(self.summary.as_event() | more)

    def emit(self, event: dict[str, object]) -> None:
        """One event, one line, ASCII only; at once, for those who read along."""
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


def _public_name(error: Exception) -> str:
    """The name of the nearest class that can be imported from the top."""
    import agentphone_async

    names = (each.__name__ for each in type(error).__mro__)
    return next(name for name in names if name in agentphone_async.__all__)


class Live(Quiet):
    """For a terminal: one line that is drawn again, at most five times a second."""

    brief = False

    def __init__(self, summary: Summary, *, verbose: bool = False) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
        )
        from rich.table import Column

        super().__init__(summary, verbose=verbose)
        self._console = Console(stderr=True, highlight=False)
        # Where the line is too long, the bar gives way, and not the counts.
        counts = (
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("calls"),
            TextColumn("[cyan]{task.fields[size]}"),
            TextColumn("[green]{task.fields[rate]}"),
        )
        self._narrow = (SpinnerColumn(), *counts)
        self._wide = (
            SpinnerColumn(),
            BarColumn(bar_width=24),
            *counts,
            TextColumn("[cyan]{task.fields[eta]}"),
        )
        self._progress = Progress(
            *self._fitting(),
            console=self._console,
            refresh_per_second=UPDATES_PER_SECOND,
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, size="", rate="", eta="-:--:--")
        self._started = self._drawn = time.monotonic()
        self._progress.start()

    def listed(self, count: int) -> None:
        """Count them and draw."""
        super().listed(count)
        self._draw()

    def bytes(self, count: int) -> None:
        """Count them and draw."""
        super().bytes(count)
        self._draw()

    def settled(self, outcome: Outcome) -> None:
        """Count it and draw."""
        super().settled(outcome)
        if self._verbose and not isinstance(outcome, Failed):
            self.note(_account(outcome))
        self._draw()

    def note(self, message: str) -> None:
        """One line above the live one."""
        self._console.print(printable(message, 1000), markup=False, soft_wrap=True)

    def close(self) -> None:
        """Take the live line away."""
        self._progress.stop()

    def _eta(self, elapsed: float) -> str:
        left = self.forecast.seconds_left(self.arrived, elapsed)
        if left is None and self.summary.settled and self.summary.listed:
            left = elapsed * self.summary.left / self.summary.settled
        if left is None:
            return "-:--:--"
        minutes, seconds = divmod(round(left), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}"

    def _fitting(self) -> tuple[ProgressColumn, ...]:
        return self._narrow if self._console.width < NARROW else self._wide

    def _draw(self) -> None:
        now = time.monotonic()
        if now - self._drawn < 1 / UPDATES_PER_SECOND:
            return
        self._drawn = now
        self._progress.columns = self._fitting()
        self._progress.update(
            self._task,
            completed=self.summary.settled,
            total=self.summary.listed or None,
            size=size_text(self.arrived),
            rate=f"{size_text(self.arrived / (now - self._started))}/s",
            eta=self._eta(now - self._started),
        )


def _account(outcome: Outcome) -> str:
    name = name_of(outcome).replace("_", " ")
    if isinstance(outcome, Archived):
        return f"{name}: {outcome.recording.path} ({size_text(outcome.recording.size)})"
    return f"{name}: {outcome.call_id}"
