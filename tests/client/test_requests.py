"""Each endpoint's request, as it arrives at a server: method, path, query, headers, body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.config import USER_AGENT
from tests.conftest import API_KEY
from tests.support.raw_server import RawServer, respond

CALL = {"id": "c 1", "status": "completed"}
PAGE = {"data": [CALL], "hasMore": False, "total": 1}
SSE = b'event: ended\ndata: {"callId": "c 1"}\n\n'
WAV = respond(body=b"RIFF", content_type="audio/wav")

Ask = Callable[[AsyncAgentPhone], Awaitable[Any]]


async def _all(iterator: Any) -> list[Any]:
    return [item async for item in iterator]


CASES: list[tuple[str, Ask, Any, str, str, Any]] = [
    (
        "List Calls, defaults",
        lambda c: c.calls.list(),
        PAGE,
        "GET",
        "/v1/calls?limit=20&offset=0",
        None,
    ),
    (
        "List Calls, all pages",
        lambda c: _all(c.calls.list()),
        PAGE,
        "GET",
        "/v1/calls?limit=100&offset=0",
        None,
    ),
    (
        "List Calls, all filters",
        lambda c: c.calls.list(9, 7, "busy", "inbound", "pstn", "+1 5&xü"),
        PAGE,
        "GET",
        "/v1/calls?limit=9&offset=7&status=busy&direction=inbound&type=pstn&search=%2B1%205%26x%C3%BC",
        None,
    ),
    (
        "List Calls For Number",
        lambda c: c.numbers.list_calls("num/1", 3, 4),
        PAGE,
        "GET",
        "/v1/numbers/num%2F1/calls?limit=3&offset=4",
        None,
    ),
    (
        "List Agent Calls",
        lambda c: c.agents.list_calls("agt?1", limit=1),
        PAGE,
        "GET",
        "/v1/agents/agt%3F1/calls?limit=1&offset=0",
        None,
    ),
    (
        "Create Outbound Call, waited for",
        lambda c: c.calls.make("agt", "+1555", wait_for_completion=True, max_wait_seconds=20),
        CALL,
        "POST",
        "/v1/calls",
        {"agentId": "agt", "toNumber": "+1555", "waitForCompletion": True, "maxWaitSeconds": 20},
    ),
    (
        "List Numbers",
        lambda c: c.numbers.list(),
        PAGE,
        "GET",
        "/v1/numbers?limit=20&offset=0",
        None,
    ),
    (
        "List Agents",
        lambda c: c.agents.list(5, 2),
        PAGE,
        "GET",
        "/v1/agents?limit=5&offset=2",
        None,
    ),
    ("Get Usage", lambda c: c.usage.get(), {"stats": {}}, "GET", "/v1/usage", None),
    ("Get Call", lambda c: c.calls.get("c 1"), CALL, "GET", "/v1/calls/c%201", None),
    (
        "Get Call, long-poll",
        lambda c: c.calls.get("c 1", wait=90),
        CALL,
        "GET",
        "/v1/calls/c%201?wait=true&timeout=90",
        None,
    ),
    (
        "Create Outbound Call, least",
        lambda c: c.calls.make("agt", "+1555"),
        CALL,
        "POST",
        "/v1/calls",
        {"agentId": "agt", "toNumber": "+1555"},
    ),
    (
        "Create Outbound Call, most",
        lambda c: c.calls.make(
            "agt",
            "+1555",
            "Hi",
            "num",
            "voice",
            "prompt",
            {"name": "Ada"},
            "turbo",
            True,
            call_screening_identity="Ada's office",
            call_screening_purpose="a question",
        ),
        CALL,
        "POST",
        "/v1/calls",
        {
            "agentId": "agt",
            "toNumber": "+1555",
            "initialGreeting": "Hi",
            "fromNumberId": "num",
            "voice": "voice",
            "systemPrompt": "prompt",
            "variables": {"name": "Ada"},
            "modelTier": "turbo",
            "disableRecording": True,
            "callScreeningIdentity": "Ada's office",
            "callScreeningPurpose": "a question",
        },
    ),
    (
        "Create Outbound Call, conversation",
        lambda c: c.calls.make_conversation("agt", "+1555", "the topic", model_tier="max"),
        CALL,
        "POST",
        "/v1/calls",
        {"agentId": "agt", "toNumber": "+1555", "systemPrompt": "the topic", "modelTier": "max"},
    ),
    (
        "Create Web Call",
        lambda c: c.calls.create_web_call("agt", {"k": 1}, {"name": "Ada"}),
        {"accessToken": "t"},
        "POST",
        "/v1/calls/web",
        {"agentId": "agt", "metadata": {"k": 1}, "variables": {"name": "Ada"}},
    ),
    ("End Call", lambda c: c.calls.end("c 1"), CALL, "POST", "/v1/calls/c%201/end", {}),
    (
        "Get Call Recording",
        lambda c: c.calls.get_recording("c 1"),
        WAV,
        "GET",
        "/v1/calls/c%201/recording",
        None,
    ),
    (
        "Get Call Transcript",
        lambda c: c.calls.get_transcript("c 1"),
        {"transcript": []},
        "GET",
        "/v1/calls/c%201/transcript",
        None,
    ),
    (
        "Stream Call Transcript",
        lambda c: _all(c.calls.stream_transcript("c 1")),
        respond(body=SSE, content_type="text/event-stream"),
        "GET",
        "/v1/calls/c%201/transcript/stream",
        None,
    ),
    (
        "Enable recording",
        lambda c: c.account.enable_recording(),
        {"enabled": True},
        "POST",
        "/credits/recording/enable",
        {},
    ),
]
ACCEPT = {"Get Call Recording": "audio/*", "Stream Call Transcript": "text/event-stream"}


@pytest.mark.parametrize(
    ("name", "ask", "answer", "method", "target", "body"), CASES, ids=[case[0] for case in CASES]
)
async def test_the_request(client_of, name, ask: Ask, answer, method, target, body):
    item = answer if isinstance(answer, bytes) else respond(body=answer)
    async with RawServer(item) as server:
        await ask(client_of(server.base_url, sub_account="sub_1"))
        assert len(server.requests) == 1
        got = server.requests[0]
    assert (got.method, got.target) == (method, target)
    expected = {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": USER_AGENT,
        "accept": ACCEPT.get(name, "application/json"),
        "accept-encoding": "identity",
    }
    if name != "Get Call Recording":
        expected |= {"authorization": f"Bearer {API_KEY}", "x-sub-account-id": "sub_1"}
    if name == "Stream Call Transcript":
        expected["cache-control"] = "no-store"
    if method == "POST" or name == "Stream Call Transcript":
        expected["connection"] = "close"  # one of its own, which nobody uses again
    if body is not None:
        expected |= {
            "content-type": "application/json",
            "content-length": str(len(got.body)),
        }
        assert got.json == body
    else:
        assert got.body == b""
    assert dict(got.headers) == expected


async def test_a_base_url_may_have_a_path(client_of):
    async with RawServer(respond(body=CALL)) as server:
        await client_of(server.base_url + "/proxy/").calls.get("c 1")
        assert server.requests[0].target == "/proxy/v1/calls/c%201"


async def test_no_sub_account_no_header(client_of):
    async with RawServer(respond(body=CALL)) as server:
        await client_of(server.base_url).calls.get("c 1")
        assert "x-sub-account-id" not in server.requests[0].headers
