"""``agentphone-async forget``: calls are erased from an archive, for good."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentphone_async.cli.erasing import Erasing, erasing_options, given_calls, ids_of, others
from agentphone_async.cli.options import Command

if TYPE_CHECKING:
    from agentphone_async.archive.bucket.archive import BucketArchive
    from agentphone_async.archive.erase import ErasureReport


@click.command("forget", cls=Command)
@given_calls
@erasing_options
def command(
    *,
    place: Path | BucketArchive,
    call_ids: tuple[str, ...],
    from_file: Path | None,
    erasing: Erasing,
) -> int:
    """Erase calls from the archive DEST, so that nothing brings them back.

    Recordings in all versions, what lies beside them, bad files that were kept aside, and all that
    the catalog knows go; a keyed hash of the id stays, so that no later run, repair, rebuild or
    fetch takes the call in again. Without --yes nothing is changed. Calls that are held are left,
    and the exit code is 1.

    \b
    agentphone-async forget ~/calls call_abc123 --yes
    """
    return erasing.run(_forget(place, call_ids, from_file, erasing))


async def _forget(
    place: Path | BucketArchive, arguments: tuple[str, ...], file: Path | None, how: Erasing
) -> ErasureReport:
    from agentphone_async.archive.erase import forget

    ids = await ids_of(arguments, file)
    wanted: dict[str, Any] = {"dry_run": not how.yes, "also": others()}
    if isinstance(place, Path):
        return await forget(place, ids, wait_lock=how.wait_lock, **wanted)
    from agentphone_async.archive.bucket import erase

    return await erase.forget(place, ids, **wanted)
