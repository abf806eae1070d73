"""``agentphone-async hold``: calls that are not to be erased, neither on demand nor by age."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentphone_async.cli.config_file import Section
from agentphone_async.cli.erasing import given_calls, ids_of
from agentphone_async.cli.event_loop import run_interruptible
from agentphone_async.cli.exit_codes import DONE
from agentphone_async.cli.options import Command, option, output_option, quiet_option

if TYPE_CHECKING:
    from agentphone_async.archive.bucket.archive import BucketArchive


@click.command("hold", cls=Command)
@given_calls
@option(Section.WHAT, "--release", is_flag=True, config=False,
        help="Let them be erased again.")  # fmt: skip
@option(Section.WHAT, "--list", "listing", is_flag=True, config=False,
        help="Print the ids of all calls that are held.")  # fmt: skip
@output_option("table", "tsv", "json", "ids", default="ids")
@quiet_option
def command(
    *,
    place: Path | BucketArchive,
    call_ids: tuple[str, ...],
    from_file: Path | None,
    release: bool,
    listing: bool,
    output: str | None,
    quiet: bool,
) -> int:
    """Hold calls in the archive DEST: forget refuses them, and prune leaves them.

    \b
    agentphone-async hold ~/calls call_abc123
    """
    if listing:
        found = run_interruptible(_held(place))
        _list(found, output or "ids")
        return DONE
    changed = run_interruptible(_hold(place, call_ids, from_file, release=release))
    if not quiet:
        from agentphone_async.quantities import counted

        click.echo(f"{counted(changed, 'call')} {'released' if release else 'held'}", err=True)
    return DONE


def _list(held: Sequence[str], output: str) -> None:
    from agentphone_async.cli.tables import Column, Rows

    columns: list[Column[str]] = [Column("id", str)]
    rows = Rows(columns, output, ids=str, as_json=lambda call_id: {"call_id": call_id})
    rows.print(held)
    rows.finish("no calls are held")


async def _held(place: Path | BucketArchive) -> Sequence[str]:
    if isinstance(place, Path):
        from agentphone_async.archive.settings_file import load_settings

        return load_settings(place).held
    from agentphone_async.archive.bucket import erase

    return await erase.held(place)


async def _hold(
    place: Path | BucketArchive, arguments: tuple[str, ...], file: Path | None, *, release: bool
) -> int:
    from agentphone_async.archive.erase import hold

    ids = await ids_of(arguments, file)
    if isinstance(place, Path):
        return await hold(place, ids, release=release)
    from agentphone_async.archive.bucket import erase

    return await erase.hold(place, ids, release=release)
