"""The account: its numbers, its agents, what it used, its add-on, its webhook's deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from agentphone_async.emulator.exchange import Exchange
from agentphone_async.emulator.reply import Reply, json_reply
from agentphone_async.emulator.serializers import (
    Json,
    agent_json,
    delivery_json,
    number_json,
    page,
    usage_json,
)
from agentphone_async.emulator.validation import page_bounds


async def list_numbers(exchange: Exchange) -> Reply:
    """List Numbers."""
    account = exchange.service.account
    agent = next(iter(account.agents), None)
    return _page(exchange, [number_json(line, agent) for line in account.numbers.values()])


async def list_agents(exchange: Exchange) -> Reply:
    """List Agents; the first of them has all the numbers."""
    account = exchange.service.account
    lines = list(account.numbers.values())
    rows = [
        agent_json(agent, lines if place == 0 else ())
        for place, agent in enumerate(account.agents.values())
    ]
    return _page(exchange, rows)


async def usage(exchange: Exchange) -> Reply:
    """Get Usage: how many numbers, calls and deliveries there are."""
    service, scope = exchange.service, exchange.sub_account()
    now = service.now()
    starts = [call.started_at for call in service.account if call.sub_account == scope]
    counts = {
        name: sum(start > now - timedelta(days=days) for start in starts)
        for name, days in (("Last24h", 1), ("Last7d", 7), ("Last30d", 30))
    }
    taken = [delivery.status for delivery in service.deliveries]
    return json_reply(usage_json(now, len(service.account.numbers), len(starts), counts, taken))


async def webhook_deliveries(exchange: Exchange) -> Reply:
    """List webhook deliveries, newest first."""
    limit, offset = page_bounds(exchange.query())
    newest = exchange.service.deliveries[::-1][offset : offset + limit]
    return json_reply({"items": [delivery_json(delivery) for delivery in newest]})


async def enable_recording(exchange: Exchange) -> Reply:
    """Switch the add-on on, so that recordings can be fetched. Here it costs nothing."""
    exchange.service.account.recording_addon = True
    return json_reply({"success": True, "recordingEnabled": True})


def _page(exchange: Exchange, rows: Sequence[Json]) -> Reply:
    exchange.sub_account()
    limit, offset = page_bounds(exchange.query())
    shown = rows[offset : offset + limit]
    return json_reply(page(shown, has_more=offset + limit < len(rows), total=len(rows)))
