"""``agentphone-async demo``: the main job against an emulated account, without key or network."""

from __future__ import annotations

import shlex
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentphone_async.cli.config_file import Section
from agentphone_async.cli.event_loop import run_interruptible
from agentphone_async.cli.exit_codes import DONE, SOME_FAILED
from agentphone_async.cli.options import Command, option
from agentphone_async.cli.param_types import Folder
from agentphone_async.cli.showing import Showing

if TYPE_CHECKING:
    from agentphone_async.archive.report import Report
    from agentphone_async.cli.display import Quiet

CALLS = 200


@click.command("demo", cls=Command)
@option(Section.WHERE, "-d", "--dest", type=Folder(), default=Path("agentphone-demo"),
        help="Folder for the recordings.")  # fmt: skip
def command(*, dest: Path) -> int:
    """Archive yesterday's calls of an emulated account, to see how it works.

    An emulator of the AgentPhone API runs inside this process, on loopback. Nothing leaves this
    machine, and no key is needed.
    """
    from agentphone_async.cli.archiving import conclude

    click.echo(f"An emulated account had {CALLS} calls yesterday. Archiving them in {dest}/ …")
    display = Showing().display()
    try:
        report = run_interruptible(_demo(dest, display))
    finally:
        display.close()
    conclude(report, display)
    _show(dest, report)
    return SOME_FAILED if report.failed or report.error else DONE


async def _demo(dest: Path, display: Quiet) -> Report:
    from agentphone_async.archive.archive import Archive
    from agentphone_async.archive.options import RunOptions
    from agentphone_async.archive.selection import Selection, load_zone
    from agentphone_async.cli.archiving import Watcher
    from agentphone_async.client import AsyncAgentPhone
    from agentphone_async.emulator import Emulator

    zone = load_zone(None)
    yesterday = datetime.now(zone).date() - timedelta(days=1)
    async with (
        Emulator(calls=CALLS, seed=1, day=yesterday) as emulator,
        AsyncAgentPhone(emulator.api_key, base_url=emulator.base_url) as client,
    ):
        return await Archive(dest).run(
            client,
            Selection.of_day(yesterday, zone),
            RunOptions(zone=zone),
            observer=Watcher(display),
        )


def _show(dest: Path, report: Report) -> None:
    from agentphone_async.quantities import counted

    files = sorted(path for path in dest.rglob("recording-*") if path.is_file())
    if not files:
        return
    if report.not_ready:
        click.echo(
            "\nNot ready yet: a recording appears some time after its call has ended.\n"
            "These calls ended less than 24 hours ago; the next run re-checks them."
        )
    click.echo(f"\nThe first of {counted(len(files), 'recording')}:")
    for path in files[:3]:
        click.echo(f"  {path}")
    click.echo(
        "\nRun the demo again: nothing is fetched twice. It left only this folder;\n"
        "remove it with\n"
        f"\n  rm -r {shlex.quote(str(dest))}\n"
        "\nWith a key of your own:\n"
        "\n  export AGENTPHONE_API_KEY=sk_live_…"
        "\n  agentphone-async archive recordings --date yesterday"
    )
