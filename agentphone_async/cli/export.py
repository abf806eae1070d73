"""``agentphone-async export``: the catalog for spreadsheets and programs."""

from __future__ import annotations

import sys
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentphone_async.cli.exit_codes import DONE, INTERRUPTED
from agentphone_async.cli.options import (
    Command,
    Section,
    archive_filters,
    option,
)
from agentphone_async.cli.param_types import File
from agentphone_async.cli.period import Filters
from agentphone_async.cli.places import readable_archive
from agentphone_async.cli.signals import interruptible
from agentphone_async.own_loop import run

if TYPE_CHECKING:
    from agentphone_async.archive.export import Format


@click.command("export", cls=Command)
@readable_archive
@archive_filters
@option(Section.OUTPUT, "--format", "format_", type=click.Choice(["csv", "jsonl"]), default="csv",
        help="For spreadsheets, or for programs.")  # fmt: skip
@option(Section.OUTPUT, "--to", "--output", "output", metavar="FILE",
        type=File(dir_okay=False, allow_dash=True), config=False,
        help="Write this file when all is done, instead of standard output.")  # fmt: skip
def command(*, dest: Path, format_: Format, output: Path | None, filters: Filters) -> int:
    """Write the catalog of the archive DEST, a line for each call.

    JSONL is exact and includes each call as the API gave it. In CSV, control characters are
    written as escapes, and cells that a spreadsheet would take for a formula begin with an
    apostrophe; plain numbers, telephone numbers among them, stay as they are.

    \b
    agentphone-async export ~/calls --to calls.csv
    """
    if output is not None:
        output = None if str(output) == "-" else _outside(output, dest)
    finished = run(interruptible(_export(dest, format_, output, filters)))
    return INTERRUPTED if finished is None else DONE


def _outside(output: Path, dest: Path) -> Path:
    """The file, if it can be written where it leaves the archive alone."""
    if not output.parent.is_dir():
        problem = f"there is no folder {str(output.parent)!r}; make it first"
    elif output.parent.resolve().is_relative_to(dest.resolve()):
        problem = f"{str(output)!r} is inside the archive; write it somewhere else"
    else:
        return output
    raise click.BadParameter(problem, param_hint="--to")


async def _export(dest: Path, format_: Format, output: Path | None, filters: Filters) -> bool:
    from agentphone_async.archive.catalog.database import Catalog
    from agentphone_async.archive.export import export, export_to

    async with await Catalog.open(dest, write=False) as catalog:
        pieces = export(
            catalog,
            format_,
            filters.selection,
            states=filters.states,
            versions=filters.versions,
        )
        if output is not None:
            await export_to(output, pieces)
            return True
        async with aclosing(pieces) as texts:
            async for text in texts:
                # Bytes: the lines are the same whatever the locale and the platform.
                sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()
    return True
