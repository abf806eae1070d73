"""Only the API can refuse a key: no storage, no CDN, no proxy."""

from __future__ import annotations

import pytest

from agentphone_async.errors import AuthenticationError, PermissionDeniedError, ResponseError
from agentphone_async.protocol import endpoints
from agentphone_async.protocol.responses import Reply, error_of
from tests.support.raw_server import Connection, RawRequest, RawServer, respond

WAV = b"RIFF" + bytes(100)
XML = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"
PAGE = b"<html>Attention Required! | Cloudflare</html>"
KEY = endpoints.list_calls(limit=1, offset=0)
NO_KEY = endpoints.get_recording("c")
KEY_ERRORS = (AuthenticationError, PermissionDeniedError)


@pytest.mark.parametrize(
    ("request_", "status", "body", "kind", "keys"),
    [
        (KEY, 401, b'{"detail": "no"}', "application/json", True),
        (KEY, 403, b'{"detail": "no"}', "application/json", True),
        (KEY, 401, b"", "", True),
        (KEY, 401, PAGE, "text/html", False),
        (KEY, 403, PAGE, "text/html", False),
        (KEY, 403, b"error code: 1010", "text/plain", False),
        (KEY, 403, XML, "application/xml", False),
        (KEY, 403, b"", "", False),
        (KEY, 407, b"", "", False),
        (NO_KEY, 401, b'{"detail": "no"}', "application/json", False),
        (NO_KEY, 403, b'{"detail": "no"}', "application/json", False),
        (NO_KEY, 403, XML, "application/xml", False),
    ],
)
def test_whose_refusal_it_is(request_, status, body, kind, keys):
    error = error_of(request_, Reply(status, {"Content-Type": kind}, body))
    assert isinstance(error, KEY_ERRORS) is keys
    assert isinstance(error, ResponseError)
    assert error.status == status


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_refusal_behind_a_redirect_is_asked_once_more_from_the_origin(
    client_of, status, stubborn
):
    addresses = []

    async def answer(connection: Connection, request: RawRequest) -> None:
        if request.target.startswith("/v1/"):
            addresses.append(f"/storage?signature={len(addresses)}")
            await connection.send(respond(302, location=addresses[-1]))
        elif request.target == addresses[0] or stubborn:
            await connection.send(respond(status, XML, content_type="application/xml"))
        else:
            await connection.send(respond(200, WAV, content_type="audio/wav"))

    async with RawServer(answer) as server:
        session = client_of(server.base_url).session
        async with await session.send(NO_KEY) as got:
            body = await got.body()
        assert (got.status, body) == ((status, XML) if stubborn else (200, WAV))
        assert len(addresses) == 2
        error = error_of(NO_KEY, Reply(got.status, got.headers, body))
        assert not isinstance(error, KEY_ERRORS)


async def test_what_is_not_redirected_is_not_asked_twice(client_of):
    async with RawServer(respond(403, {"detail": "no"})) as server:
        async with await client_of(server.base_url).session.send(NO_KEY) as got:
            assert got.status == 403
        assert len(server.requests) == 1
