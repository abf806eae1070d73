"""``agentphone-async missing``: what the API has and an archive has not."""

from __future__ import annotations

import json
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentphone_async.cli.connection import Connection, connection_options
from agentphone_async.cli.exit_codes import DONE, INTERRUPTED, SOME_FAILED
from agentphone_async.cli.filters import bounded
from agentphone_async.cli.param_types import Folder
from agentphone_async.cli.period import Period, period_options
from agentphone_async.cli.signals import interruptible
from agentphone_async.own_loop import run

if TYPE_CHECKING:
    from agentphone_async.archive.compare import MissingCall, MissingReport
    from agentphone_async.archive.selection.selection import Selection

_ROWS_AT_ONCE = 100


@click.command("missing")
@click.argument("dest", type=Folder())
@period_options
@click.option("--absent", is_flag=True, help="Also those that are known to have no recording.")
@connection_options
@click.option("--json", "as_json", is_flag=True, help="JSON objects, one a line.")
@click.option("-q", "--quiet", is_flag=True, help="No count at the end.")
def command(
    *,
    dest: Path,
    period: Period,
    absent: bool,
    connection: Connection,
    as_json: bool,
    quiet: bool,
) -> int:
    """List calls in the API whose recordings are not in the archive DEST.

    Their state is unseen (no run has met them), not_ready or failed. Nothing is fetched; archive
    does that. Exits with 1 only if the API's list could not be seen as a whole.
    """
    work = _compare(dest, bounded(period), connection, absent=absent, as_json=as_json, quiet=quiet)
    code = run(interruptible(work))
    return INTERRUPTED if code is None else code


async def _compare(
    dest: Path,
    selection: Selection,
    connection: Connection,
    *,
    absent: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    from agentphone_async.archive.catalog.database import Catalog
    from agentphone_async.archive.compare import Comparison
    from agentphone_async.cli.archive_tables import LongTable

    async with await Catalog.open(dest, write=False):
        pass  # no archive: say so before asking the API
    table = LongTable(_COLUMNS)
    rows: list[MissingCall] = []
    async with connection.client() as client:
        comparison = Comparison(dest, client, selection, absent=absent)
        async with aclosing(comparison.missing()) as missing:
            async for found in missing:
                if as_json:
                    click.echo(json.dumps({"state": found.state, "call": found.call.raw}))
                    continue
                rows.append(found)
                if len(rows) == _ROWS_AT_ONCE:
                    table.print(map(_row, rows))
                    rows.clear()
    if rows:
        table.print(map(_row, rows))
    return _conclude(comparison.report, quiet=quiet)


def _conclude(report: MissingReport, *, quiet: bool) -> int:
    for problem in report.problems:
        click.echo(problem, err=True)
    if not report.complete:
        click.echo("the API's list went in circles or lost calls; more may be missing", err=True)
    if not quiet:
        missing = sum(report.missing.values())
        states = ", ".join(f"{count:,} {state}" for state, count in sorted(report.missing.items()))
        which = f" ({states})" if states else ""
        click.echo(
            f"{missing:,} of {report.selected:,} calls are missing{which}; "
            f"{report.archived:,} archived, {report.no_recording:,} without a recording",
            err=True,
        )
    return DONE if report.complete else SOME_FAILED


_COLUMNS: tuple[tuple[str, int | None], ...] = (
    ("started", 19),
    ("direction", 9),
    ("from", 16),
    ("to", 16),
    ("length", 8),
    ("status", 11),
    ("state", 12),
    ("id", None),
)


def _row(found: MissingCall) -> list[str | None]:
    from agentphone_async.cli.call_tables import duration, moment

    call = found.call
    return [
        moment(call.started_at),
        call.direction,
        call.from_number,
        call.to_number,
        duration(call.duration_seconds),
        call.status,
        found.state,
        call.id,
    ]
