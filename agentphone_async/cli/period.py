"""Which calls are meant: a day or a range, and filters."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any

import click

from agentphone_async.cli.config_file import Section
from agentphone_async.cli.options import Function, add_options, bundle, option

if TYPE_CHECKING:
    from agentphone_async.archive.selection import Selection


LAST = "last"
LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Period:
    """What the options said, as text."""

    date: str | None
    since: str | None
    until: str | None
    tz: str | None
    status: str | None
    direction: str | None

    @property
    def since_last(self) -> bool:
        """Whether to resume where the last complete run ended."""
        return self.since == LAST

    @property
    def is_given(self) -> bool:
        """Whether the options name any day or bound."""
        return any(bound is not None for bound in (self.date, self.since, self.until))

    def zone(self) -> tzinfo:
        """The zone in which days begin.

        Raises:
            SelectionError: there is no such zone.
        """
        from agentphone_async.archive.selection import load_zone

        return load_zone(None if self.tz == LOCAL else self.tz)

    def selection(self, now: datetime | None = None) -> Selection:
        """The selection that they amount to.

        Raises:
            SelectionError: a value cannot be read, or the range is empty; the message says which.
            click.UsageError: ``--date`` was combined with a bound.
        """
        from agentphone_async.archive.selection import Selection, parse_day, parse_moment

        if self.date is not None and (self.since is not None or self.until is not None):
            raise click.UsageError("--date names one day; leave out --since and --until, or it")
        zone = self.zone()
        now = now or datetime.now(UTC)
        filters = {"status": self.status, "direction": self.direction}
        if self.date is not None:
            day = parse_day(self.date, now.astimezone(zone).date())
            return Selection.of_day(day, zone, **filters)
        since = None if self.since is None or self.since_last else self.since
        return Selection(
            since=None if since is None else parse_moment(since, zone, now),
            until=None if self.until is None else parse_moment(self.until, zone, now),
            **filters,
        )

    def bounded(self) -> Selection:
        """The selection of a command that does not remember runs.

        Raises:
            click.UsageError: ``--since last`` was asked for.
        """
        if self.since_last:
            raise click.UsageError("--since last is for archive; give a date, such as --since 7d")
        return self.selection()


@dataclass(frozen=True, slots=True)
class Filters:
    """Which calls of an archive are meant."""

    selection: Selection
    states: tuple[str, ...]
    versions: bool

    def which(self) -> dict[str, Any]:
        """What a query takes besides the selection."""
        return {"states": self.states, "versions": self.versions}


period_options = bundle(
    "period",
    Period,
    option(Section.WHAT, "--date", metavar="DAY", help="One day: YYYY-MM-DD, today, yesterday."),
    option(
        Section.WHAT,
        "--since",
        metavar="WHEN",
        help="From this day or moment on; 36h and 7d count back from now.",
    ),
    option(
        Section.WHAT,
        "--until",
        metavar="WHEN",
        help="Up to this day or moment, which is not included.",
    ),
    option(
        Section.WHAT,
        "--tz",
        metavar="ZONE",
        help="Zone of days and of dates in names, such as Europe/Berlin.  [default: local]",
    ),
    option(Section.WHAT, "--status", metavar="STATUS", help="Only calls with this status."),
    option(
        Section.WHAT,
        "--direction",
        type=click.Choice(["inbound", "outbound"]),
        help="Only calls of this direction.",
    ),
)
"""Which calls are meant: one ``period`` argument."""


# As in archive.query.STATES, which help must not wait for; a test compares the two.
STATES = (
    "archived", "not_ready", "no_recording", "failed", "suspect", "empty", "disputed", "erased",
    "pending",
)  # fmt: skip


def archive_filters(command: Function) -> Function:
    """Add the options of commands that read an archive: one ``filters`` argument."""

    @functools.wraps(command)
    def with_filters(
        *args: Any, period: Period, states: tuple[str, ...], versions: bool, **kwargs: Any
    ) -> Any:
        filters = Filters(period.bounded(), states, versions)
        return command(*args, filters=filters, **kwargs)

    return period_options(
        add_options(
            with_filters,
            option(
                Section.WHAT,
                "--state",
                "states",
                multiple=True,
                type=click.Choice(STATES),
                metavar="STATE",
                help=f"Only calls in this state: {', '.join(STATES)}. May be given more than once.",
            ),
            option(
                Section.WHAT,
                "--versions",
                is_flag=True,
                help="Every version of a recording, not only the current one.",
            ),
        )
    )
