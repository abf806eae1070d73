"""``agentphone-async calls``: what there is, what was said, what is being said, and hanging up."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import click

from agentphone_async.cli.connection import Connection, connection_options
from agentphone_async.cli.exit_codes import DONE, INTERRUPTED
from agentphone_async.cli.param_types import Seconds
from agentphone_async.cli.signals import interruptible
from agentphone_async.own_loop import run

if TYPE_CHECKING:
    from agentphone_async.client import AsyncAgentPhone
    from agentphone_async.models import ApiModel, Call, TranscriptEvent
    from agentphone_async.resources.listing import CallListing

LARGEST_PAGE = 100
"""Calls that one request can bring."""

FEW = 20
"""Calls that are listed unless more are asked for."""

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Objects as the API gives them, one a line."
)


class Wait(Seconds):
    """A duration for which the API can keep an answer back."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse it, or fail with one line."""
        from agentphone_async.protocol.endpoints import WAIT_RANGE

        seconds = super().convert(value, param, ctx)
        low, high = WAIT_RANGE
        if not low <= seconds <= high:
            self.fail(f"{value!r} is not between {low:g} s and {high / 60:g} m", param, ctx)
        return seconds


@click.group("calls")
def command() -> None:
    """List, show, follow and end calls.

    A call id is a secret: who has it can download the recording.
    """


@command.command("list")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"So many calls at most.  [default: {FEW}]",
)
@click.option("--all", "everything", is_flag=True, help="All calls, however many there are.")
@click.option("--status", metavar="STATUS", help="completed, in-progress, failed, …")
@click.option("--direction", type=click.Choice(["inbound", "outbound"]), help="Which way.")
@click.option("--type", "kind", type=click.Choice(["pstn", "web"]), help="By telephone or web.")
@click.option("--search", metavar="TEXT", help="Contained in one of the numbers.")
@click.option("--number", metavar="ID", help="Only calls of this phone number's id.")
@click.option("--agent", metavar="ID", help="Only calls of this agent.")
@connection_options
@json_option
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
    as_json: bool,
) -> int:
    """List calls, newest first."""
    filters = {"status": status, "direction": direction, "type": kind, "search": search}
    chosen: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
    if (number is not None) + (agent is not None) + bool(chosen) > 1:
        raise click.UsageError(
            "the API filters by --number, or by --agent, or by the other filters; use one kind"
        )
    if everything and limit is not None:
        raise click.UsageError("--all and --limit exclude each other; leave one of them out")
    most = None if everything else limit or FEW
    page = most if most is not None and most <= LARGEST_PAGE else None

    def listing(client: AsyncAgentPhone) -> CallListing:
        if number is not None:
            return client.numbers.list_calls(number, page)
        if agent is not None:
            return client.agents.list_calls(agent, page)
        return client.calls.list(page, **chosen)

    async def work() -> int:
        async with connection.client() as client:
            calls = listing(client)
            async with aclosing(_chosen(calls, most)) as rows:
                if as_json:
                    async for call in rows:
                        _echo_json(call)
                else:
                    _show_table([call async for call in rows])
        if calls.problems:
            unread = len(calls.problems)
            click.echo(f"{unread} rows of the list could not be read; left out", err=True)
        return DONE

    return _run(work())


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
@click.option(
    "--wait", type=Wait(), help="Wait for the call to end, for 10 s to 5 m; then show it."
)
@connection_options
@json_option
def get(*, call_id: str, wait: float | None, connection: Connection, as_json: bool) -> int:
    """Show one call."""

    async def work() -> int:
        async with connection.client() as client:
            call = await client.calls.get(call_id, wait=wait)
        _show(call, as_json=as_json)
        return DONE

    return _run(work())


@command.command("transcript")
@click.argument("call_id")
@connection_options
@json_option
def transcript(*, call_id: str, connection: Connection, as_json: bool) -> int:
    """Show what was said."""
    from agentphone_async.cli.call_tables import turn_line

    async def work() -> int:
        async with connection.client() as client:
            said = await client.calls.get_transcript(call_id)
        if as_json:
            _echo_json(said)
        else:
            for turn in said.turns:
                click.echo(turn_line(turn.created_at, turn.role, turn.content))
        return DONE

    return _run(work())


@command.command("follow")
@click.argument("call_id")
@connection_options
@json_option
def follow(*, call_id: str, connection: Connection, as_json: bool) -> int:
    """Show what is being said, until the call ends."""

    async def work() -> int:
        async with (
            connection.client() as client,
            aclosing(client.calls.stream_transcript(call_id)) as events,
        ):
            async for event in events:
                _show_event(event, as_json=as_json)
        return DONE

    return _run(work())


def _show_event(event: TranscriptEvent, *, as_json: bool) -> None:
    from agentphone_async.cli.call_tables import duration, turn_line
    from agentphone_async.models import ConnectedEvent, EndedEvent, TurnEvent
    from agentphone_async.protocol.display import printable

    if as_json:
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
@json_option
def end(*, call_id: str, connection: Connection, as_json: bool) -> int:
    """Hang up. Status and end time follow a little later."""

    async def work() -> int:
        async with connection.client() as client:
            call = await client.calls.end(call_id)
        _show(call, as_json=as_json)
        return DONE

    return _run(work())


def _show(call: Call, *, as_json: bool) -> None:
    from agentphone_async.cli.call_tables import call_sheet, show

    if as_json:
        _echo_json(call)
    else:
        show(call_sheet(call))


def _show_table(calls: list[Call]) -> None:
    from agentphone_async.cli.call_tables import call_table, show

    show(call_table(calls))


def _echo_json(thing: ApiModel) -> None:
    # Escaped to ASCII: whatever the network sent, a terminal sees no control character.
    click.echo(json.dumps(thing.raw))


def _run(work: Coroutine[Any, Any, int]) -> int:
    code = run(interruptible(work))
    return INTERRUPTED if code is None else code
