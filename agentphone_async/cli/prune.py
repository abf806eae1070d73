"""``agentphone-async prune``: calls are erased by their age."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentphone_async.cli.config_file import Section
from agentphone_async.cli.erasing import Erasing, erasing_options, others
from agentphone_async.cli.options import Command, option
from agentphone_async.cli.param_types import Seconds
from agentphone_async.cli.places import archive_place

if TYPE_CHECKING:
    from agentphone_async.archive.bucket.archive import BucketArchive
    from agentphone_async.archive.erase import ErasureReport


@click.command("prune", cls=Command)
@archive_place
@option(Section.WHAT, "--older-than", type=Seconds(), required=True, config=False, metavar="AGE",
        help="Calls that ended longer ago than this, such as 365d.")  # fmt: skip
@option(Section.WHAT, "--keep", multiple=True, metavar="FIELD=VALUE",
        help="Leave calls with this value; fields: direction, status, agent, from, to, call. "
        "May be given more than once.")  # fmt: skip
@erasing_options
def command(
    *, place: Path | BucketArchive, older_than: float, keep: tuple[str, ...], erasing: Erasing
) -> int:
    """Erase old calls from the archive DEST, as forget does.

    Calls that are held, or that --keep names, are left. Without --yes nothing is changed.

    \b
    agentphone-async prune ~/calls --older-than 365d --keep agent=agt_abc --yes
    """
    return erasing.run(_prune(place, timedelta(seconds=older_than), _fields(keep), erasing))


def _fields(keep: tuple[str, ...]) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for text in keep:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise click.BadParameter(
                f"{text!r} is not FIELD=VALUE, such as direction=outbound", param_hint="--keep"
            )
        fields.setdefault(name, []).append(value)
    return fields


async def _prune(
    place: Path | BucketArchive, age: timedelta, keep: dict[str, list[str]], how: Erasing
) -> ErasureReport:
    from agentphone_async.archive.erase import keeper, prune

    wanted: dict[str, Any] = {"dry_run": not how.yes, "also": others()}
    if isinstance(place, Path):
        return await prune(place, age, keep=keep, wait_lock=how.wait_lock, **wanted)
    from agentphone_async.archive.bucket import erase

    return await erase.prune(place, age, keeps=keeper(keep), **wanted)
