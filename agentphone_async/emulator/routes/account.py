"""The recording add-on."""

from __future__ import annotations

from agentphone_async.emulator.exchange import Exchange
from agentphone_async.emulator.reply import Reply, json_reply


async def enable_recording(exchange: Exchange) -> Reply:
    """Switch the add-on on, so that recordings can be fetched. Here it costs nothing."""
    exchange.service.account.recording_addon = True
    return json_reply({"success": True, "recordingEnabled": True})
