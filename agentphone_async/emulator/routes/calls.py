"""Lists of calls, and the endpoints that place, show and end one."""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_urlsafe
from typing import Any

from agentphone_async.emulator.account import Filter
from agentphone_async.emulator.conversation import turns_so_far
from agentphone_async.emulator.errors import ApiError, InvalidRequestError, problem
from agentphone_async.emulator.exchange import Exchange, Service
from agentphone_async.emulator.models import EmulatedAgent, EmulatedCall, EmulatedNumber
from agentphone_async.emulator.reply import Reply, json_reply
from agentphone_async.emulator.seeding import call_id, digest
from agentphone_async.emulator.serializers import exchanges, page
from agentphone_async.emulator.validation import (
    between,
    boolean,
    checked_body,
    e164,
    flag,
    page_bounds,
    strings,
    table,
    text,
    tier,
    whole_number,
)
from agentphone_async.waiting import first_of

_WAIT, _USUAL_WAIT = (10, 300), 60
_COMPLETION, _USUAL_COMPLETION = (10, 600), 300
_OPTIONAL = {
    "fromNumberId": text,
    "initialGreeting": text,
    "voice": text,
    "systemPrompt": text,
    "modelTier": tier,
    "variables": strings,
    "callScreeningIdentity": text,
    "callScreeningPurpose": text,
    "disableRecording": boolean,
    "waitForCompletion": boolean,
    "maxWaitSeconds": between(*_COMPLETION),
}


async def create_call(exchange: Exchange) -> Reply:
    """Create Outbound Call: places a call that rings, is answered, ends, and is recorded.

    With ``waitForCompletion`` the answer comes when it has ended, with its transcript.
    """
    account = exchange.sub_account()
    asked = checked_body(exchange.body, {"agentId": text, "toNumber": e164}, _OPTIONAL)
    service = exchange.service
    agent = _agent(service, asked["agentId"])
    line = _line(service, asked.get("fromNumberId"))
    life = service.settings.life
    call = EmulatedCall(
        id=_new_id(service),
        started_at=service.now(),
        seconds=life.talking,
        direction="outbound",
        from_number=line.phone_number,
        to_number=asked["toNumber"],
        agent_id=agent.id,
        agent_name=agent.name,
        phone_number_id=line.id,
        phone_number=line.phone_number,
        queued_for=life.queued,
        rings_for=life.ringing,
        recorded=not asked.get("disableRecording"),
        recording_delay=life.recording,
        sub_account=account,
        settled=False,
        milliseconds=True,
    )
    service.account.add(call)
    service.placed.append(call)
    if asked.get("waitForCompletion"):
        seconds = asked.get("maxWaitSeconds") or _USUAL_COMPLETION
        await _until_ended(service, call, seconds)
        return json_reply(_with_transcripts(exchange, call))
    return json_reply(_single(exchange, call))


async def create_web_call(exchange: Exchange) -> Reply:
    """Create Web Call: an access token. Nobody joins here, so the call fails when it expires."""
    account = exchange.sub_account()
    asked = checked_body(
        exchange.body, {"agentId": text}, {"metadata": table, "variables": strings}
    )
    service = exchange.service
    agent = _agent(service, asked["agentId"])
    call = EmulatedCall(
        id=_new_id(service),
        started_at=service.now(),
        seconds=None,
        outcome="failed",
        type="web",
        from_number="web",
        to_number="web",
        agent_id=agent.id,
        agent_name=agent.name,
        queued_for=service.settings.life.joining,
        first_status="registered",
        recorded=False,
        sub_account=account,
        settled=False,
        milliseconds=True,
    )
    service.account.add(call)
    service.placed.append(call)
    return json_reply({"accessToken": token_urlsafe(32), "callId": call.id})


async def get_call(exchange: Exchange) -> Reply:
    """Get Call, with ``transcripts``; ``wait=true`` answers when the call has ended."""
    call = exchange.call()
    timeout = _wait_seconds(exchange.query())
    service = exchange.service
    if timeout:
        await _until_ended(service, call, timeout)
    return json_reply(_with_transcripts(exchange, call))


async def end_call(exchange: Exchange) -> Reply:
    """End Call: answers with the call as it is; its status and ``endedAt`` follow later."""
    call = exchange.call()
    service = exchange.service
    now = service.now()
    before = _single(exchange, call)
    call.hang_up(now, service.settings.life.ending)
    service.account.announce_change()
    return json_reply(before)


