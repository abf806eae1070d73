"""``agentphone-async forget``: calls are erased from an archive, for good."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentphone_async.cli.erasing import conclude, erasing_options, given_calls, ids_of, others
from agentphone_async.cli.event_loop import run_interruptible
from agentphone_async.cli.options import Command
from agentphone_async.cli.places import archive_of

if TYPE_CHECKING:
    from agentphone_async.archive.erase import ErasureReport


@click.command("forget", cls=Command)
@given_calls
@erasing_options
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
    from agentphone_async.archive.erase import forget

    ids = await ids_of(arguments, file)
    place = archive_of(dest, cache)
    if isinstance(place, Path):
        return await forget(place, ids, dry_run=not yes, wait_lock=wait_lock, also=others())
    from agentphone_async.archive.bucket import erase

    return await erase.forget(place, ids, dry_run=not yes, also=others())
