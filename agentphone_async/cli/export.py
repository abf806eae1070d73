"""``agentphone-async export``: the catalog for spreadsheets and programs."""

from __future__ import annotations

import sys
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentphone_async.cli.config_file import Section
from agentphone_async.cli.event_loop import run_interruptible
from agentphone_async.cli.exit_codes import DONE
from agentphone_async.cli.options import Command, option
from agentphone_async.cli.param_types import File
from agentphone_async.cli.period import Filters, archive_filters
from agentphone_async.cli.places import readable_archive

if TYPE_CHECKING:
    from agentphone_async.archive.export import Format


@click.command("export", cls=Command)
@readable_archive
@archive_filters
@option(Section.OUTPUT, "--format", "format_", type=click.Choice(["csv", "jsonl", "parquet"]),
        default="csv", help="For spreadsheets, for programs, or for data frames.")  # fmt: skip
@option(Section.OUTPUT, "--excel", is_flag=True,
        help="CSV with the byte-order mark by which Excel knows UTF-8.")  # fmt: skip
@option(Section.OUTPUT, "--ids", is_flag=True,
        help="Parquet with call ids and paths; an id is a recording's secret.")  # fmt: skip
@option(Section.OUTPUT, "--to", "--output", "output", metavar="FILE",
        type=File(allow_dash=True), config=False,
        help="Write this file, or folder for Parquet, when all is done, instead of standard "
        "output.")  # fmt: skip
def command(
    *,
    dest: Path,
    format_: str,
    excel: bool,
    ids: bool,
    output: Path | None,
    filters: Filters,
) -> int:
    """Write the catalog of the archive DEST, a line for each call.

    JSONL is exact and includes each call as the API gave it. In CSV, control characters are
    written as escapes, and cells that a spreadsheet would take for a formula begin with an
    apostrophe; plain numbers, telephone numbers among them, stay as they are.

    \b
    agentphone-async export ~/calls --to calls.csv
    agentphone-async export ~/calls --format parquet --to calls.parquet
    """
    if output is not None:
        output = None if str(output) == "-" else _outside(output, dest)
    if excel and format_ != "csv":
        raise click.UsageError(f"--excel is for CSV, not for {format_}; leave it out")
    if format_ == "parquet":
        if output is None:
            raise click.UsageError("Parquet is a folder of files; name it with --to DIR")
        work = _export_parquet(dest, output, filters, ids=ids)
    elif output is not None and output.is_dir():
        raise click.BadParameter(f"{str(output)!r} is a folder; name a file", param_hint="--to")
    else:
        text: Format = "csv" if format_ == "csv" else "jsonl"
        work = _export(dest, text, output, filters, excel=excel)
    run_interruptible(work)
    return DONE


def _outside(output: Path, dest: Path) -> Path:
    """The file, if it can be written where it leaves the archive alone."""
    if not output.parent.is_dir():
        problem = f"there is no folder {str(output.parent)!r}; make it first"
    elif output.parent.resolve().is_relative_to(dest.resolve()):
        problem = f"{str(output)!r} is inside the archive; write it somewhere else"
    else:
        return output
    raise click.BadParameter(problem, param_hint="--to")


async def _export_parquet(dest: Path, output: Path, filters: Filters, *, ids: bool) -> None:
    from agentphone_async.archive.catalog.database import Catalog
    from agentphone_async.archive.export import export_parquet

    async with await Catalog.open(dest, write=False) as catalog:
        await export_parquet(catalog, output, filters.selection, ids=ids, **filters.which())


async def _export(
    dest: Path, format_: Format, output: Path | None, filters: Filters, *, excel: bool
) -> None:
    from agentphone_async.archive.catalog.database import Catalog
    from agentphone_async.archive.export import export, export_to

    async with await Catalog.open(dest, write=False) as catalog:
        pieces = export(catalog, format_, filters.selection, excel=excel, **filters.which())
        if output is not None:
            await export_to(output, pieces)
            return
        async with aclosing(pieces) as texts:
            async for text in texts:
                # Bytes: the lines are the same whatever the locale and the platform.
                sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()
