"""aiohttp's exceptions, one by one, and which of ours each becomes."""

from __future__ import annotations

import errno
import socket
import ssl
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from yarl import URL

from agentphone_async.errors import (
    AgentPhoneError,
    CertificateError,
    ConnectionFailedError,
    TimedOutError,
    TooManyOpenFilesError,
    TransportError,
    UnexpectedResponseError,
)
from agentphone_async.protocol import endpoints
from agentphone_async.transport.aiohttp_errors import FOREIGN, translated

GET = endpoints.get_call("call_1")
KEY = ConnectionKey("h", 443, True, True, None, None, None)
INFO = aiohttp.RequestInfo(URL("https://h/?key=sk_secret"), "GET", {}, URL("https://h"))


def refused(number: int) -> aiohttp.ClientConnectorError:
    return aiohttp.ClientConnectorError(KEY, OSError(number, errno.errorcode[number]))


CASES: list[tuple[BaseException, type[AgentPhoneError], bool | None, str]] = [
    (
        aiohttp.ClientConnectorCertificateError(
            KEY, ssl.SSLCertVerificationError(1, "self-signed")
        ),
        CertificateError,
        False,
        "certificate of h:443 does not hold",
    ),
    (
        aiohttp.ServerFingerprintMismatch(b"1", b"2", "h", 443),
        CertificateError,
        False,
        "certificate",
    ),
    (
        aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "Name or service not known")),
        ConnectionFailedError,
        False,
        "cannot find h:443: the name does not resolve; check the base URL",
    ),
    (refused(errno.ECONNREFUSED), ConnectionFailedError, False, "cannot connect to h:443"),
    (refused(errno.ENETUNREACH), ConnectionFailedError, False, "cannot connect"),
    (refused(errno.EMFILE), TooManyOpenFilesError, False, "ulimit -n"),
    (refused(errno.ENFILE), TooManyOpenFilesError, False, "file descriptor"),
    (
        aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "WRONG_VERSION_NUMBER")),
        ConnectionFailedError,
        False,
        "TLS failed",
    ),
    (aiohttp.ConnectionTimeoutError(), TimedOutError, False, "connecting to h:443 took too long"),
    (aiohttp.SocketTimeoutError(), TimedOutError, True, "did not answer GET /v1/calls/call_1"),
    (aiohttp.ServerTimeoutError(), TimedOutError, True, "in time"),
    (TimeoutError(), TimedOutError, True, "in time"),
    (
        aiohttp.ClientResponseError(INFO, (), status=400, message="bad\r\nheader\x1b[2J"),
        UnexpectedResponseError,
        None,
        "broken HTTP: bad",
    ),
    (aiohttp.ClientPayloadError("short"), ConnectionFailedError, True, "broke off"),
    (aiohttp.ServerDisconnectedError(), ConnectionFailedError, True, "closed the connection"),
    (
        aiohttp.ClientOSError(errno.ECONNRESET, "Connection reset by peer"),
        ConnectionFailedError,
        True,
        "Connection reset by peer",
    ),
    (ConnectionResetError(), ConnectionFailedError, True, "no reason was given"),
    (OSError(errno.EPIPE, "Broken pipe"), ConnectionFailedError, True, "Broken pipe"),
]


@pytest.mark.parametrize(
    ("foreign", "kind", "sent", "words"), CASES, ids=lambda value: type(value).__name__
)
def test_translation(foreign, kind, sent, words):
    assert isinstance(foreign, FOREIGN)
    error = translated(foreign, GET, "h:443")
    assert type(error) is kind
    assert words in str(error)
    assert str(error).isprintable()
    assert "sk_secret" not in str(error)
    assert (error.method, error.path, error.call_id) == ("GET", "/v1/calls/call_1", "call_1")
    if isinstance(error, TransportError):
        assert error.sent is sent
    assert error.transient is (kind not in {CertificateError, UnexpectedResponseError})


def test_every_client_error_of_aiohttp_is_caught():
    raised = [
        value
        for value in vars(aiohttp).values()
        if isinstance(value, type) and issubclass(value, aiohttp.ClientError)
    ]
    assert len(raised) > 10
    assert all(issubclass(kind, FOREIGN) for kind in raised)


def test_an_error_can_be_told_which_request_it_is_about():
    error = ConnectionFailedError("x").about(SimpleNamespace(method="GET", path="/p", call_id=None))
    assert (error.message, error.method, error.path, error.call_id) == ("x", "GET", "/p", None)
    assert error.attempts == 0
