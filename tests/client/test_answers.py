"""Answers that are another call's, and those that come in unusual forms."""

from __future__ import annotations

import gzip
import sys
import zlib

import pytest

from agentphone_async import AsyncAgentPhone, MismatchedAnswerError, UnexpectedResponseError
from agentphone_async.emulator import Emulator
from tests.support.raw_server import RawServer, respond


def named(**fields: object) -> bytes:
    return respond(body={"status": "completed", "transcript": [], **fields})


@pytest.mark.parametrize(
    ("ask", "right", "wrong"),
    [
        (lambda c: c.calls.get("call_B"), named(id="call_B"), named(id="call_A")),
        (lambda c: c.calls.get("7"), named(id=7), named(id=8)),
        (
            lambda c: c.calls.get_transcript("call_B"),
            named(callId="call_B"),
            named(callId="call_A"),
        ),
    ],
)
async def test_another_calls_answer_is_refused_and_asked_for_again(client_of, ask, right, wrong):
    async with RawServer(wrong, right) as server:
        await ask(client_of(server.base_url))
        assert [request.connection for request in server.requests] == [0, 1]
    async with RawServer(wrong) as server:
        with pytest.raises(MismatchedAnswerError, match="for another call") as caught:
            await ask(client_of(server.base_url))
        assert caught.value.attempts == len(server.requests) == 3
        assert "call_A" not in str(caught.value)


async def test_a_call_is_not_ended_twice_because_of_a_strange_answer(client_of):
    async with RawServer(named(id="call_A")) as server:
        with pytest.raises(MismatchedAnswerError):
            await client_of(server.base_url).calls.end("call_B")
        assert len(server.requests) == 1


async def test_answers_without_an_id_are_nobody_elses(client_of):
    async with RawServer(respond(body={"transcript": []}), respond(body=b"")) as server:
        client = client_of(server.base_url)
        assert (await client.calls.get_transcript("call_B")).turns == []
        assert (await client.calls.end("call_B")).id == "call_B"


async def test_doubled_answers_never_give_another_call(client_of):
    async with Emulator() as emulator:
        ids = [emulator.add_call(id=f"call_{number}").id for number in range(30)]
        emulator.fail(duplicate_answer=True, probability=0.2)
        client = client_of(emulator.base_url, api_key=emulator.api_key)
        assert [(await client.calls.get(identity)).id for identity in ids] == ids
        assert emulator.fault_log


@pytest.mark.parametrize("shape", ["transcript", "data", "transcripts", "list", "speakers", "text"])
async def test_every_shape_of_a_transcript_is_read(client_of, shape):
    async with Emulator(transcript_shape=shape) as emulator:
        call = emulator.add_call(transcript=[("user", "Grüße"), ("agent", "Hello")])
        client = client_of(emulator.base_url, api_key=emulator.api_key)
        said = await client.calls.get_transcript(call.id)
        assert [(turn.role, turn.content) for turn in said.turns] == [
            ("user", "Grüße"),
            ("agent", "Hello"),
        ]


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"Agent: Hello", "text/plain", "Hello"),
        (b"Agent: Hello", None, "Hello"),
        (b"Agent: Hello", "application/octet-stream", "Hello"),
        ("Agent: Grüße".encode("latin-1"), "text/plain; charset=iso-8859-1", "Grüße"),
        ("Agent: Grüße".encode(), "text/plain; charset=nonsense", "Grüße"),
        (b"<html>no</html>", "text/plain", None),
        (b"Agent: Hello", "text/html", None),
        (b'{"transcript": [', "text/plain", None),
        (b"", "text/plain", None),
    ],
)
async def test_a_transcript_as_text_is_told_from_a_page(client_of, body, kind, said):
    async with RawServer(respond(body=body, content_type=kind)) as server:
        asking = client_of(server.base_url).calls.get_transcript("call_B")
        if said is None:
            with pytest.raises(UnexpectedResponseError):
                await asking
        else:
            assert [(turn.role, turn.content) for turn in (await asking).turns] == [("agent", said)]


JSON = b'{"id": "call_B", "status": "completed"}'
RAW = zlib.compressobj(wbits=-15)
CODED = {
    "gzip": ("gzip", gzip.compress(JSON)),
    "two members": ("gzip", gzip.compress(JSON[:9]) + gzip.compress(JSON[9:])),
    "gzip twice": ("gzip, gzip", gzip.compress(gzip.compress(JSON))),
    "gzip twice, said once": ("gzip", gzip.compress(gzip.compress(JSON))),
    "zlib": ("deflate", zlib.compress(JSON)),
    "deflate": ("deflate", RAW.compress(JSON) + RAW.flush()),
    **{coding: (coding, JSON) for coding in ("gzip", "br", "aws-chunked", "none", "utf-8")},
}


@pytest.mark.parametrize(("coding", "body"), CODED.values(), ids=CODED)
async def test_json_in_a_coding_is_decoded(client_of, coding, body):
    answer = respond(body=body, content_encoding=coding, content_type="application/json")
    async with RawServer(answer) as server:
        assert (await client_of(server.base_url).calls.get("call_B")).status == "completed"


