"""One handler for each endpoint: a request as data goes in, an answer as data comes out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agentphone_async.emulator.exchange import Exchange
from agentphone_async.emulator.reply import Reply
from agentphone_async.emulator.routes.account import enable_recording
from agentphone_async.emulator.routes.calls import create_call, create_web_call, end_call, get_call
from agentphone_async.emulator.routes.lists import agent_calls, list_calls, number_calls
from agentphone_async.emulator.routes.recording import recording
from agentphone_async.emulator.routes.transcripts import transcript, transcript_stream
from agentphone_async.emulator.routing import Route

Handler = Callable[[Exchange], Awaitable[Reply]]

HANDLERS: dict[Route, Handler] = {
    "list_calls": list_calls,
    "create_call": create_call,
    "create_web_call": create_web_call,
    "get_call": get_call,
    "end_call": end_call,
    "recording": recording,
    "transcript": transcript,
    "transcript_stream": transcript_stream,
    "number_calls": number_calls,
    "agent_calls": agent_calls,
    "enable_recording": enable_recording,
}
PUBLIC: frozenset[Route] = frozenset({"recording"})
"""Endpoints that ask for no key: a call id is the key to its recording."""
