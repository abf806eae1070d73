"""Every request that this package makes, as a value: method, path, and what may be done with it.

Source: the API reference's pages on calls; each function names its page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from agentphone_async.errors import InvalidIdError
from agentphone_async.protocol.display import printable

PAGE_SIZE_LIMIT = 100
LONGEST_ID = 1024
"""Characters. Real ids have about 30; servers refuse request lines from about 8 kB on."""

WAIT_RANGE = (10.0, 300.0)
"""Seconds that the server accepts as a long-poll's ``timeout``."""

COMPLETION_RANGE = (10, 600)
"""Whole seconds that the server accepts as ``maxWaitSeconds`` of a new call."""

_PLAIN = re.compile(f"[A-Za-z0-9_-]{{1,{LONGEST_ID}}}")
_ONLY_DOTS = re.compile(r"\.+")


class Request(NamedTuple):
    """A request, before any host or key is known.

    Attributes:
        name: the endpoint's name in the API reference.
        method: HTTP method.
        path: percent-encoded path from the root, never with ``.`` or ``..`` segments of its own.
        query: decoded names and values, in order.
        body: sent as JSON; None for no body.
        authenticated: whether the API key goes along. It never does with a recording.
        repeatable: whether sending it twice does no harm (RFC 9110 section 9.2.2).
        call_id: the call that it is about, for error messages.
        patience: seconds that the server may hold the answer back on purpose (long-poll).
        live: whether the body comes as things happen, so that neither silence nor slowness of
            it means anything to the transport.
        accept: the ``Accept`` header.
    """

    name: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Mapping[str, Any] | None = None
    authenticated: bool = True
    repeatable: bool = True
    call_id: str | None = None
    patience: float = 0.0
    live: bool = False
    accept: str = "application/json"


def segment(identifier: str, what: str = "call id") -> str:
    """Percent-encode an id so that it is exactly one path segment.

    Raises:
        InvalidIdError: it is empty, all dots (which URLs treat as folders, encoded or not), or
            longer than `LONGEST_ID`.
    """
    if _PLAIN.fullmatch(identifier):  # as nearly all are; quoting takes ten times as long
        return identifier
    if not identifier or _ONLY_DOTS.fullmatch(identifier) or len(identifier) > LONGEST_ID:
        shown = f"'{printable(identifier, 60)}'"
        why = "is too long to be one" if len(identifier) > LONGEST_ID else "cannot be one"
        error = InvalidIdError(f"{what} {shown} {why}; check where it comes from")
        error.call_id = identifier
        raise error
    return quote(identifier, safe="", errors="surrogatepass")


def list_calls(
    *,
    limit: int,
    offset: int,
    status: str | None = None,
    direction: str | None = None,
    type: str | None = None,  # noqa: A002 - the API's own name for it
    search: str | None = None,
) -> Request:
    """Page "List Calls"."""
    filters = {"status": status, "direction": direction, "type": type, "search": search}
    chosen = tuple((name, value) for name, value in filters.items() if value)
    return Request("List Calls", "GET", "/v1/calls", (*_page(limit, offset), *chosen))


def list_calls_for_number(number_id: str, *, limit: int, offset: int) -> Request:
    """Page "List Calls For Number"."""
    path = f"/v1/numbers/{segment(number_id, 'number id')}/calls"
    return Request("List Calls For Number", "GET", path, _page(limit, offset))


def list_agent_calls(agent_id: str, *, limit: int, offset: int) -> Request:
    """Page "List Agent Calls"."""
    path = f"/v1/agents/{segment(agent_id, 'agent id')}/calls"
    return Request("List Agent Calls", "GET", path, _page(limit, offset))


def list_numbers(*, limit: int, offset: int) -> Request:
    """Page "List Numbers"."""
    return Request("List Numbers", "GET", "/v1/numbers", _page(limit, offset, "numbers"))


def list_agents(*, limit: int, offset: int) -> Request:
    """Page "List Agents"."""
    return Request("List Agents", "GET", "/v1/agents", _page(limit, offset, "agents"))


def get_usage() -> Request:
    """Page "Get Usage"."""
    return Request("Get Usage", "GET", "/v1/usage")


def _page(limit: int, offset: int, what: str = "calls") -> tuple[tuple[str, str], ...]:
    if not 1 <= limit <= PAGE_SIZE_LIMIT:
        raise ValueError(f"limit is {limit}; a page has 1 to {PAGE_SIZE_LIMIT} {what}")
    if offset < 0:
        raise ValueError(f"offset is {offset}; it counts {what} from 0")
    return (("limit", str(limit)), ("offset", str(offset)))


def get_call(call_id: str, *, wait: float | None = None) -> Request:
    """Page "Get Call"; ``wait`` seconds make it a long-poll that ends when the call does."""
    path = f"/v1/calls/{segment(call_id)}"
    if wait is None:
        return Request("Get Call", "GET", path, call_id=call_id)
    low, high = WAIT_RANGE
    if not low <= wait <= high:
        raise ValueError(f"wait is {wait:g} s; the server waits {low:g} to {high:g} s")
    seconds = math.ceil(wait)  # the server takes whole numbers only
    query = (("wait", "true"), ("timeout", str(seconds)))
    return Request("Get Call", "GET", path, query, call_id=call_id, patience=float(seconds))


def make_call(body: Mapping[str, Any], *, wait: float = 0.0) -> Request:
    """Page "Create Outbound Call". Repeating it could dial a person twice.

    ``wait`` seconds are how long the server may hold the answer back, as the body asks it to.
    """
    path = "/v1/calls"
    return Request("Create Outbound Call", "POST", path, body=body, repeatable=False, patience=wait)


def create_web_call(body: Mapping[str, Any]) -> Request:
    """Page "Create Web Call"."""
    return Request("Create Web Call", "POST", "/v1/calls/web", body=body, repeatable=False)


def end_call(call_id: str) -> Request:
    """Page "End Call"."""
    path = f"/v1/calls/{segment(call_id)}/end"
    return Request("End Call", "POST", path, body={}, repeatable=False, call_id=call_id)


def get_recording(call_id: str) -> Request:
    """Page "Get Call Recording": public, the id is the access token, so no key goes along."""
    return Request(
        "Get Call Recording",
        "GET",
        f"/v1/calls/{segment(call_id)}/recording",
        authenticated=False,
        call_id=call_id,
        accept="audio/*",
    )


def get_transcript(call_id: str) -> Request:
    """Page "Get Call Transcript"."""
    path = f"/v1/calls/{segment(call_id)}/transcript"
    return Request("Get Call Transcript", "GET", path, call_id=call_id)


def stream_transcript(call_id: str) -> Request:
    """Page "Stream Call Transcript": Server-Sent Events."""
    path = f"/v1/calls/{segment(call_id)}/transcript/stream"
    return Request(
        "Stream Call Transcript",
        "GET",
        path,
        call_id=call_id,
        live=True,
        accept="text/event-stream",
    )


def enable_recording() -> Request:
    """Page "Enable recording" of the credits API; it starts a paid add-on."""
    path = "/credits/recording/enable"
    return Request("Enable recording", "POST", path, body={}, repeatable=False)