def _single(exchange: Exchange, call: EmulatedCall) -> dict[str, Any]:
    """A call as answers about one call have it: with its id at the voice backend."""
    backend = {"retellCallId": f"call_{digest('retell', call.id, size=16)}"}
    return exchange.row(call, exchange.service.now()) | backend


def _with_transcripts(exchange: Exchange, call: EmulatedCall) -> dict[str, Any]:
    service = exchange.service
    turns = turns_so_far(call, service.settings.seed, service.now())
    return _single(exchange, call) | {"transcripts": exchanges(call, turns)}


def _wait_seconds(query: dict[str, str]) -> int:
    """How long to wait for the end of the call; 0 for not at all."""
    if not flag(query, "wait"):
        return 0
    problems: list[dict[str, Any]] = []
    seconds = whole_number(query, "timeout", _USUAL_WAIT, _WAIT, problems)
    if problems:
        raise InvalidRequestError(problems)
    return seconds


async def _until_ended(service: Service, call: EmulatedCall, seconds: float) -> None:
    """Return when the call has ended, or after ``seconds``."""
    clock = service.settings.clock
    deadline = clock.monotonic() + seconds
    while not call.has_ended(now := service.now()):
        left = deadline - clock.monotonic()
        if left <= 0:
            return
        pause = min(left, call.next_change(now))
        await first_of(clock.sleep(pause), service.account.changed())


def _agent(service: Service, agent_id: str) -> EmulatedAgent:
    agent = service.account.agents.get(agent_id)
    if agent is None:
        raise ApiError(404, "Agent not found.", "AGENT_NOT_FOUND")
    return agent


def _line(service: Service, number_id: str | None) -> EmulatedNumber:
    """The number to call from: the account's first, unless one is named."""
    numbers = service.account.numbers
    line = next(iter(numbers.values()), None) if number_id is None else numbers.get(number_id)
    if line is None:
        raise ApiError(404, "Phone number not found.", "PHONE_NUMBER_NOT_FOUND")
    return line


def _new_id(service: Service) -> str:
    return call_id("placed", service.settings.seed, len(service.placed))


_CHOICES = {"direction": ("inbound", "outbound"), "type": ("pstn", "web")}


async def list_calls(exchange: Exchange) -> Reply:
    """List Calls, with all its filters."""
    query = exchange.query()
    problems = [
        problem(
            ("query", name),
            f"Input should be {' or '.join(map(repr, allowed))}",
            "literal_error",
            query[name],
            expected=" or ".join(map(repr, allowed)),
        )
        for name, allowed in _CHOICES.items()
        if query.get(name, allowed[0]) not in allowed
    ]
    asked = {name: query.get(name) or None for name in ("status", "direction", "type", "search")}
    return _page(exchange, query, Filter(exchange.sub_account(), **asked), problems)


async def number_calls(exchange: Exchange) -> Reply:
    """List Calls For Number."""
    number_id = exchange.found.identity
    if number_id not in exchange.service.account.numbers:
        raise ApiError(404, "Phone number not found.", "PHONE_NUMBER_NOT_FOUND")
    wanted = Filter(exchange.sub_account(), number_id=number_id)
    return _page(exchange, exchange.query(), wanted, [])


async def agent_calls(exchange: Exchange) -> Reply:
    """List Agent Calls: summaries without direction or recording fields."""
    agent_id = exchange.found.identity
    if agent_id not in exchange.service.account.agents:
        raise ApiError(404, "Agent not found.", "AGENT_NOT_FOUND")
    wanted = Filter(exchange.sub_account(), agent_id=agent_id)
    return _page(exchange, exchange.query(), wanted, [], summary=True)


def _page(
    exchange: Exchange,
    query: Mapping[str, str],
    wanted: Filter,
    problems: list[dict[str, Any]],
    *,
    summary: bool = False,
) -> Reply:
    limit, offset = page_bounds(query, problems)
    service = exchange.service
    now = service.now()
    calls = service.account.listed(wanted, now)
    shown = calls[offset : offset + limit]
    rows = [exchange.row(call, now, summary=summary) for call in shown]
    return json_reply(page(rows, has_more=offset + limit < len(calls), total=len(calls)))
