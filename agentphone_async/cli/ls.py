"""``agentphone-async ls``: what an archive holds."""

from __future__ import annotations

import json
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentphone_async.cli.exit_codes import DONE, INTERRUPTED
from agentphone_async.cli.filters import Filters, archive_filters
from agentphone_async.cli.param_types import Folder
from agentphone_async.cli.signals import interruptible
from agentphone_async.own_loop import run

if TYPE_CHECKING:
    from agentphone_async.archive.query import Entry


@click.command("ls")
@click.argument("dest", type=Folder())
@archive_filters
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with everything.")
def command(*, dest: Path, filters: Filters, as_json: bool) -> int:
    """List the calls in the archive DEST by the time that they began.

    A call's state is that of its recording: archived, suspect (kept, though its header and its
    bytes disagree), not_ready, no_recording, failed; or pending: no run has asked for it yet.
    """
    finished = run(interruptible(_list(dest, filters, as_json=as_json)))
    return INTERRUPTED if finished is None else DONE


async def _list(dest: Path, filters: Filters, *, as_json: bool) -> bool:
    from agentphone_async.archive.catalog.database import Catalog
    from agentphone_async.archive.query import entries
    from agentphone_async.cli.archive_tables import LongTable
    from agentphone_async.cli.summary import size_text

    table = LongTable(_COLUMNS)
    calls = files = size = 0
    async with await Catalog.open(dest, write=False) as catalog:
        found = entries(
            catalog, filters.selection, states=filters.states, versions=filters.versions
        )
        async with aclosing(found) as batches:
            async for batch in batches:
                calls += len(batch)
                for entry in batch:
                    recording = entry.recording
                    if recording is not None and recording.on_disk:
                        files += 1
                        size += recording.size or 0
                if as_json:
                    # Escaped to ASCII: a terminal sees no control character.
                    click.echo("\n".join(json.dumps(entry.as_dict()) for entry in batch))
                else:
                    table.print(_row(entry) for entry in batch)
    if not as_json:
        click.echo(f"{calls:,} listed, {files:,} recordings, {size_text(size)}", err=True)
    return True


_COLUMNS: tuple[tuple[str, int | None], ...] = (
    ("started", 19),
    ("direction", 9),
    ("from", 16),
    ("to", 16),
    ("length", 8),
    ("size", 9),
    ("state", 12),
    ("path", None),
)


def _row(entry: Entry) -> list[str | None]:
    from agentphone_async.cli.call_tables import duration, moment
    from agentphone_async.cli.summary import size_text

    call, recording = entry.parsed(), entry.recording
    path = None if recording is None or recording.path is None else recording.path.as_posix()
    on_disk = recording is not None and recording.on_disk
    size = size_text(recording.size or 0) if recording is not None and on_disk else None
    return [
        moment(entry.call.started),
        entry.call.direction,
        call.from_number,
        call.to_number,
        duration(call.duration_seconds),
        size,
        entry.state,
        path or f"({entry.call.id})",
    ]
