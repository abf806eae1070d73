"""``agentphone-async ls``: what an archive holds."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentphone_async.cli.event_loop import run_interruptible
from agentphone_async.cli.exit_codes import DONE
from agentphone_async.cli.options import Command, output_option
from agentphone_async.cli.period import Filters, archive_filters
from agentphone_async.cli.places import readable_archive

if TYPE_CHECKING:
    from agentphone_async.archive.catalog.database import Catalog
    from agentphone_async.archive.query import Entry
    from agentphone_async.cli.tables import Column


@click.command("ls", cls=Command)
@readable_archive
@archive_filters
@output_option("table", "tsv", "json", "ids")
def command(*, dest: Path, filters: Filters, output: str | None) -> int:
    """List the calls in the archive DEST, oldest first.

    A call's state is that of its recording: archived, suspect (kept, though its header and its
    bytes disagree), not_ready, no_recording, failed; or pending: no run has asked for it yet.

    \b
    agentphone-async ls ~/calls --state failed
    agentphone-async ls ~/calls --since 7d -o ids
    """
    run_interruptible(_list(dest, filters, output))
    return DONE


async def _list(dest: Path, filters: Filters, output: str | None) -> None:
    from agentphone_async.archive.catalog.database import Catalog
    from agentphone_async.archive.query import Entry, entries
    from agentphone_async.cli.tables import Rows
    from agentphone_async.quantities import counted, size_text

    rows = Rows(_columns(), output, ids=lambda entry: entry.call.id, as_json=Entry.as_dict)
    files = size = failed = 0
    async with await Catalog.open(dest, write=False) as catalog:
        found = entries(catalog, filters.selection, **filters.which())
        async with aclosing(found) as batches:
            async for batch in batches:
                for entry in batch:
                    failed += entry.state == "failed"
                    if (stored := _size(entry)) is not None:
                        files += 1
                        size += stored
                rows.print(batch)
        hint = "" if rows.count or filters.selection.status is None else await _statuses(catalog)
    rows.finish(f"no calls match{hint}")
    if rows.count and rows.output == "table":
        click.echo(
            f"{counted(rows.count, 'row')}, {counted(files, 'recording')}, {size_text(size)}",
            err=True,
        )
        if failed:
            click.echo("-o json and -o tsv say why, in last_error", err=True)


async def _statuses(catalog: Catalog) -> str:
    from agentphone_async.cli.summary import statuses_seen

    counted = "SELECT coalesce(status, 'none'), count(*) FROM calls GROUP BY 1"
    found = await catalog.run(lambda connection: connection.execute(counted).fetchall())
    return statuses_seen(dict(found))


def _columns() -> list[Column[Entry]]:
    from agentphone_async.cli.tables import Column

    return [
        Column("started", lambda entry: entry.call.started, "moment", rank=5),
        Column("direction", lambda entry: entry.call.direction, width=9, rank=0),
        Column("from", lambda entry: entry.parsed.from_number, width=16, rank=2),
        Column("to", lambda entry: entry.parsed.to_number, width=16, rank=1),
        Column(
            "length",
            lambda entry: entry.parsed.duration_seconds,
            "duration",
            rank=4,
            unit="seconds",
        ),
        Column("size", _size, "size", rank=3, unit="bytes"),
        Column("state", lambda entry: entry.state, width=12, rank=6),
        Column("id", lambda entry: entry.call.id, in_table=False),
        Column("path", _path, in_table=False),
        Column("last_error", _last_error, in_table=False),
        Column("path or id", lambda entry: _path(entry) or entry.call.id, in_tsv=False),
    ]


def _path(entry: Entry) -> str | None:
    recording = entry.recording
    return None if recording is None or recording.path is None else recording.path.as_posix()


def _last_error(entry: Entry) -> str | None:
    return None if entry.recording is None else entry.recording.last_error


def _size(entry: Entry) -> int | None:
    recording = entry.recording
    return recording.size or 0 if recording is not None and recording.on_disk else None
