"""The three lists of calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentphone_async.emulator.account import Filter
from agentphone_async.emulator.errors import ApiError, problem
from agentphone_async.emulator.exchange import Exchange
from agentphone_async.emulator.reply import Reply, json_reply
from agentphone_async.emulator.serializers import page
from agentphone_async.emulator.validation import page_bounds

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
