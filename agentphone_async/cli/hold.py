"""``agentphone-async hold``: calls that are not to be erased, neither on demand nor by age."""

from __future__ import annotations

from pathlib import Path

import click

from agentphone_async.cli.event_loop import run
from agentphone_async.cli.exit_codes import DONE, INTERRUPTED
from agentphone_async.cli.options import Command, Section, option, output_option, quiet_option
from agentphone_async.cli.param_types import File, Folder
from agentphone_async.cli.signals import interruptible


@click.command("hold", cls=Command)
@click.argument("dest", type=Folder())
@click.argument("call_ids", nargs=-1, metavar="[CALL_ID]...")
@option(Section.WHAT, "--from-file", metavar="FILE", type=File(readable=False), config=False,
        help="Read ids from a file, one a line; - is stdin.")  # fmt: skip
@option(Section.WHAT, "--release", is_flag=True, config=False,
        help="Let them be erased again.")  # fmt: skip
@option(Section.WHAT, "--list", "listing", is_flag=True, config=False,
        help="Print the ids of all calls that are held.")  # fmt: skip
@output_option("table", "tsv", "json", "ids", default="ids")
@quiet_option
def command(
    *,
    dest: Path,
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
        _list(dest, output or "ids")
        return DONE
    changed = run(interruptible(_hold(dest, call_ids, from_file, release=release)))
    if changed is None:
        return INTERRUPTED
    if not quiet:
        from agentphone_async.quantities import counted

        click.echo(f"{counted(changed, 'call')} {'released' if release else 'held'}", err=True)
    return DONE


def _list(dest: Path, output: str) -> None:
    from agentphone_async.archive.settings_file import load_settings
    from agentphone_async.cli.tables import Column, Rows

    columns: list[Column[str]] = [Column("id", str)]
    rows = Rows(columns, output, ids=str, as_json=lambda call_id: {"call_id": call_id})
    rows.print(load_settings(dest).held)
    rows.finish("no calls are held")


async def _hold(dest: Path, arguments: tuple[str, ...], file: Path | None, *, release: bool) -> int:
    from agentphone_async.archive.erasure.erase import hold
    from agentphone_async.cli.erasing import ids_of

    return await hold(dest, await ids_of(arguments, file), release=release)
