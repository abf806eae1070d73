"""What commands that erase or hold calls have in common: options, ids, what is said at the end."""

from __future__ import annotations

import functools
import json
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentphone_async.cli.config_file import Section
from agentphone_async.cli.event_loop import run_interruptible
from agentphone_async.cli.exit_codes import DONE, SOME_FAILED
from agentphone_async.cli.options import (
    Function,
    add_options,
    option,
    output_option,
    quiet_option,
)
from agentphone_async.cli.param_types import File, Place, Seconds
from agentphone_async.cli.places import given_place

if TYPE_CHECKING:
    from agentphone_async.archive.erase import Also, ErasureReport

_MOST_IDS = 20


@dataclass(frozen=True, slots=True)
class Erasing:
    """How calls are erased, as the options said."""

    yes: bool
    wait_lock: float
    output: str | None
    quiet: bool

    def run(self, work: Coroutine[Any, Any, ErasureReport]) -> int:
        """Do it, say what was done, or would be, and return the exit code."""
        report = run_interruptible(work)
        if self.output == "json":
            click.echo(json.dumps({"event": "summary", **report.as_dict()}))
        elif not self.quiet:
            click.echo(_sentence(report))
        for call_id in report.held_ids[:_MOST_IDS]:  # a failure
            click.echo(f"{call_id} is held; 'hold --release' lets it go", err=True)
        return SOME_FAILED if report.held_ids else DONE


def given_calls(command: Function) -> Function:
    """Add ``DEST``, whose archive the command gets as ``place``, and the ids of calls.

    They are ``call_ids``, and those in ``from_file``.
    """
    return add_options(
        given_place(command),
        click.argument("dest", type=Place()),
        click.argument("call_ids", nargs=-1, metavar="[CALL_ID]..."),
        option(Section.WHAT, "--from-file", metavar="FILE", type=File(readable=False), config=False,
               help="Read ids from a file, one a line; - is stdin."),
    )  # fmt: skip


def erasing_options(command: Function) -> Function:
    """Add the options of commands that erase; the last ones of each section."""

    @functools.wraps(command)
    def with_erasing(
        *args: Any, yes: bool, wait_lock: float, output: str | None, quiet: bool, **kwargs: Any
    ) -> Any:
        return command(*args, erasing=Erasing(yes, wait_lock, output, quiet), **kwargs)

    return add_options(
        with_erasing,
        option(Section.WHAT, "--yes", is_flag=True, config=False,
               help="Erase; without it, only say what there is."),
        option(Section.WHERE, "--wait-lock", type=Seconds(), default="0s",
               help="Wait for another process on the same archive."),
        output_option("text", "json"),
        quiet_option,
    )  # fmt: skip


async def ids_of(arguments: Sequence[str], file: Path | None) -> list[str]:
    """The call ids of arguments and file; at least one."""
    from agentphone_async.cli.ids import call_ids

    async with aclosing(call_ids(arguments, file)) as found:
        ids = [call_id async for call_id in found]
    if not ids:
        raise click.UsageError("name at least one CALL_ID, or use --from-file FILE")
    return ids


def others() -> list[Also]:
    """What keeps things of calls beside the archive itself."""
    from importlib import import_module

    try:
        also: Also = import_module("agentphone_async.web.inbox").forget
    except ModuleNotFoundError:
        return []
    return [also]


def _sentence(report: ErasureReport) -> str:
    from agentphone_async.quantities import counted, size_text

    what = "would be erased" if report.dry_run else "erased"
    parts = [
        counted(report.calls, "call"),
        counted(report.recordings, "recording"),
        counted(report.sidecars, "sidecar"),
    ]
    if report.others:
        parts.append(counted(report.others, "other file"))
    line = f"{what}: {', '.join(parts)}, {size_text(report.bytes)}"
    if report.unknown:
        line += f"; {report.unknown:,} not in the archive, and barred from it"
    if report.held:
        line += f"; {report.held:,} held, and left"
    return line + ("; nothing was changed: add --yes to erase" if report.dry_run else "")
