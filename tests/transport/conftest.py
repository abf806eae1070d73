"""Both kinds of requests; certificates of an authority that only the tests know."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest
import trustme

from agentphone_async.protocol import endpoints
from agentphone_async.protocol.endpoints import Request

Tls = tuple[ssl.SSLContext, str]


def server_context(ca: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(ca: trustme.CA) -> Iterator[Tls]:
    with ca.cert_pem.tempfile() as path:
        yield server_context(ca, "127.0.0.1"), path


@pytest.fixture(params=["public", "with the key"])
def asked(request: pytest.FixtureRequest) -> Request:
    """Both kinds of requests; recordings may take a way of their own through the transport."""
    if request.param == "public":
        return endpoints.get_recording("c")
    return endpoints.get_transcript("c")
