"""An answer is believed to be the one to its request only as far as that is proved."""

from __future__ import annotations

import asyncio
import json

import pytest

from agentphone_async import Archived, NoRecording
from agentphone_async.errors import AgentPhoneError, MismatchedAnswerError
from agentphone_async.protocol import endpoints
from agentphone_async.transport.framing import whole_size
from tests.conftest import ClientFactory
from tests.support.downloads import wave
from tests.support.raw_server import Connection, RawRequest, RawServer, respond

IDS = [f"call_{number}" for number in range(60)]


def body_of(target: str) -> bytes:
    return json.dumps({"id": target.split("/")[3], "status": "completed"}).encode()


def chunked(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def length(body: bytes) -> bytes:
    return respond(body=body, content_type="audio/wav")


async def immediately(connection: Connection, answer: bytes) -> None:
    await connection.send(answer + answer)


async def a_little_later(connection: Connection, answer: bytes) -> None:
    await connection.send(answer)
    await asyncio.sleep(0.002)
    await connection.send(answer)


async def before_the_next(connection: Connection, answer: bytes) -> None:
    await connection.send(answer)
    late.setdefault(connection, answer)


async def in_place_of_the_next(connection: Connection, answer: bytes) -> None:
    await connection.send(answer)
    behind.setdefault(connection, answer)


late: dict[Connection, bytes] = {}
behind: dict[Connection, bytes] = {}
"""What comes as soon as something else is asked; whose answer comes with the one after it."""

WAYS = [immediately, a_little_later, before_the_next, in_place_of_the_next]


def server_that_doubles(way, shape=length, doubled=(7, 20, 41)) -> RawServer:
    late.clear()
    behind.clear()
    count = 0

    async def answer(connection: Connection, request: RawRequest) -> None:
        nonlocal count
        count += 1
        if connection in late:
            await connection.send(late.pop(connection))
        whole = shape(body_of(request.target))
        if connection in behind:
            whole, behind[connection] = behind[connection], whole
        if count in doubled:
            await way(connection, whole)
        else:
            await connection.send(whole)

    return RawServer(answer)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [length, chunked])
@pytest.mark.parametrize("fast", [True, False], ids=["fast path", "session"])
async def test_a_doubled_answer_gives_nobody_another_calls_bytes(
    client_of: ClientFactory, way, shape, fast
):
    async with server_that_doubles(way, shape) as server:
        client = client_of(server.base_url)
        session = client.session
        session.open()
        if not fast:
            session._clients = session._clients._replace(fast=None)
        gate = asyncio.Semaphore(6)

        async def one(call_id: str) -> bytes:
            request = endpoints.get_recording(call_id)

            async def attempt(_: int) -> bytearray:
                async with await session.send(request) as answer:
                    body = bytearray(await answer.body())
                await asyncio.sleep(answer.trust.unsettled)
                if answer.trust.distrusted:
                    raise MismatchedAnswerError("late")
                return Body(body)

            async with gate:
                return bytes(await session.retrier.run(request, attempt))

        results = await asyncio.gather(*map(one, IDS))
    assert [json.loads(body)["id"] for body in results] == IDS


async def test_calls_with_the_same_recording_are_asked_for_once(client_of: ClientFactory, tmp_path):
    async with RawServer(respond(body=wave(300), content_type="audio/wav")) as server:
        client = client_of(server.base_url)
        outcomes = [each async for each in client.download_recordings(IDS, tmp_path, concurrency=1)]
    assert [type(each) for each in outcomes] == [Archived] * len(IDS)
    # The second one came over the connection of the first, and was asked for on one of its own.
    assert len(server.requests) == len(IDS) + 1


async def test_a_no_that_comes_twice_is_nobody_elses(client_of: ClientFactory, tmp_path):
    missing = respond(404, body={"detail": "Recording not found"})
    absent = {"call_1", "call_2", "call_40"}
    behind.clear()

    async def answer(connection: Connection, request: RawRequest) -> None:
        call_id = request.target.split("/")[3]
        whole = missing if call_id in absent else length(wave(300, seed=IDS.index(call_id)))
        if connection in behind:
            whole, behind[connection] = behind[connection], whole
        await connection.send(whole)
        if call_id == "call_2":
            behind.setdefault(connection, whole)

    async with RawServer(answer) as server:
        client = client_of(server.base_url)
        found = [
            outcome async for outcome in client.download_recordings(IDS, tmp_path, concurrency=1)
        ]
    assert {each.call_id for each in found if isinstance(each, NoRecording)} == absent
    came = {each.call_id: each.recording.path for each in found if isinstance(each, Archived)}
    assert set(came) == set(IDS) - absent
    for call_id, path in came.items():
        assert path.read_bytes() == wave(300, seed=IDS.index(call_id))


