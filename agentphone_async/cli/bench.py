"""``agentphone-async bench``: what this network gives, and with how many transfers."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from agentphone_async.bench.networks import PROFILES, Network, profile_named
from agentphone_async.cli.bench_network import CALLS, emulated
from agentphone_async.cli.config_file import Section
from agentphone_async.cli.connection import Connection, Transfers
from agentphone_async.cli.event_loop import run_interruptible
from agentphone_async.cli.exit_codes import DONE, INTERRUPTED, SOME_FAILED
from agentphone_async.cli.options import Command, connection_options, option
from agentphone_async.cli.param_types import Count, File, Folder, Parsed, Seconds, Size
from agentphone_async.config import DEFAULT_BASE_URL

if TYPE_CHECKING:
    from agentphone_async.bench.figures import Step
    from agentphone_async.bench.figures import Transfers as Number
    from agentphone_async.bench.programs import Timed
    from agentphone_async.client import AsyncAgentPhone
    from agentphone_async.sinks.interface import Sink

MOST_IDS = 10_000
"""Ids that are read from a file; a sweep goes round through them."""


COMPARED_IDS = 1_000
"""Calls that the emulator has when programs are compared: each of them fetches every call once."""


class Programs(Parsed):
    """Names of other programs, comma-separated; all of them installed."""

    name = "programs"

    def parse(self, text: str) -> tuple[str, ...]:
        """The names."""
        from agentphone_async.bench.programs import check

        names = tuple(dict.fromkeys(each.strip() for each in text.split(",") if text))
        check(names)
        return names


class Counts(Count):
    """Several numbers of transfers, comma-separated."""

    name = "counts"
    shown = "N,N,...,auto"

    def parse(self, text: str) -> Any:
        """The numbers."""
        return tuple(
            dict.fromkeys(super(Counts, self).parse(each.strip()) for each in text.split(","))
        )


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be measured, and how."""

    call_ids: tuple[str, ...]
    from_file: Path | None
    network: Network | None
    connection: Connection
    transfers: tuple[Number, ...]
    seconds: float
    dest: Path | None
    compare: tuple[str, ...]

    @property
    def what(self) -> str:
        """For people."""
        where = str(self.network) if self.network is not None else "the given ids"
        return f"{where}, {'nothing stored' if self.dest is None else 'stored on disk'}"

    def about(self) -> dict[str, Any]:
        """For programs."""
        network = self.network
        return {
            "source": "ids" if network is None else "emulator",
            "profile": (network.name or None) if network is not None else None,
            "latency_seconds": None if network is None else network.latency,
            "bandwidth_bytes_per_second": None if network is None else network.bandwidth,
            "stored": self.dest is not None,
        }


_FILE = File(dir_okay=False)


@click.command("bench", cls=Command)
@click.argument("call_ids", nargs=-1, metavar="[CALL_ID]...")
@option(Section.WHAT, "--from-file", metavar="FILE", type=File(readable=False), config=False,
              help=f"Read up to {MOST_IDS:,} ids, one a line; - is stdin.")  # fmt: skip
@option(Section.WHAT, "--emulate", is_flag=True, config=False,
              help="Measure against an emulated network; default without ids.")  # fmt: skip
@option(Section.WHAT, "--latency", type=Seconds(most=60), default="80ms",
              help="Emulated: from a request to its answer.")  # fmt: skip
@option(Section.WHAT, "--bandwidth", type=Size(), default="2M",
              help="Emulated: bytes a second of each connection; 0 for no limit.")  # fmt: skip
@option(Section.WHAT, "--profile", metavar="NAME",
              type=click.Choice([each.name for each in PROFILES]),
              help="Emulated: a known network instead of --latency and --bandwidth: "
                   f"{', '.join(each.name for each in PROFILES)}.")  # fmt: skip
@option(Section.WHAT, "--compare", metavar="NAME,...", type=Programs(), default="", config=False,
              show_default=False,
              help="Then let curl, rclone or aria2 fetch the same recordings and hash them, "
                   "and show their time beside ours.")  # fmt: skip
@option(Section.SPEED, "--transfers", type=Counts(), default="1,2,4,8,16,32,64,auto",
              help="The numbers of transfers to try, in this order.")  # fmt: skip
