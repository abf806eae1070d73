"""``agentphone-async missing``: what the API has and an archive has not."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentphone_async.cli.config_file import Section
from agentphone_async.cli.connection import Connection
from agentphone_async.cli.event_loop import run_interruptible
from agentphone_async.cli.exit_codes import DONE, SOME_FAILED
from agentphone_async.cli.options import (
    Command,
    connection_options,
    option,
    output_option,
    quiet_option,
)
from agentphone_async.cli.period import Period, period_options
from agentphone_async.cli.places import readable_archive

if TYPE_CHECKING:
    from agentphone_async.archive.compare import MissingCall, MissingReport
    from agentphone_async.archive.selection import Selection
    from agentphone_async.cli.tables import Column


@click.command("missing", cls=Command)
@readable_archive
@period_options
@option(Section.WHAT, "--absent", is_flag=True,
        help="Also those that are known to have no recording.")  # fmt: skip
@connection_options
@output_option("table", "tsv", "json", "ids")
@quiet_option
def command(
    *,
    dest: Path,
    period: Period,
    absent: bool,
    connection: Connection,
    output: str | None,
    quiet: bool,
) -> int:
    """List calls in the API whose recordings are not in the archive DEST.

    Their state is unseen (no run has met them), not_ready or failed. Nothing is fetched; archive
    does that. Exits with 1 only if the API's list could not be seen as a whole.

    \b
    agentphone-async missing ~/calls --since 7d
    """
    work = _compare(dest, period.bounded(), connection, absent=absent, output=output, quiet=quiet)
    return run_interruptible(work)


async def _compare(
    dest: Path,
    selection: Selection,
    connection: Connection,
    *,
    absent: bool,
    output: str | None,
    quiet: bool,
) -> int:
    from agentphone_async.archive.catalog.database import Catalog
    from agentphone_async.archive.compare import Comparison
    from agentphone_async.cli.calls import statuses_of
    from agentphone_async.cli.tables import Rows

    async with await Catalog.open(dest, write=False):
        pass  # no archive: say so before asking the API
    rows = Rows(
        _columns(),
        output,
        ids=lambda found: found.call.id,
        as_json=lambda found: {"state": found.state, "call": found.call.raw},
    )
    async with connection.client() as client:
        comparison = Comparison(dest, client, selection, absent=absent)
        async with aclosing(comparison.missing()) as missing:
            await rows.print_all(missing)
        hint = ""
        if not comparison.report.selected and selection.status is not None:
            hint = await statuses_of(client)
    return _conclude(comparison.report, hint, quiet=quiet)


def _conclude(report: MissingReport, hint: str, *, quiet: bool) -> int:
    from agentphone_async.quantities import counted

    for problem in report.problems:
        click.echo(problem, err=True)
    if not report.complete:
        click.echo("the API's list went in circles or lost calls; more may be missing", err=True)
    if not report.selected:
        click.echo(f"no calls match{hint}", err=True)
    elif not quiet:
        missing = sum(report.missing.values())
        states = ", ".join(f"{count:,} {state}" for state, count in sorted(report.missing.items()))
        which = f" ({states})" if states else ""
        click.echo(
            f"{missing:,} of {counted(report.selected, 'call')} {'is' if missing == 1 else 'are'} "
            f"missing{which}; "
            f"{report.archived:,} archived, {report.no_recording:,} without a recording",
            err=True,
        )
    return DONE if report.complete and not report.problems else SOME_FAILED


def _columns() -> list[Column[MissingCall]]:
    from agentphone_async.cli.tables import Column, call_columns

    return [
        *call_columns(lambda found: found.call),
        Column("status", lambda found: found.call.status, width=11, rank=10),
        Column("state", lambda found: found.state, width=12, rank=60),
        Column("id", lambda found: found.call.id),
    ]
