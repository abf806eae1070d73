"""``agentphone-async prune``: calls are erased by their age."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentphone_async.cli.config_file import Section
from agentphone_async.cli.erasing import conclude, erasing_options, others
from agentphone_async.cli.event_loop import run_interruptible
from agentphone_async.cli.options import Command, option
from agentphone_async.cli.param_types import Seconds
from agentphone_async.cli.places import archive_folder, archive_of

if TYPE_CHECKING:
    from agentphone_async.archive.erase import ErasureReport


@click.command("prune", cls=Command)
@partial(archive_folder, urls=True)
@option(Section.WHAT, "--older-than", type=Seconds(), required=True, config=False, metavar="AGE",
        help="Calls that ended longer ago than this, such as 365d.")  # fmt: skip
@option(Section.WHAT, "--keep", multiple=True, metavar="FIELD=VALUE",
        help="Leave calls with this value; fields: direction, status, agent, from, to, call. "
        "May be given more than once.")  # fmt: skip
@erasing_options
def command(
    *,
    dest: Path | str,
    cache: Path | None,
    older_than: float,
    keep: tuple[str, ...],
    yes: bool,
    wait_lock: float,
    output: str | None,
    quiet: bool,
) -> int:
    """Erase old calls from the archive DEST, as forget does.

    Calls that are held, or that --keep names, are left. Without --yes nothing is changed.

    \b
    agentphone-async prune ~/calls --older-than 365d --keep agent=agt_abc --yes
    """
    work = _prune(dest, cache, older_than, _fields(keep), wait_lock, yes=yes)
    return conclude(run_interruptible(work), output, quiet=quiet)


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
    dest: Path | str,
    cache: Path | None,
    older_than: float,
    keep: dict[str, list[str]],
    wait_lock: float,
    *,
    yes: bool,
) -> ErasureReport:
    from agentphone_async.archive.erase import keeper, prune

    age = timedelta(seconds=older_than)
    place = archive_of(dest, cache)
    if isinstance(place, Path):
        return await prune(
            place, age, keep=keep, dry_run=not yes, wait_lock=wait_lock, also=others()
        )
    from agentphone_async.archive.bucket import erase

    return await erase.prune(place, age, keeps=keeper(keep), dry_run=not yes, also=others())
