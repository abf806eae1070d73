"""``agentphone-async archive plan`` and ``archive work``: one archive, many machines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from agentphone_async.cli.after import Program, running
from agentphone_async.cli.config_file import Section
from agentphone_async.cli.connection import Connection, Transfers
from agentphone_async.cli.event_loop import run_interruptible
from agentphone_async.cli.exit_codes import DONE, SOME_FAILED
from agentphone_async.cli.options import (
    Command,
    connection_options,
    display_options,
    exec_option,
    option,
    transfer_options,
)
from agentphone_async.cli.param_types import Parsed, Whole
from agentphone_async.cli.period import Period, period_options
from agentphone_async.cli.places import archive_folder, catalog_option, overwrite_option
from agentphone_async.cli.run_options import run_options, shard_options
from agentphone_async.cli.showing import Showing

if TYPE_CHECKING:
    from agentphone_async.archive.bucket.planning import Planned
    from agentphone_async.archive.report import Report
    from agentphone_async.sinks.bucket import Bucket

shard_size = option(
    Section.LIMITS,
    "--shard-size",
    type=Whole(1),
    default=2000,
    metavar="N",
    help="Calls of one shard.",
)


class Part(Parsed):
    """``i/n``: every n-th shard, from the i-th."""

    name = "part"
    shown = "I/N"

    def parse(self, text: str) -> tuple[int, int]:
        """Both numbers."""
        first, _, second = text.partition("/")
        if not (first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
            raise ValueError(f"{text!r} is not a part; write 2/8 for the second of eight")
        return int(first), int(second)


def bucket_of(dest: Path | str, *, allow_overwrite: bool = False) -> Bucket:
    """The bucket of a destination; shards are for several machines, which share no folder."""
    from agentphone_async.sinks.bucket import Bucket

    if isinstance(dest, Path):
        raise click.UsageError(
            f"{str(dest)!r} is a folder; shards and clusters need a destination that all machines "
            "reach, such as s3://bucket/prefix (or file:///folder on a disk that they share)"
        )
    return Bucket.from_url(dest, allow_overwrite=allow_overwrite)


@click.command("plan", cls=Command)
@partial(archive_folder, urls=True)
@catalog_option
@overwrite_option
@period_options
@option(Section.WHAT, "--number", "numbers", multiple=True, metavar="ID",
        help="Walk the calls of this number only; give it once for each.")  # fmt: skip
@option(Section.WHAT, "--agent", "agents", multiple=True, metavar="ID",
        help="Walk the calls of this agent only; give it once for each.")  # fmt: skip
@option(Section.WHAT, "--each", type=click.Choice(["number", "agent"]),
        help="Walk the calls of all numbers, or of all agents, of the account.")  # fmt: skip
@option(Section.WHAT, "--refresh", is_flag=True, config=False,
        help="Take calls whose recordings are archived, too.")  # fmt: skip
@shard_size
@connection_options
def plan(
    *,
    dest: Path | str,
    cache: Path | None,
    allow_overwrite: bool,
    period: Period,
    numbers: Sequence[str],
    agents: Sequence[str],
    each: Literal["number", "agent"] | None,
    refresh: bool,
    shard_size: int,
    connection: Connection,
) -> int:
    """List calls once, and write those that are missing in the bucket DEST as shards.

    Any number of machines can then do them, with archive work. Prints the plan's name. In an
    account of millions of calls, the end of the list is slow: --each number walks the list of each
    number instead. What these give is compared with the account's total.

    \b
    agentphone-async archive plan s3://bucket/calls --since 30d
    """
    from agentphone_async.archive.bucket.archive import BucketArchive
    from agentphone_async.archive.bucket.planning import Walks, write_plan

    if not period.is_given:
        raise click.UsageError("say which calls: --since 7d, or --since 1970-01-01 for all")
    if period.since_last:
        raise click.UsageError("a plan does not go with --since last; give a date, as --since 7d")
    walks = Walks(numbers, agents, each)
    archive = BucketArchive(bucket_of(dest, allow_overwrite=allow_overwrite), cache)

    async def work() -> Planned:
        async with connection.client() as client:
            return await write_plan(
                archive,
                client,
                period.selection(),
                shard_size=shard_size,
                walks=walks,
                archived=refresh,
                zone=period.zone(),
            )

    planned = run_interruptible(work())
    return _tell(planned)


def _tell(planned: Planned) -> int:
    from agentphone_async.quantities import counted

    plan = planned.plan
    for problem in planned.problems:
        click.echo(problem, err=True)
    click.echo(
        f"{counted(planned.listed, 'call')} listed; {plan.calls:,} to do, "
        f"in {counted(plan.shards, 'shard')}",
        err=True,
    )
    click.echo(plan.name)
    if planned.lacking:
        click.echo(f"the account has {planned.lacking:,} calls that were not listed", err=True)
    if not planned.complete:
        click.echo("the list could not be seen as a whole; plan again for the rest", err=True)
    return SOME_FAILED if planned.lacking or not planned.complete or planned.problems else DONE


@click.command("work", cls=Command)
@partial(archive_folder, urls=True)
@overwrite_option
@option(Section.WHAT, "--shard", "part", type=Part(), config=False,
        help="Only every N-th shard, from the I-th: for workers that are numbered.")  # fmt: skip
@option(Section.WHAT, "--all", "all_", is_flag=True, config=False,
        help="All shards that no other worker is at; the default.")  # fmt: skip
@option(Section.WHAT, "--plan", "name", metavar="NAME", config=False,
        help="This plan.  [default: the newest]")  # fmt: skip
@transfer_options
@shard_options
@connection_options
@exec_option
@display_options
def work(
    *,
    dest: Path | str,
    allow_overwrite: bool,
    part: tuple[int, int] | None,
    all_: bool,
    name: str | None,
    transfers: Transfers,
    connection: Connection,
    program: Program | None,
    showing: Showing,
    **settings: Any,
) -> int:
    """Do shards that archive plan has written in the bucket DEST.

    No API key is needed, but for --transcripts.

    Start as many as you like, on as many machines; each takes what no other is at. Run again, it
    continues: what is done is not done twice.

    \b
    agentphone-async archive work s3://bucket/calls --all
    agentphone-async archive work s3://bucket/calls --shard $((SLURM_ARRAY_TASK_ID + 1))/8
    """
    from agentphone_async.archive.bucket.work import Worker
    from agentphone_async.cli.archiving import Watcher

    if part is not None and all_:
        raise click.UsageError("--shard and --all exclude each other")
    worker = Worker(bucket_of(dest, allow_overwrite=allow_overwrite))
    client = transfers.client(connection, key_needed=bool(settings["transcripts"]))
    watcher = Watcher(showing.display(), program=program)
    options = run_options(transfers, settings)

    async def go() -> Report:
        async with client, running(program, watcher.note, lambda: watcher.stopped):
            return await worker.work(client, name, part, options, observer=watcher)

    return watcher.run(go(), worker.stop)
