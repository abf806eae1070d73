"""Certificates: who is believed, and what is said where nobody is."""

from __future__ import annotations

import asyncio

import pytest
import trustme

from agentphone_async import (
    AsyncAgentPhone,
    CertificateError,
    ConfigurationError,
    ConnectionFailedError,
)
from agentphone_async.protocol import endpoints
from tests.support.raw_server import (
    RawServer,
    respond,
)
from tests.transport.conftest import Tls, server_context


async def test_a_good_certificate(client_of, tls: Tls):
    context, ca_file = tls
    async with RawServer(respond(body={"id": "call_1"}), tls=context) as server:
        client = client_of(server.base_url, ca_file=ca_file)
        assert (await client.calls.get("call_1")).id == "call_1"


async def test_a_redirect_from_an_api_without_tls(client_of, tls: Tls, monkeypatch):
    context, ca_file = tls
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)  # which is read when it is needed
    async with RawServer(respond(body=b"audio"), tls=context) as storage:
        moved = respond(302, location=f"{storage.base_url}/x.wav".replace("https", "HTTPS"))
        async with RawServer(moved) as server:
            client = client_of(server.base_url)
            answer = await client.session.send(endpoints.get_recording("call_1"))
            assert await answer.body(99) == b"audio"


async def test_an_unknown_authority_is_final(client_of, tls: Tls):
    context, _ = tls
    async with RawServer(respond(body={"id": "call_1"}), tls=context) as server:
        with pytest.raises(CertificateError, match=r"certificate of 127\.0\.0\.1:") as caught:
            await client_of(server.base_url).calls.get("call_1")
        assert caught.value.attempts == 1
        assert len(server.connections) <= 1
        assert server.requests == []


async def test_a_certificate_for_another_name_is_final(client_of, ca: trustme.CA, tls: Tls):
    async with RawServer(
        respond(body={"id": "call_1"}), tls=server_context(ca, "other.example")
    ) as server:
        with pytest.raises(CertificateError, match=r"(?i)mismatch") as caught:
            await client_of(server.base_url, ca_file=tls[1]).calls.make("a", "+1")
        assert caught.value.attempts == 1
        assert not caught.value.sent
        assert server.requests == []


async def test_a_server_without_tls_where_there_should_be_one(client_of, asked):
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp.example.com\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = client_of(f"https://127.0.0.1:{port}")
        with pytest.raises(ConnectionFailedError, match="TLS failed") as caught:
            await client.session.send(asked)
        assert not caught.value.sent


def test_authorities_that_cannot_be_read(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "missing.pem"):
        client = AsyncAgentPhone("k", ca_file=str(tmp_path / name))
        with pytest.raises(ConfigurationError, match="certificate authorities"):
            _ = client.session._tls
