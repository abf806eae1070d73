"""``agentphone-async fetch``: recordings by their ids, without listing anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentphone_async.cli.config_file import Section
from agentphone_async.cli.connection import Connection, Transfers
from agentphone_async.cli.options import (
    Command,
    connection_options,
    display_options,
    exec_option,
    option,
    transfer_options,
)
from agentphone_async.cli.param_types import File, Place, Seconds
from agentphone_async.cli.showing import Showing

if TYPE_CHECKING:
    from agentphone_async.cli.after import Program


@click.command("fetch", cls=Command)
@click.argument("call_ids", nargs=-1, metavar="[CALL_ID]...")
@option(Section.WHAT, "--from-file", metavar="FILE", type=File(readable=False), config=False,
        help="Read ids, URLs or JSON objects from a file, one a line; - is stdin.")  # fmt: skip
@option(Section.WHERE, "-d", "--dest", metavar="DIR", required=True, type=Place(),
        help="Folder for the files, made if it is not there; or a bucket's URL.")  # fmt: skip
@option(Section.AGAIN, "--wait", type=Seconds(), default="0s",
        help="Keep polling for recordings that are not ready yet, for up to DURATION.")  # fmt: skip
@exec_option
@transfer_options
@connection_options
@display_options
def command(
    *,
    call_ids: tuple[str, ...],
    dest: Path | str,
    from_file: Path | None,
    wait: float,
    program: Program | None,
    transfers: Transfers,
    connection: Connection,
    showing: Showing,
) -> int:
    """Fetch recordings by call id into DIR/recording-CALL_ID.wav.

    No API key is needed: a recording's id is its secret. The URL of a recording does as well as its
    id. Files that are there already are kept and not fetched again.

    \b
    agentphone-async fetch call_ghi012 -d recordings
    agentphone-async fetch call_ghi012 -d recordings --wait 10m
    agentphone-async fetch call_ghi012 -d s3://bucket/some
    agentphone-async ls ~/calls -o ids | agentphone-async fetch --from-file - -d d
    agentphone-async fetch call_ghi012 -d recordings --exec 'lame {path}'
    """
    if not call_ids and from_file is None:
        raise click.UsageError("name at least one CALL_ID, or use --from-file FILE")
    from agentphone_async.cli.fetching import FetchJob
    from agentphone_async.sinks.disk import refuse_unwritable

    if isinstance(dest, Path):
        refuse_unwritable(dest)
    job = FetchJob(
        call_ids, from_file, dest, transfers, connection, showing.display(), program, wait
    )
    return job.run()
