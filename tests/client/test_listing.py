"""Lists on the wire: one page, all pages, pages that lie, and rows that are none."""

from __future__ import annotations

import asyncio

import pytest

from agentphone_async import CallPage, NotFoundError, ServerError, UnexpectedResponseError
from tests.support.raw_server import RawServer, respond


def page(*rows: object, more: bool = False, **fields: object) -> bytes:
    data = [{"id": row} if isinstance(row, str) else row for row in rows]
    return respond(body={"data": data, "hasMore": more, **fields})


async def test_awaited_it_is_one_page(emulator, client):
    for number in range(25):
        emulator.add_call(id=f"c{number}")
    got = await client.calls.list()
    assert isinstance(got, CallPage)
    assert (len(got.data), got.has_more, got.total) == (20, True, 25)
    assert emulator.requests.count("list_calls") == 1
    rest = await client.calls.list(limit=100, offset=20)
    assert (len(rest.data), rest.has_more) == (5, False)


async def test_iterated_it_is_all_of_them(emulator, client):
    made = [emulator.add_call(id=f"c{number}").id for number in range(250)]
    listing = client.calls.list()
    assert {call.id async for call in listing} == set(made)
    assert listing.complete
    assert listing.total == 250
    assert emulator.requests.count("list_calls") == 3
    assert len([call async for call in listing]) == 250  # again, from the beginning


async def test_all_lists_can_be_walked(emulator, client):
    agent, number = emulator.agents[0], emulator.numbers[0]
    for n in range(130):
        emulator.add_call(id=f"c{n}", agent_id=agent.id, phone_number_id=number.id)
    emulator.add_call(id="other")
    assert len([c async for c in client.agents.list_calls(agent.id)]) == 130
    assert len([c async for c in client.numbers.list_calls(number.id)]) == 130
    assert len([c async for c in client.calls.list(offset=31)]) == 100


async def test_calls_that_arrive_and_vanish_between_the_pages(emulator, client):
    stay = {emulator.add_call(id=f"c{n}").id for n in range(60)}
    emulator.fail(route="list_calls", arrive=3, times=4)
    assert stay <= {call.id async for call in client.calls.list(limit=10)}
    before = {call.id for call in emulator.calls}
    emulator.fail(route="list_calls", vanish=3, times=4)
    listing = client.calls.list(limit=10)
    found = {call.id async for call in listing}
    assert {call.id for call in emulator.calls} <= found <= before
    assert listing.complete


async def test_page_k_is_tried_again_at_k(emulator, client):
    for number in range(60):
        emulator.add_call(id=f"c{number}")
    emulator.fail(route="list_calls", status=500, skip=2, times=2)
    assert len([call async for call in client.calls.list(limit=20)]) == 60
    offsets = [request.query["offset"] for request in emulator.requests]
    assert offsets == ["0", "15", "30", "30", "30", "45"]


async def test_what_came_before_an_error_is_given_first(client_of):
    async with RawServer(page(*"abcd", more=True), respond(500)) as server:
        walk = client_of(server.base_url).calls.list(10).__aiter__()
        found = [(await anext(walk)).id for _ in "abcd"]
        assert found == list("abcd")
        with pytest.raises(ServerError):
            await anext(walk)


async def test_the_next_page_is_fetched_while_this_one_is_used_and_no_further(client_of):
    async with RawServer(
        page(*"abcdefgh", more=True), page(*"efghij", more=True), page(*"ij")
    ) as server:
        walk = client_of(server.base_url).calls.list(8).__aiter__()
        for _ in range(4):
            await anext(walk)
        assert len(server.requests) == 1
        await anext(walk)
        await server.until(lambda: len(server.requests) == 2)
        assert len(server.requests) == 2
        rest = [call.id async for call in walk]
        assert rest == list("fghij")


async def test_rows_that_are_no_calls_are_reported_with_their_place(client_of):
    rows = ["a", None, 3, {"id": None}, {}, {"id": ""}, {"id": 7.5}, [], "b", {"id": "c", "x": [1]}]
    async with RawServer(page(*rows)) as server:
        listing = client_of(server.base_url).calls.list()
        assert [call.id async for call in listing] == ["a", "b", "c"]
        assert [problem.row for problem in listing.problems] == [1, 2, 3, 4, 5, 6, 7]
        assert listing.problems[2].raw == {"id": None}
        assert "id is missing" in listing.problems[0].message


@pytest.mark.parametrize(
    "body", [{}, {"data": None}, {"data": {}}, {"data": "x", "hasMore": "yes", "total": "many"}]
)
async def test_json_that_is_no_page_is_no_empty_list(client_of, body):
    """Another service that speaks JSON, or this one at rest, has not said that there are no calls."""
    async with RawServer(respond(body=body)) as server:
        listing = client_of(server.base_url).calls.list()
        with pytest.raises(
            UnexpectedResponseError, match=r"fields are missing.*check the base URL"
        ):
            [call async for call in listing]
        assert not listing.complete
        with pytest.raises(UnexpectedResponseError):
            await listing


async def test_a_listing_may_be_a_task(client_of):
    """As the coroutine may that the official SDK returns."""
    async with RawServer(page(*"abc")) as server:
        calls = client_of(server.base_url).calls
        async with asyncio.TaskGroup() as group:
            task = group.create_task(calls.list(limit=3))
        assert [call.id for call in task.result().data] == list("abc")
        pages = await asyncio.gather(calls.list(), calls.list())
        assert len(pages) == 2
        doomed = asyncio.create_task(calls.list())
        await asyncio.sleep(0)
        doomed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doomed
        unused = calls.list()
        unused.close()  # nothing was begun
        assert len((await unused).data) == 3


@pytest.mark.parametrize(("limit", "requests"), [(1, 301), (2, 300), (5, 101), (20, 21)])
async def test_a_small_limit_costs_no_more_than_twice_as_many_pages(
    emulator, client, limit, requests
):
    for number in range(300):
        emulator.add_call(id=f"call_{number}")
    assert len([call async for call in client.calls.list(limit=limit)]) == 300
    assert emulator.requests.count("list_calls") <= requests


async def test_a_server_that_never_says_that_it_is_done(client_of):
    async with RawServer(page(*"abcdefghij", more=True)) as server:
        listing = client_of(server.base_url).calls.list(10)
        assert [call.id async for call in listing] == list("abcdefghij")
        assert not listing.complete
        assert len(server.requests) < 20


async def test_no_such_agent_or_number(emulator, client):
    with pytest.raises(NotFoundError, match="agt_none"):
        await client.agents.list_calls("agt_none")
    with pytest.raises(NotFoundError, match="num_none"):
        [call async for call in client.numbers.list_calls("num_none")]


async def test_a_server_that_speaks_no_json(client_of):
    async with RawServer(respond(body=b"<html>hi</html>", content_type="text/html")) as server:
        with pytest.raises(UnexpectedResponseError, match="check the base URL"):
            await client_of(server.base_url).calls.list()


@pytest.mark.parametrize("limit", [0, 101, -1])
async def test_a_limit_out_of_range_is_refused_before_any_request(emulator, client, limit):
    for ask in (
        lambda: client.calls.list(limit),
        lambda: client.numbers.list_calls("n", limit),
        lambda: client.agents.list_calls("a", limit=limit),
    ):
        with pytest.raises(ValueError, match=f"limit is {limit}"):
            ask()
    assert len(emulator.requests) == 0
