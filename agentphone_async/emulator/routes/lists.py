"""The three lists of calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentphone_async.emulator.account import Filter
from agentphone_async.emulator.errors import ApiError, InvalidRequestError, problem
from agentphone_async.emulator.exchange import Exchange
from agentphone_async.emulator.reply import Reply, json_reply
from agentphone_async.emulator.serializers import page

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
    limit = _whole_number(query, "limit", 20, (1, 100), problems)
    offset = _whole_number(query, "offset", 0, (0, None), problems)
    if problems:
        raise InvalidRequestError(problems)
    service = exchange.service
    now = service.now()
    calls = service.account.listed(wanted, now)
    shown = calls[offset : offset + limit]
    rows = [service.row(call, now, summary=summary) for call in shown]
    return json_reply(page(rows, has_more=offset + limit < len(calls), total=len(calls)))


def _whole_number(
    query: Mapping[str, str],
    name: str,
    default: int,
    bounds: tuple[int, int | None],
    problems: list[dict[str, Any]],
) -> int:
    """A number of the query; whatever is wrong with it goes to ``problems``."""
    text = query.get(name)
    if text is None:
        return default
    where, (least, most) = ("query", name), bounds
    try:
        value = int(text)
    except ValueError:
        message = "Input should be a valid integer, unable to parse string as an integer"
        problems.append(problem(where, message, "int_parsing", text))
        return default
    if value < least:
        message = f"Input should be greater than or equal to {least}"
        problems.append(problem(where, message, "greater_than_equal", text, ge=least))
    elif most is not None and value > most:
        message = f"Input should be less than or equal to {most}"
        problems.append(problem(where, message, "less_than_equal", text, le=most))
    return value