async def test_a_redirect_that_comes_twice_leads_nobody_elsewhere(client_of: ClientFactory):
    async def store(connection: Connection, request: RawRequest) -> None:
        await connection.send(length(body_of("/v1/calls" + request.target)))

    async with RawServer(store) as storage:

        def shape(body: bytes) -> bytes:
            there = f"{storage.base_url}/{json.loads(body)['id']}"
            return respond(302, body=b"", location=there)

        async with server_that_doubles(in_place_of_the_next, shape) as server:
            session = client_of(server.base_url).session

            async def attempt(_: int) -> Body:
                async with await session.send(request) as answer:
                    return Body(await answer.body())

            for call_id in IDS:
                request = endpoints.get_recording(call_id)
                body = await session.retrier.run(request, attempt)
                assert json.loads(body)["id"] == call_id


class Body(bytearray):
    @property
    def size(self) -> int:
        return len(self)


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_is_the_one_that_was_asked_for(client_of: ClientFactory, way):
    async with server_that_doubles(way) as server:
        calls = client_of(server.base_url).calls
        gate = asyncio.Semaphore(6)

        async def one(call_id: str) -> str:
            async with gate:
                return (await calls.get(call_id)).id

        assert await asyncio.gather(*map(one, IDS)) == IDS


async def test_another_calls_json_is_refused_and_asked_for_again(client_of: ClientFactory):
    right, wrong = ({"id": each, "status": "completed"} for each in ("call_b", "call_a"))
    async with RawServer(respond(body=wrong), respond(body=right)) as server:
        call = await client_of(server.base_url).calls.get("call_b")
        assert (call.id, len(server.requests)) == ("call_b", 2)
    async with RawServer(respond(body=wrong)) as server:
        with pytest.raises(MismatchedAnswerError, match="another call"):
            await client_of(server.base_url).calls.get("call_b")


@pytest.mark.parametrize("surplus", [b"\r\n", b"garbage", b"x" * 70_000, respond(404)])
async def test_bytes_after_a_whole_body_cost_the_connection_and_not_the_body(client_of, surplus):
    body = b"RIFF" + bytes(1000)
    async with RawServer(length(body) + surplus) as server:
        session = client_of(server.base_url).session
        for _ in range(3):
            async with await session.send(endpoints.get_recording("c")) as answer:
                assert await answer.body() == body
            assert not answer.trust.distrusted
        assert len(server.connections) == 3


async def test_a_name_in_the_head_proves_whose_recording_it_is(client_of):
    name = 'attachment; filename="recording-call_{}.wav"'.format
    script = [
        respond(body=b"1", content_disposition=name(1)),
        respond(body=b"2", content_disposition=name(2)),
        respond(body=b"2", content_disposition=name(2)),
        respond(body=b"1", content_disposition=name(1)),
    ]
    async with RawServer(*script) as server:
        session = client_of(server.base_url).session
        for number in (1, 2):
            async with await session.send(endpoints.get_recording(f"call_{number}")) as answer:
                await answer.body()
            assert answer.trust.unsettled == 0
        with pytest.raises(MismatchedAnswerError):
            await session.send(endpoints.get_recording("call_1"))
        # On a connection of its own it is the server's way to name things.
        async with await session.send(endpoints.get_recording("call_9")) as answer:
            assert await answer.body() == b"1"


async def test_a_dead_idle_connection_distrusts_nothing(client_of):
    async def close_later(connection: Connection, request: RawRequest) -> None:
        await connection.send(length(b"1"))
        connection.close()

    async with RawServer(close_later) as server:
        session = client_of(server.base_url).session
        for _ in range(3):
            async with await session.send(endpoints.get_recording("c")) as answer:
                assert await answer.body() == b"1"
            await asyncio.sleep(0.01)
            assert not answer.trust.distrusted


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 5),
        (b"HTTP/1.1 200 OK\r\ncontent-length:5\r\nA: b\r\n\r\n", 5),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        (b"HTTP/1.1 100 Continue\r\n\r\n", None),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Le", None),
    ],
)
def test_what_a_head_promises(head, size):
    assert whole_size(head + b"rest") == (None if size is None else len(head) + size)


@pytest.mark.parametrize("fast", [True, False], ids=["fast path", "session"])
@pytest.mark.parametrize(
    "headers",
    [{"x_long": "a" * 60_000}, {f"x_{number}": "b" for number in range(200)}],
    ids=["one of 60 kB", "200 of them"],
)
async def test_large_heads_are_taken(client_of, headers, fast):
    async with RawServer(respond(body=b"1", **headers)) as server:
        session = client_of(server.base_url).session
        session.open()
        if not fast:
            session._clients = session._clients._replace(fast=None)
        async with await session.send(endpoints.get_recording("c")) as answer:
            assert await answer.body() == b"1"


async def test_a_head_without_end_is_refused(client_of):
    async with RawServer(respond(body=b"1", x_long="a" * 200_000)) as server:
        with pytest.raises(AgentPhoneError, match="broken HTTP"):
            await client_of(server.base_url).session.send(endpoints.get_recording("c"))