@option(Section.SPEED, "--seconds", type=Seconds(0.1, 3600), default="5s",
              help="How long to measure each; auto takes three times as long.")  # fmt: skip
@option(Section.WHERE, "-d", "--dest", metavar="DIR", type=Folder(),
              help="Store recordings, too: in a temporary folder in DIR, removed at the end. "
                   "[default: they are hashed and checked, and stored nowhere]")  # fmt: skip
@option(Section.OUTPUT, "--json", "json_file", metavar="FILE", type=_FILE, config=False,
              help="Write the figures as JSON.")  # fmt: skip
@option(Section.OUTPUT, "--plot", "plot_file", metavar="FILE", type=_FILE, config=False,
              help="Draw them as PNG (needs matplotlib: the [bench] extra).")  # fmt: skip
@connection_options
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    emulate: bool,
    latency: float,
    bandwidth: int,
    profile: str | None,
    json_file: Path | None,
    plot_file: Path | None,
    **same: Any,
) -> int:
    """Measure what your network gives, and find the number of transfers that gets it.

    Fetches the recordings of the given calls over and over: with one transfer at a time, with two,
    with four, each for some seconds. It is your API account's traffic, and it ends after about a
    minute. Without ids it measures this machine against an emulated network.

    The knee is the smallest number of transfers within 5 % of the best goodput.
    """
    given = bool(same["call_ids"]) or same["from_file"] is not None
    _check_source(context, emulate=emulate, given=given)
    network = Network(latency=latency, bandwidth=bandwidth or None)
    if profile is not None:
        network = profile_named(profile)
    job = Job(network=None if given else network, **same)
    for file, name in ((json_file, "--json"), (plot_file, "--plot")):
        _check_writable(file, name)
    if job.dest is not None and job.dest.exists() and not job.dest.is_dir():
        raise click.BadParameter(f"{str(job.dest)!r} is not a folder", param_hint="--dest")
    if plot_file is not None:
        from agentphone_async.bench.plot import require_matplotlib

        require_matplotlib()  # before a minute of measuring, not after it
    steps: list[Step] = []
    compared: list[Timed] = []
    interrupted = False
    try:
        run_interruptible(_measure(job, steps, compared))
    except click.Abort:
        interrupted = True
    if _only_absent(steps):
        click.echo("none of the ids has a recording; name calls that were recorded", err=True)
        return INTERRUPTED if interrupted else SOME_FAILED
    if steps:
        _tell(job, steps, compared, json_file, plot_file)
    return INTERRUPTED if interrupted else DONE


def _only_absent(steps: list[Step]) -> bool:
    some = any(step.bytes or step.failed for step in steps)
    return not some and any(step.absent for step in steps)


async def _measure(job: Job, steps: list[Step], compared: list[Timed]) -> None:
    from agentphone_async.bench.sweep import Sweep, probe

    async with _source(job) as (connection, ids), _storage(job) as sink:
        first = next(ids)
        async with connection.client(key_needed=False) as client:
            await probe(client, first)
        click.echo(f"Measuring {job.what}.", err=True)

        def client_of(transfers: Number) -> AsyncAgentPhone:
            return Transfers(transfers, None, None, "off").client(connection, key_needed=False)

        sweep = Sweep(job.transfers, job.seconds, client_of, sink)
        async with aclosing(sweep.steps(ids)) as measured:
            async for step in measured:
                steps.append(step)
                rate = step.bytes_per_second / 1e6
                click.echo(f"{step.label:>9} transfers: {rate:,.1f} MB/s", err=True)
        if job.compare and not _only_absent(steps):
            await _compare(job, steps, connection.base_url or DEFAULT_BASE_URL, ids, compared)


