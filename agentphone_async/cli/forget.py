"""``agentphone-async forget``: calls are erased from an archive, for good."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentphone_async.cli.event_loop import run_interruptible
from agentphone_async.cli.options import Command, Section, option, output_option, quiet_option
from agentphone_async.cli.param_types import File, Place, Seconds
from agentphone_async.cli.places import catalog_option, refuse_cache

if TYPE_CHECKING:
    from agentphone_async.archive.erasure.erase import ErasureReport


@click.command("forget", cls=Command)
@click.argument("dest", type=Place())
@click.argument("call_ids", nargs=-1, metavar="[CALL_ID]...")
@option(Section.WHAT, "--from-file", metavar="FILE", type=File(readable=False), config=False,
        help="Read ids from a file, one a line; - is stdin.")  # fmt: skip
@option(Section.WHAT, "--yes", is_flag=True, config=False,
        help="Erase; without it, only say what there is.")  # fmt: skip
@catalog_option
@option(Section.WHERE, "--wait-lock", type=Seconds(), default="0s",
        help="Wait for another process on the same archive.")  # fmt: skip
@output_option("text", "json")
@quiet_option
def command(
    *,
    dest: Path | str,
    cache: Path | None,
    call_ids: tuple[str, ...],
    from_file: Path | None,
    yes: bool,
    wait_lock: float,
    output: str | None,
    quiet: bool,
) -> int:
    """Erase calls from the archive DEST, so that nothing brings them back.

    Recordings in all versions, what lies beside them, bad files that were kept aside, and all that
    the catalog knows go; a keyed hash of the id stays, so that no later run, repair, rebuild or
    fetch takes the call in again. Without --yes nothing is changed. Calls that are held are left,
    and the exit code is 1.

    \b
    agentphone-async forget ~/calls call_abc123 --yes
    """
    report = run_interruptible(_forget(dest, cache, call_ids, from_file, wait_lock, yes=yes))
    from agentphone_async.cli.erasing import conclude

    return conclude(report, output, quiet=quiet)


async def _forget(
    dest: Path | str,
    cache: Path | None,
    arguments: tuple[str, ...],
    file: Path | None,
    wait_lock: float,
    *,
    yes: bool,
) -> ErasureReport:
    from agentphone_async.archive.erasure.erase import forget
    from agentphone_async.cli.erasing import ids_of, others

    ids = await ids_of(arguments, file)
    if not isinstance(dest, Path):
        from agentphone_async.archive.bucket import erase
        from agentphone_async.archive.bucket.archive import BucketArchive

        return await erase.forget(BucketArchive(dest, cache), ids, dry_run=not yes, also=others())
    refuse_cache(cache)
    return await forget(dest, ids, dry_run=not yes, wait_lock=wait_lock, also=others())
