"""Which calls of an archive are meant: the same options for every command that reads one."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from agentphone_async.cli.options import Function, add_options
from agentphone_async.cli.period import Period, period_options

if TYPE_CHECKING:
    from agentphone_async.archive.selection.selection import Selection


# As in archive.query.STATES, which help must not wait for; a test compares the two.
STATES = (
    "archived", "not_ready", "no_recording", "failed", "suspect", "empty", "disputed", "erased",
    "pending",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filters:
    """What the options said."""

    selection: Selection
    states: tuple[str, ...]
    versions: bool


def bounded(period: Period) -> Selection:
    """The selection of a command that does not remember runs.

    Raises:
        click.UsageError: ``--since last`` was asked for.
    """
    if period.since_last:
        raise click.UsageError("--since last is for archive; give a date, such as --since 7d")
    return period.selection()


def archive_filters(command: Function) -> Function:
    """Add the options; the command gets them as one ``filters`` argument."""

    @functools.wraps(command)
    def with_filters(
        *args: Any, period: Period, states: tuple[str, ...], versions: bool, **kwargs: Any
    ) -> Any:
        return command(*args, filters=Filters(bounded(period), states, versions), **kwargs)

    return period_options(
        add_options(
            with_filters,
            click.option(
                "--state",
                "states",
                multiple=True,
                type=click.Choice(STATES),
                help="Only calls in this state; may be given more than once.",
            ),
            click.option(
                "--versions",
                is_flag=True,
                help="Every version of a recording, not only the current one.",
            ),
        )
    )
