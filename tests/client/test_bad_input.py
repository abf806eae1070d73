"""What is wrong gets one clear answer, which names it; nothing is sent where nothing can be meant."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentphone_async import (
    AgentPhoneError,
    InvalidIdError,
    NotFoundError,
    RecordingNotFoundError,
    UnexpectedResponseError,
    ValidationError,
)
from tests.support.raw_server import RawServer, respond, then_reset

ODD_IDS = [
    "a/b",
    "../admin",
    "a/../b",
    "a%2Fb",
    "x?y=1#z",
    "nul\0l",
    "new\r\nline",
    "\x1b[2J",
    "ü",
    "a b",
    "a;b",
    "a\\b",
    "http://x/",
    "+",
    "\u202e",
]


async def test_an_unknown_call_is_named(client):
    for ask in (
        client.calls.get("call_none"),
        client.calls.end("call_none"),
        client.calls.get_transcript("call_none"),
        client.calls.get_recording("call_none"),
        anext(client.calls.stream_transcript("call_none")),
    ):
        with pytest.raises(NotFoundError, match="call_none") as caught:
            await ask
        assert caught.value.call_id == "call_none"
        assert caught.value.status == 404
        assert caught.value.attempts == 1


async def test_a_call_without_a_recording(emulator, client):
    emulator.add_call(id="c", recording=False)
    with pytest.raises(RecordingNotFoundError):
        await client.calls.get_recording("c")


@pytest.mark.parametrize("call_id", ODD_IDS)
async def test_an_odd_id_stays_one_segment_and_comes_back_whole(client_of, call_id: str):
    async with RawServer(respond(404, {"detail": "Call not found"})) as server:
        with pytest.raises(NotFoundError) as caught:
            await client_of(server.base_url).calls.get(call_id)
        target = server.requests[0].target
    assert target.startswith("/v1/calls/")
    assert target.count("/") == 3
    assert target.isascii()
    assert target.isprintable()
    assert "?" not in target
    assert caught.value.call_id == call_id
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("call_id", ODD_IDS)
async def test_the_emulator_finds_a_call_of_an_odd_id(emulator, client, call_id: str):
    emulator.add_call(id=call_id)
    assert (await client.calls.get(call_id)).id == call_id
    assert len((await client.calls.get_recording(call_id)).content) > 44


@pytest.mark.parametrize("call_id", ["", ".", "..", "x" * 2000])
async def test_an_id_that_cannot_be_one_is_refused_before_any_request(emulator, client, call_id):
    for ask in (client.calls.get, client.calls.end, client.calls.get_recording):
        with pytest.raises(InvalidIdError, match="call id"):
            await ask(call_id)
    with pytest.raises(ValueError, match="call id"):
        client.calls.stream_transcript(call_id)
    with pytest.raises(ValueError, match="agent id"):
        client.agents.list_calls(call_id)
    assert len(emulator.requests) == 0


async def test_a_number_that_is_not_e164_gets_the_servers_field_details(emulator, client):
    with pytest.raises(ValidationError) as caught:
        await client.calls.make(emulator.agents[0].id, "0800 CALL")
    error = caught.value
    assert error.status == 422
    assert error.details[0].field == "body.toNumber"
    assert "toNumber" in str(error)
    assert emulator.requests.count("create_call") == 1


async def test_a_wait_out_of_range_is_refused_before_any_request(emulator, client):
    with pytest.raises(ValueError, match="the server waits 10 to 300 s"):
        await client.calls.get("c", wait=5)
    assert len(emulator.requests) == 0


@pytest.mark.parametrize("kind", ["text/html", "text/plain", None])
async def test_a_server_that_speaks_no_json(client_of, kind):
    async with RawServer(respond(body=b"<html>Welcome to nginx", content_type=kind)) as server:
        client = client_of(server.base_url)
        for ask in (client.calls.get("c"), client.calls.list(), client.calls.get_transcript("c")):
            with pytest.raises(UnexpectedResponseError, match="Welcome to nginx"):
                await ask
        assert len(server.requests) == 3


async def test_every_error_has_a_status_and_a_code(client_of):
    """So that ``error.status == 402`` can be asked of whatever was caught."""
    async with RawServer(then_reset(), respond(402, {"error": {"code": "EMPTY"}})) as server:
        calls = client_of(server.base_url).calls
        with pytest.raises(AgentPhoneError) as caught:
            await calls.make("agt_1", "+15551230000")
        assert (caught.value.status, caught.value.code) == (None, None)
        with pytest.raises(AgentPhoneError) as caught:
            await calls.make("agt_1", "+15551230000")
        assert (caught.value.status, caught.value.code) == (402, "EMPTY")


async def test_a_call_without_an_id_is_said_to_be_none(client_of):
    async with RawServer(respond(body={"status": "queued"})) as server:
        client = client_of(server.base_url)
        for ask in (client.calls.get("c"), client.calls.make("a", "+1")):
            with pytest.raises(
                UnexpectedResponseError, match=r"fields are missing.*queued"
            ) as caught:
                await ask
            assert caught.value.attempts == 1
        with pytest.raises(UnexpectedResponseError, match="fields are missing"):
            await client.calls.create_web_call("a")
        assert (await client.calls.end("c")).id == "c"


# ------------------------------------------------------------- behind a server that normalises

NGINX = shutil.which("nginx")
CONFIG = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  merge_slashes on;
  server {{
    listen unix:{folder}/socket;
    location /v1/calls/ {{ default_type application/json; return 404 '{{"detail": "in calls"}}'; }}
    location / {{ default_type application/json; return 403 '{{"detail": "outside"}}'; }}
  }}
}}
"""


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Path]:
    if NGINX is None:
        pytest.skip("nginx is not installed")
    (tmp_path / "nginx.conf").write_text(CONFIG.format(folder=tmp_path))
    command = [NGINX, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        yield tmp_path / "socket"
        process.terminate()


@pytest.mark.parametrize("call_id", ["a%2Fb", "x?y", "...x", "a b", "ü"])
async def test_ids_stay_inside_their_folder_behind_a_real_server(nginx, client_of, call_id):
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        while True:
            try:
                inner, outer = await asyncio.open_unix_connection(str(nginx))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                await asyncio.sleep(0)
        outer.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        writer.write(await inner.read())
        for stream in (outer, writer):
            stream.close()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = client_of(f"http://127.0.0.1:{port}")
        with pytest.raises(NotFoundError, match="in calls"):
            await client.calls.get(call_id)
