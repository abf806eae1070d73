"""``agentphone-async calls``: what there is, what was said, what is being said, and hanging up."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import click

from agentphone_async.cli.config_file import Section
from agentphone_async.cli.connection import Connection
from agentphone_async.cli.event_loop import run_interruptible
from agentphone_async.cli.exit_codes import DONE, SOME_FAILED
from agentphone_async.cli.options import Group, connection_options, option, output_option
from agentphone_async.cli.param_types import Seconds, Whole
from agentphone_async.protocol.endpoints import WAIT_RANGE

if TYPE_CHECKING:
    from agentphone_async.cli.tables import Column
    from agentphone_async.client import AsyncAgentPhone
    from agentphone_async.models import ApiModel, Call, TranscriptEvent
    from agentphone_async.resources.listing import CallListing

LARGEST_PAGE = 100
"""Calls that one request can return."""

FEW = 20
"""Calls that are listed unless more are asked for."""


@click.group("calls", cls=Group)
def command() -> None:
    """List, show, follow and end calls.

    A call id is a secret: who has it can download the recording.
    """


@command.command("list")
@option(Section.WHAT, "--limit", type=Whole(min=1), metavar="N",
        help=f"At most N calls.  [default: {FEW}]")  # fmt: skip
@option(Section.WHAT, "--all", "everything", is_flag=True, help="Every call that there is.")
@option(Section.WHAT, "--status", metavar="STATUS", help="Only calls with this status.")
@option(Section.WHAT, "--direction", type=click.Choice(["inbound", "outbound"]),
        help="Only calls of this direction.")  # fmt: skip
@option(Section.WHAT, "--type", "kind", type=click.Choice(["pstn", "web"]),
        help="By telephone or web.")  # fmt: skip
@option(Section.WHAT, "--search", metavar="TEXT", help="Contained in one of the numbers.")
@option(Section.WHAT, "--number", metavar="ID", help="Only calls of this phone number's id.")
@option(Section.WHAT, "--agent", metavar="ID", help="Only calls of this agent.")
@connection_options
@output_option("table", "tsv", "json", "ids")
def list_(
    *,
    limit: int | None,
    everything: bool,
    status: str | None,
    direction: str | None,
    kind: str | None,
    search: str | None,
    number: str | None,
    agent: str | None,
    connection: Connection,
    output: str | None,
) -> int:
    """List calls, newest first.

    \b
    agentphone-async calls list --status failed
    agentphone-async calls list -o ids | agentphone-async fetch --from-file - -d d
    """
    from agentphone_async.cli.tables import Rows
    from agentphone_async.quantities import counted

    if everything and limit is not None:
        raise click.UsageError("--all and --limit exclude each other; leave one of them out")
    most = None if everything else limit or FEW
    page = most if most is not None and most <= LARGEST_PAGE else None
    filters = {"status": status, "direction": direction, "type": kind, "search": search}
    listing = _listing(number, agent, filters, page)
    shown = Rows(_columns(), output, ids=lambda call: call.id, as_json=lambda call: call.raw)

    async def work() -> int:
        async with connection.client() as client:
            calls = listing(client)
            async with aclosing(_chosen(calls, most)) as rows:
                await shown.print_all(rows)
            hint = "" if shown.count or status is None else await statuses_of(client)
        shown.finish(f"no calls match{hint}")
        if calls.problems:
            unread = counted(len(calls.problems), "row")
            click.echo(f"{unread} of the list could not be read; left out", err=True)
        return SOME_FAILED if calls.problems else DONE

    return run_interruptible(work())


def _listing(
    number: str | None, agent: str | None, filters: dict[str, Any], page: int | None
) -> Callable[[AsyncAgentPhone], CallListing]:
    """How the calls are listed that these options mean."""
    chosen = {name: value for name, value in filters.items() if value is not None}
    if (number is not None) + (agent is not None) + bool(chosen) > 1:
        raise click.UsageError(
            "the API filters by --number, or by --agent, or by the other filters; use one kind"
        )
    if number is not None:
        return lambda client: client.numbers.list_calls(number, page)
    if agent is not None:
        return lambda client: client.agents.list_calls(agent, page)
    return lambda client: client.calls.list(page, **chosen)


async def statuses_of(client: AsyncAgentPhone) -> str:
    """Which statuses the latest calls have, for who misspelt one."""
    from collections import Counter

    from agentphone_async.cli.summary import statuses_seen

    page = await client.calls.list(LARGEST_PAGE)
    return statuses_seen(Counter(call.status or "none" for call in page.data))


async def _chosen(calls: CallListing, most: int | None) -> AsyncGenerator[Call]:
    """The first calls; with one request where one page has them all."""
    if most is not None and most <= LARGEST_PAGE:
        page = await calls
        calls.problems = page.problems
        for call in page.data:
            yield call
        return
    given = 0
    async with aclosing(calls.__aiter__()) as rows:
        async for call in rows:
            yield call
            given += 1
            if given == most:
                return


@command.command("get")
@click.argument("call_id")
@option(Section.AGAIN, "--wait", type=Seconds(*WAIT_RANGE), config=False,
        help="Wait for the call to end, for 10 s to 5 m; then show it.")  # fmt: skip
@connection_options
@output_option("table", "tsv", "json", "ids")
def get(*, call_id: str, wait: float | None, connection: Connection, output: str | None) -> int:
    """Show one call."""

    async def work() -> int:
        async with connection.client() as client:
            call = await client.calls.get(call_id, wait=wait)
        _show(call, output)
        return DONE

    return run_interruptible(work())


@command.command("transcript")
@click.argument("call_id")
@connection_options
@output_option("table", "tsv", "json")
def transcript(*, call_id: str, connection: Connection, output: str | None) -> int:
    """Show what was said."""
    from agentphone_async.cli.tables import turn_line

    async def work() -> int:
        async with connection.client() as client:
            said = await client.calls.get_transcript(call_id)
        if output == "json":
            _echo_json(said)
        else:
            for turn in said.turns:
                click.echo(turn_line(turn.created_at, turn.role, turn.content))
        return DONE

    return run_interruptible(work())


@command.command("follow")
@click.argument("call_id")
@connection_options
@output_option("table", "tsv", "json")
def follow(*, call_id: str, connection: Connection, output: str | None) -> int:
    """Show what is being said, until the call ends."""

    async def work() -> int:
        async with (
            connection.client() as client,
            aclosing(client.calls.stream_transcript(call_id)) as events,
        ):
            async for event in events:
                _show_event(event, output)
        return DONE

    return run_interruptible(work())


def _show_event(event: TranscriptEvent, output: str | None) -> None:
    from agentphone_async.cli.tables import duration, turn_line
    from agentphone_async.models import ConnectedEvent, EndedEvent, TurnEvent
    from agentphone_async.protocol.display import printable

    if output == "json":
        _echo_json(event)
        return
    match event:
        case ConnectedEvent():
            between = f"{event.from_number or '?'} to {event.to_number or '?'}"
            click.echo(printable(f"{between}, {event.status or 'no status'}"), err=True)
        case TurnEvent():
            click.echo(turn_line(event.created_at, event.role, event.content))
        case EndedEvent():
            lasted = duration(event.duration_seconds)
            click.echo(printable(f"{event.status or 'ended'} after {lasted}"), err=True)


@command.command("end")
@click.argument("call_id")
@connection_options
@output_option("table", "tsv", "json", "ids")
def end(*, call_id: str, connection: Connection, output: str | None) -> int:
    """Hang up. Status and end time follow a little later."""

    async def work() -> int:
        async with connection.client() as client:
            call = await client.calls.end(call_id)
        _show(call, output)
        return DONE

    return run_interruptible(work())


def _show(call: Call, output: str | None) -> None:
    from agentphone_async.cli.tables import duration, moment, sheet
    from agentphone_async.protocol.display import printable

    if output == "json":
        _echo_json(call)
        return
    if output == "ids":
        click.echo(printable(call.id))
        return
    fields = [
        ("id", call.id),
        ("status", call.status),
        ("direction", call.direction),
        ("from", call.from_number),
        ("to", call.to_number),
        ("agent", call.agent_name or call.agent_id),
        ("started", moment(call.started_at)),
        ("ended", moment(call.ended_at)),
        ("length", duration(call.duration_seconds)),
        ("recording", _recording(call)),
    ]
    for exchange in call.transcripts:
        said = (("user", exchange.transcript), ("agent", exchange.response))
        fields += [(role, content) for role, content in said if content]
    sheet(fields, output)


def _recording(call: Call) -> str:
    from agentphone_async.models import RecordingState

    return {
        RecordingState.AVAILABLE: "yes",
        RecordingState.UNAVAILABLE: "no",
        RecordingState.CALL_IN_PROGRESS: "call in progress",
        RecordingState.UNKNOWN: "not known",
    }[call.recording_state]


def _columns() -> list[Column[Call]]:
    from agentphone_async.cli.tables import Column, call_columns

    return [
        *call_columns(lambda call: call),
        Column("status", lambda call: call.status, width=11, rank=60),
        Column("recording", _recording, width=16, rank=10),
        Column("id", lambda call: call.id),
    ]


def _echo_json(thing: ApiModel) -> None:
    # Escaped to ASCII: whatever the network sent, a terminal sees no control character.
    click.echo(json.dumps(thing.raw))
