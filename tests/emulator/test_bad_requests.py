"""Requests that no client should send: each gets a 4xx, and nothing is logged as a failure."""

from __future__ import annotations

import gzip
import json
import logging

import pytest

DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
GZIP = {"Content-Encoding": "gzip"}
DEFLATE = {"Content-Encoding": "deflate"}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, DEEP),
        ({}, b"[" * 100_000),
        ({}, b'{"agentId": ' + b"[" * 900 + b"]" * 900 + b"}"),
        ({}, b"\xff\xfe\x00"),
        ({}, b'{"agentId": "\\ud800", "toNumber": "\\udfff"}'),
        ({}, b'{"agentId": ' + b"9" * 5000 + b"}"),
        ({}, b"NaN"),
        ({}, b'{"agentId": NaN, "toNumber": Infinity}'),
        ({}, b"[]"),
        ({}, b"null"),
        ({}, b""),
        ({}, b" " * 2_000_000),
        (GZIP, b"this is not gzip"),
        (GZIP, gzip.compress(b"{}", mtime=0)[:-9]),
        (GZIP, gzip.compress(b"{}", mtime=0) + b"rest"),
        (GZIP, b""),
        (DEFLATE, b"\xff\xff\xff"),
        ({"Content-Encoding": "br"}, b"\xff\xff\xff"),
        ({"Content-Encoding": "zstd"}, b"\xff\xff\xff"),
        ({"Content-Type": "application/json; charset=nonsense"}, b"{"),
        ({"X-Sub-Account-Id": "nobody"}, b"{}"),
    ],
)
@pytest.mark.parametrize("target", ["/v1/calls", "/v1/calls/web"])
async def test_bodies(emulator, ask, caplog, target, headers, body):
    answer = await ask(emulator, target, "POST", headers=headers, body=body)
    assert 400 <= answer.status < 500
    assert caplog.records == []
    assert emulator.placed_calls == []


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/v1/calls/call_1/recording", {"Range": "bytes=abc"}),
        ("/v1/calls/call_1/recording", {"Range": "bytes=-"}),
        ("/v1/calls/call_1/recording", {"Range": "bytes=5-1"}),
        ("/v1/calls/call_1/recording", {"Range": "bytes=" + "9" * 5000 + "-"}),
        ("/v1/calls/call_1/recording", {"Range": "bytes"}),
        ("/v1/calls?limit=" + "9" * 5000, {}),
        ("/v1/calls?limit=%D9%A3x", {}),
        ("/v1/calls?offset=-1", {}),
        ("/v1/calls?offset=1e3", {}),
        ("/v1/calls/call_1?wait=true&timeout=" + "9" * 5000, {}),
        ("/v1/calls/call_1?wait=true&timeout=nan", {}),
        ("/v1/calls/call_1?wait=maybe", {}),
        ("/v1/calls?direction=sideways", {}),
        ("/v1/calls?x=" + "9" * 20_000, {}),
        ("/v1/calls?limit=\uff11", {}),
        ("/v1/calls", {"X": "9" * 20_000}),
        ("/v1/calls", {f"X{number}": "9" for number in range(1000)}),
        ("/v1/calls", {"Content-Length": "x"}),
        ("/v1/calls/call_1/recording", {"Range": "bytes="}),
        ("/v1/calls/call_1/recording", {"Range": "bytes=-0"}),
        ("/v1/calls/call_1/recording", {"Range": "bytes=+1-2"}),
        ("/v1/calls/call_1/recording", {"Range": "bytes=1-2-3"}),
        ("/v1/calls/call_1/recording", {"Range": "bytes=0x1-0x2"}),
        ("/v1/calls/call_1/recording", {"Range": "bytes=\xb2-"}),
        ("/v1/calls/%ff%fe", {}),
        ("/v1/calls/%00", {}),
        ("/v1/calls/" + "x" * 5000, {}),
        ("/v1/calls/*", {}),
        ("/v1/calls/%2e%2e/recording", {}),
        ("/storage/recordings/call_1?Expires=soon&Signature=x", {}),
        ("/storage/recordings/%ff", {}),
        ("/v1/numbers/%ff/calls", {}),
        ("/v1/agents//calls", {}),
        ("//", {}),
        ("*", {}),
        (
            "/v1/calls/call_1/transcript",
            {"X-Sub-Account-Id": "\udcff".encode("utf-8", "surrogateescape").decode("latin-1")},
        ),
        ("/v1/calls", {"Content-Length": "-5"}),
    ],
)
async def test_targets_and_headers(emulator, ask, caplog, target, headers):
    emulator.add_call(id="call_1", duration=1)
    caplog.set_level(logging.ERROR)
    answer = await ask(emulator, target, headers=headers)
    assert 400 <= answer.status < 500
    if not target.startswith("/storage/"):  # which speaks XML
        assert set(json.loads(answer.body)) <= {"detail", "error"}
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.parametrize("method", ["FOO", "get", "TRACE", "PUT", "PROPFIND", "DELETE"])
async def test_methods(emulator, ask, caplog, method):
    answer = await ask(emulator, "/v1/calls", method)
    assert answer.status in {400, 405}
    assert set(json.loads(answer.body)) == {"detail"}
    assert caplog.records == []


@pytest.mark.parametrize("asked", ["bytes=0-0,2-3", "items=0-5", "bytes=,", "5-6"])
async def test_ranges_that_may_be_ignored_bring_everything(emulator, ask, asked):
    call = emulator.add_call(duration=1)
    answer = await ask(emulator, f"/v1/calls/{call.id}/recording", headers={"Range": asked})
    assert (answer.status, answer.body) == (200, emulator.expected_audio(call.id))


async def test_a_gzipped_body_is_understood(emulator, ask):
    content = json.dumps({"agentId": emulator.agents[0].id, "toNumber": "+15551234567"}).encode()
    answer = await ask(emulator, "/v1/calls", "POST", headers=GZIP, body=gzip.compress(content))
    assert answer.status == 200