@pytest.mark.parametrize(
    ("coding", "body", "told"),
    [
        ("gzip", gzip.compress(JSON)[:-4], "cut off"),
        ("gzip", gzip.compress(JSON)[:10] + b"\xff" * 30, "corrupt"),
        ("zstd", b"\x28\xb5\x2f\xfd" + bytes(40), "install backports.zstd"),
        ("gzip", gzip.compress(b" " * 70_000_000, 1), "over 67108864 bytes"),
    ],
    ids=["cut off", "corrupt", "zstd without a library", "a bomb"],
)
async def test_json_that_cannot_be_decoded_is_refused(client_of, coding, body, told, monkeypatch):
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    answer = respond(body=body, content_encoding=coding, content_type="application/json")
    async with RawServer(answer) as server:
        with pytest.raises(UnexpectedResponseError, match=told):
            await client_of(server.base_url).calls.get("call_B")


TWO = [{"id": "call_1"}, {"id": "call_2"}]


@pytest.mark.parametrize(
    ("page", "found", "total"),
    [
        ({"data": TWO, "hasMore": False}, 2, None),
        ({"calls": TWO, "hasMore": False, "total": 2}, 2, 2),
        ({"items": TWO, "has_more": False}, 2, None),
        ({"results": TWO, "total": "2"}, 2, 2),
        ({"data": {"calls": TWO, "hasMore": False, "total": 2}}, 2, 2),
        ({"data": {"data": TWO, "hasMore": "false"}}, 2, None),
        ({"data": None, "hasMore": False}, 0, None),
        ({"calls": [], "total": 0}, 0, 0),
        ({}, None, None),
        ({"data": {}}, None, None),
        ({"data": "none"}, None, None),
        ({"data": 7, "message": "calls"}, None, None),
    ],
)
async def test_a_page_in_whatever_form_is_read(client_of, page, found, total):
    async with RawServer(respond(body=page)) as server:
        listing = client_of(server.base_url).calls.list()
        if found is None:
            with pytest.raises(UnexpectedResponseError):
                await listing
            return
        assert len([call async for call in listing]) == found
        assert listing.complete
        assert len(server.requests) == 1
        assert ((await listing).total, (await listing).has_more) == (total, False)


async def test_rows_that_are_no_calls_are_told_and_the_others_given(client_of):
    odd = [None, 7, "x", [], {}, {"id": None}, {"id": ""}, {"id": True}, {"id": 1.5}, {"id": []}]
    async with RawServer(respond(body={"data": [*TWO, *odd, {"id": 3}, *TWO]})) as server:
        listing = client_of(server.base_url).calls.list()
        assert [call.id async for call in listing] == ["call_1", "call_2", "3"]
        assert [problem.raw for problem in listing.problems[: len(odd)]] == odd


@pytest.mark.parametrize("page", [None, "no-has-more", "no-total", "bare", "list"])
async def test_every_page_leads_to_the_end(client_of, page):
    async with Emulator(calls=130, seconds=1) as emulator:
        if page is not None:
            emulator.fail(page=page)
        client = client_of(emulator.base_url, api_key=emulator.api_key)
        listing = client.calls.list(limit=20)
        assert {call.id async for call in listing} == {call.id for call in emulator.calls}
        assert listing.complete


async def test_no_content_is_an_empty_list(client_of):
    async with RawServer(respond(204)) as server:
        client = client_of(server.base_url)
        assert (await client.calls.list()).data == []
        assert [call async for call in client.calls.list()] == []
        assert (await client.numbers.list()).data == []


async def test_ids_that_are_numbers_lead_to_their_calls(client_of):
    async with Emulator(calls=3, seconds=1, faults=["numeric_ids"]) as emulator:
        client = client_of(emulator.base_url, api_key=emulator.api_key)
        ids = [call.id async for call in client.calls.list()]
        assert all(identity.isdecimal() for identity in ids)
        assert [(await client.calls.get(identity)).id for identity in ids] == ids
        recording = await client.calls.get_recording(ids[0])
        assert recording.content == emulator.expected_audio(emulator.calls[0].id)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wait_for_completion": True, "max_wait_seconds": 9}, "waits 10 to 600"),
        ({"wait_for_completion": True, "max_wait_seconds": 601}, "waits 10 to 600"),
        ({"max_wait_seconds": 60}, "needs wait_for_completion"),
    ],
)
async def test_a_wait_that_cannot_be_is_not_sent(emulator, client, options, message):
    with pytest.raises(ValueError, match=message):
        await client.calls.make("agt", "+15551234567", **options)
    assert len(emulator.requests) == 0


def test_a_synchronous_program_is_told_what_to_do():
    with pytest.raises(TypeError, match="async with"), AsyncAgentPhone():  # type: ignore[attr-defined]
        pass
    with pytest.raises(ImportError, match="use AsyncAgentPhone"):
        from agentphone_async import AgentPhone  # noqa: F401
