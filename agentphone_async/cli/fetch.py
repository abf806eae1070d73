"""``agentphone-async fetch``: recordings by their ids, without listing anything."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentphone_async.cli.connection import Connection, Transfers
from agentphone_async.cli.display import conclude
from agentphone_async.cli.exit_codes import DONE, INTERRUPTED, SOME_FAILED
from agentphone_async.cli.options import (
    Command,
    Section,
    connection_options,
    display_options,
    option,
    transfer_options,
)
from agentphone_async.cli.param_types import File, Folder
from agentphone_async.cli.showing import Showing
from agentphone_async.cli.signals import LET_GO, SECOND_SIGNAL, interruptible
from agentphone_async.errors import DestinationError
from agentphone_async.own_loop import run

if TYPE_CHECKING:
    from agentphone_async.archive.tombstones import Tombstones
    from agentphone_async.cli.display import Quiet
    from agentphone_async.recordings.outcomes import Failed
    from agentphone_async.recordings.valve import Valve


@click.command("fetch", cls=Command)
@click.argument("call_ids", nargs=-1, metavar="[CALL_ID]...")
@option(Section.WHAT, "--from-file", metavar="FILE", type=File(readable=False), config=False,
        help="Read ids from a file, one a line; - is stdin.")  # fmt: skip
@option(Section.WHERE, "-d", "--dest", metavar="DIR", required=True, type=Folder(),
        help="Folder for the files; made if it is not there.")  # fmt: skip
@transfer_options
@connection_options
@display_options
def command(
    *,
    call_ids: tuple[str, ...],
    dest: Path,
    from_file: Path | None,
    transfers: Transfers,
    connection: Connection,
    showing: Showing,
) -> int:
    """Fetch recordings by call id into DIR/recording-CALL_ID.wav.

    No API key is needed: a recording's id is its secret. Files that are there already are kept and
    not fetched again.
    """
    if not call_ids and from_file is None:
        raise click.UsageError("name at least one CALL_ID, or use --from-file FILE")
    from agentphone_async.recordings.valve import Valve
    from agentphone_async.sinks.disk import refuse_unwritable

    refuse_unwritable(dest)
    display = showing.display()
    valve = Valve()

    def stop() -> None:
        display.note(f"stopping: it was interrupted; {SECOND_SIGNAL}")
        valve.close()
        asyncio.get_running_loop().call_later(LET_GO, valve.drop)

    started = time.monotonic()
    work = _fetch(call_ids, from_file, dest, transfers, connection, display, valve)
    failure = None
    finished = None
    try:
        finished = run(interruptible(work, stop))
    except DestinationError as error:
        failure = error
    finally:
        display.close()
    if failure is not None and not os.path.isdir(dest):  # noqa: PTH112 - which raises at long names
        raise failure  # with nothing to sum up
    display.summary.seconds = time.monotonic() - started
    conclude(display, quiet=showing.quiet)
    if failure is not None:
        raise failure
    if finished is None or valve.closed:
        return INTERRUPTED
    return SOME_FAILED if display.summary.counts["failed"] else DONE


async def _fetch(
    arguments: tuple[str, ...],
    from_file: Path | None,
    dest: Path,
    transfers: Transfers,
    connection: Connection,
    display: Quiet,
    valve: Valve,
) -> bool:
    from agentphone_async.cli.ids import call_ids
    from agentphone_async.recordings.outcomes import was_left
    from agentphone_async.recordings.valve import LeftError

    erased = _tombstones(dest)
    async with (
        aclosing(call_ids(arguments, from_file, valve)) as ids,
        transfers.client(connection, key_needed=False) as client,
    ):

        async def counted() -> AsyncGenerator[str]:
            try:
                async for call_id in ids:
                    if valve.closed:
                        return
                    display.listed(1)
                    if erased.covers(call_id):
                        display.settled(_refused(call_id))
                        continue
                    yield call_id
            except LeftError:
                return
            except OSError as error:
                raise click.BadParameter(
                    f"cannot read {str(from_file)!r}: {error.strerror}", param_hint="--from-file"
                ) from error
            if not display.summary.listed:
                raise click.BadParameter(
                    f"there is no call id in {str(from_file)!r}", param_hint="--from-file"
                )

        outcomes = transfers.downloads(client, counted(), dest, display.bytes, valve)
        async with aclosing(outcomes):
            async for outcome in outcomes:
                if not was_left(outcome):
                    display.settled(outcome)
    return True


def _tombstones(dest: Path) -> Tombstones:
    """Of the archive that a folder is, or lies in; none if there is no archive."""
    from agentphone_async.archive.tombstones import ERASED_NAME, Tombstones

    top = Path(os.path.abspath(dest))  # noqa: PTH100 - which raises at long names
    for folder in (top, *top.parents):
        if os.path.lexists(folder / ERASED_NAME):
            return Tombstones.load(folder)
    return Tombstones()


def _refused(call_id: str) -> Failed:
    from agentphone_async.errors import RecordingError
    from agentphone_async.protocol.display import hint
    from agentphone_async.recordings.outcomes import Failed

    line = f"{hint(call_id)} was erased from this archive for good; it is not fetched into it"
    return Failed(call_id, RecordingError(line), None)
