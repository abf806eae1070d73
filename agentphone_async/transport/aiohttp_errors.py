"""aiohttp's exceptions become ours, right where they occur."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

from agentphone_async.errors import (
    AgentPhoneError,
    CertificateError,
    ConnectionFailedError,
    TimedOutError,
    TooManyOpenFilesError,
    TransportError,
    UnexpectedResponseError,
)
from agentphone_async.protocol.display import printable
from agentphone_async.protocol.endpoints import Request
from agentphone_async.protocol.responses import what_was_asked

FOREIGN = (aiohttp.ClientError, asyncio.TimeoutError, OSError)
"""What aiohttp raises while connecting, sending, waiting and reading."""


HIDDEN = "[the API key]"
"""What stands for a key that a server echoes."""


def translated(
    error: BaseException, request: Request, host: str, *, redirected: bool = False
) -> AgentPhoneError:
    """The error of ours that a foreign one stands for; raise it ``from`` the foreign one.

    Args:
        error: the foreign one. What it tells of the request's headers is taken out of it.
        request: what was asked.
        host: who was asked.
        redirected: whether the API had answered, and sent us to that host.
    """
    if isinstance(error, aiohttp.ClientResponseError):
        _forget_the_request(error)
    advice = "the API redirects there" if redirected else "check the base URL and the network"
    kind = _proxys(error, host) or _kind(error, what_was_asked(request), host, advice)
    if redirected and isinstance(kind, TransportError):
        kind.sent = True
    return kind.about(request)


def _forget_the_request(error: aiohttp.ClientResponseError) -> None:
    """An error that is shown with all that it has must not show the API key, nor an echo of it."""
    key = error.request_info.headers.get("Authorization", "").removeprefix("Bearer ")
    if key and key in error.message:
        error.message = error.message.replace(key, HIDDEN)
        error.__cause__ = None  # the parser's, which says the same
    error.request_info = error.request_info._replace(headers=CIMultiDictProxy(CIMultiDict()))
    error.args = (error.request_info, error.history)


def _proxys(error: BaseException, host: str) -> AgentPhoneError | None:
    """What a proxy on the way is to blame for; None for all else."""
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        why = f"cannot connect to the proxy on the way to {host}: {_reason(error)}"
    elif isinstance(error, aiohttp.ClientHttpProxyError):
        why = f"the proxy on the way to {host} refuses with {error.status}"
        why += "; give user and password in its URL" if error.status == 407 else ""
    else:
        return None
    return ConnectionFailedError(why, sent=False)


def _kind(error: BaseException, asked: str, host: str, advice: str) -> AgentPhoneError:
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ServerFingerprintMismatch():
            why = f"the certificate of {host} does not hold: {_certificate(error)}"
            return CertificateError(why, sent=False)
        case aiohttp.ClientConnectorDNSError():
            why = f"cannot find {host}: {_reason(error)}; {advice}"
            return ConnectionFailedError(why, sent=False)
        case aiohttp.ClientConnectorError(errno=errno.EMFILE | errno.ENFILE):
            why = f"no file descriptor is left to connect to {host}; raise 'ulimit -n'"
            return TooManyOpenFilesError(why, sent=False)
        case aiohttp.ClientConnectorError():
            why = f"cannot connect to {host}: {_reason(error)}; {advice}"
            return ConnectionFailedError(why, sent=False)
        case aiohttp.ConnectionTimeoutError():
            why = f"connecting to {host} took too long; {advice}"
            return TimedOutError(why, sent=False)
        case asyncio.TimeoutError():
            return TimedOutError(f"{host} did not answer {asked} in time")
        case aiohttp.ClientResponseError():
            why = f"{host} answers {asked} in broken HTTP: {printable(error.message, 120)}"
            return UnexpectedResponseError(why, status=error.status)
        case aiohttp.ServerDisconnectedError():
            return ConnectionFailedError(f"{host} closed the connection at {asked}")
        case aiohttp.ClientPayloadError():
            return ConnectionFailedError(f"{host} broke off in the answer to {asked}")
        case _:
            return ConnectionFailedError(
                f"{host} closed the connection at {asked}: {_reason(error)}"
            )


def _reason(error: BaseException) -> str:
    cause = getattr(error, "os_error", None) or error
    if isinstance(cause, ssl.SSLError):
        reason = getattr(cause, "reason", None) or str(cause)  # Python's own ones have none
        return f"TLS failed ({printable(reason, 80)})"
    if isinstance(cause, socket.gaierror):
        return "the name does not resolve"
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno)  # asyncio's own text repeats the address
    return printable(str(cause), 100) or "no reason was given"


def _certificate(error: BaseException) -> str:
    cause = getattr(error, "certificate_error", None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return printable(getattr(cause, "verify_message", None) or str(cause), 120)
    return printable(str(cause or error), 120)