async def _compare(
    job: Job, steps: list[Step], base_url: str, ids: Iterator[str], compared: list[Timed]
) -> None:
    """Let each program fetch the same recordings, with as many transfers as proved best."""
    from agentphone_async.bench.figures import knee
    from agentphone_async.bench.programs import OURS, Task, time_program

    best = knee(steps) or steps[-1]
    at_once = best.transfers if isinstance(best.transfers, int) else best.settled or 1
    rate = best.recordings / best.seconds
    count = max(2 * at_once, min(COMPARED_IDS // 2, round(rate * job.seconds)))
    first = next(ids)
    distinct = [
        first,
        *itertools.takewhile(lambda each: each != first, itertools.islice(ids, count - 1)),
    ]
    task = Task(base_url, distinct, at_once)
    for name in (OURS, *job.compare):
        click.echo(f"{name}: {len(distinct):,} recordings, {at_once} at a time", err=True)
        compared.append(await asyncio.to_thread(time_program, name, task, job.dest))


@asynccontextmanager
async def _source(job: Job) -> AsyncIterator[tuple[Connection, Iterator[str]]]:
    """Where to ask, and ids without end."""
    if job.network is not None:
        calls = 2 * COMPARED_IDS if job.compare else CALLS
        async with emulated(job.network, calls) as (base_url, ids):
            yield replace(job.connection, base_url=base_url), itertools.cycle(ids)
        return
    from agentphone_async.cli.ids import call_ids

    found: list[str] = []
    async with aclosing(call_ids(job.call_ids, job.from_file)) as given:
        async for call_id in given:
            found.append(call_id)
            if len(found) == MOST_IDS:
                break
    if not found:
        raise click.BadParameter(
            f"there is no call id in {str(job.from_file)!r}", param_hint="--from-file"
        )
    yield job.connection, itertools.cycle(found)


@asynccontextmanager
async def _storage(job: Job) -> AsyncIterator[Any]:
    """What makes sinks: they keep nothing, or share a folder that goes away."""
    from agentphone_async.bench.null_sink import NullSink
    from agentphone_async.sinks.local import LocalSink

    if job.dest is None:
        yield NullSink
        return
    try:
        job.dest.mkdir(mode=0o700, parents=True, exist_ok=True)
        home = tempfile.TemporaryDirectory(prefix="agentphone-bench-", dir=job.dest)
    except OSError as error:
        raise click.BadParameter(
            f"cannot write to {str(job.dest)!r}: {error.strerror}", param_hint="--dest"
        ) from error

    def sink() -> Sink:
        # The same few recordings come again and again.
        return LocalSink(Path(home.name), overwrite=True, inline=True)

    with home:
        yield sink


def _check_source(context: click.Context, *, emulate: bool, given: bool) -> None:
    """Let no option be without effect: either ids are measured, or an emulated network."""
    if emulate and given:
        raise click.UsageError("--emulate has calls of its own; leave the ids out")
    played = ("latency", "bandwidth")
    profile = context.params["profile"] is not None
    reasons: dict[str, str] = {}
    if given:
        reasons = dict.fromkeys((*played, "profile"), _IDLE)
    elif profile:
        reasons = dict.fromkeys(played, "is set by --profile, too; leave one of them out")
    if not given:
        reasons["base_url"] = "needs call ids to ask for"
    for name, why in reasons.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} {why}")


_IDLE = "is for the emulated network; leave it or the ids out"


def _check_writable(file: Path | None, option: str) -> None:
    """Say before the measuring that a result could not be written after it."""
    if file is None:
        return
    target = file if file.exists() else file.parent
    if not target.exists() or not os.access(target, os.W_OK):
        raise click.BadParameter(f"cannot write to {str(file)!r}", param_hint=option)


def _tell(
    job: Job,
    steps: list[Step],
    compared: list[Timed],
    json_file: Path | None,
    plot_file: Path | None,
) -> None:
    from agentphone_async.bench.plot import draw
    from agentphone_async.bench.report import as_json
    from agentphone_async.cli.bench_table import LEGEND, notes, show, show_programs

    show(steps)
    for line in (LEGEND, *notes(steps)):
        click.echo(line)
    if compared:
        click.echo()
        show_programs(compared)
    try:
        if json_file is not None:
            text = json.dumps(as_json(steps, job.about(), compared), indent=1)
            json_file.write_text(text + "\n", encoding="utf-8")
        if plot_file is not None:
            draw(steps, f"agentphone-async bench: {job.what}", plot_file)
    except OSError as error:
        raise click.UsageError(f"cannot write to {error.filename!r}: {error.strerror}") from error
