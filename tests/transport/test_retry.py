"""What is tried again, after how long, how often, and who waits meanwhile. No test sleeps."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from agentphone_async import (
    AuthenticationError,
    CertificateError,
    ConnectionFailedError,
    NotFoundError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    TimedOutError,
    TooManyOpenFilesError,
    TruncatedRecordingError,
)
from agentphone_async.errors import AgentPhoneError, ResponseError
from agentphone_async.protocol import endpoints
from agentphone_async.transport.retry import may_repeat
from tests.conftest import Sleeps, timeless
from tests.support.raw_server import Connection, RawRequest, RawServer, respond
from tests.transport.attempts import GET, Answered, Attempts, retrier

POST = endpoints.make_call({})
OK = respond(body={"id": "call_1"})


TRANSIENT = [
    ConnectionFailedError("x"),
    TimedOutError("x"),
    TooManyOpenFilesError("x", sent=False),
    ServerError("x", status=500),
    ServerError("x", status=504),
    RateLimitError("x", status=429),
    ResponseError("x", status=408),
    TruncatedRecordingError("x"),
]
FINAL = [
    NotFoundError("x", status=404),
    AuthenticationError("x", status=401),
    CertificateError("x"),
    ResponseError("x", status=410),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__)
async def test_transient_errors_are_tried_again(sleeps: Sleeps, error: AgentPhoneError):
    attempt = Attempts(error)
    assert isinstance(await retrier(sleeps).run(GET, attempt), Answered)
    assert attempt.numbers == [1, 2]
    assert len(sleeps) >= 1


@pytest.mark.parametrize("error", FINAL, ids=lambda error: type(error).__name__)
async def test_final_errors_are_not(sleeps: Sleeps, error: AgentPhoneError):
    attempt = Attempts(error)
    with pytest.raises(type(error)) as caught:
        await retrier(sleeps).run(GET, attempt)
    assert caught.value is error
    assert (attempt.numbers, error.attempts, list(sleeps)) == ([1], 1, [])


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ConnectionFailedError("x", sent=False), True),
        (TimedOutError("x", sent=False), True),
        (RateLimitError("x", status=429), True),
        (ConnectionFailedError("x"), False),
        (TimedOutError("x"), False),
        (ServerError("x", status=503, retry_after=1), False),
        (ResponseError("x", status=408), False),
        (CertificateError("x", sent=False), False),
    ],
)
def test_what_a_post_may_be_repeated_after(error: AgentPhoneError, again: bool):
    assert may_repeat(error, repeatable=False) is again


async def test_attempts_are_bounded_and_counted(sleeps: Sleeps):
    attempt = Attempts(*[ServerError(str(n), status=500) for n in range(9)])
    with pytest.raises(ServerError) as caught:
        await retrier(sleeps, RetryPolicy(attempts=4, total=1000)).run(GET, attempt)
    assert attempt.numbers == [1, 2, 3, 4]
    assert (caught.value.attempts, str(caught.value)) == (4, "3")
    assert caught.value.path == "/v1/calls/call_1"


async def test_the_total_time_is_bounded(sleeps: Sleeps):
    errors = [ServerError("x", status=500, retry_after=10) for _ in range(99)]
    attempt = Attempts(*errors)
    with pytest.raises(ServerError):
        await retrier(sleeps, RetryPolicy(attempts=99, total=35)).run(GET, attempt)
    assert attempt.numbers == [1, 2, 3, 4]
    assert sum(sleeps) <= 35


async def test_full_jitter_grows_and_is_capped(sleeps: Sleeps):
    policy = RetryPolicy(attempts=12, first_delay=1, longest_delay=8, total=10_000)
    for seed in range(30):
        taken = Sleeps()
        again = retrier(taken, policy)
        again._rng = random.Random(seed)
        with pytest.raises(ServerError):
            await again.run(GET, Attempts(*[ServerError("x", status=500) for _ in range(12)]))
        ceilings = [min(8, 2**n) for n in range(11)]
        assert len(taken) == 11
        assert all(0 <= delay <= top for delay, top in zip(taken, ceilings, strict=True))
        sleeps += taken
    assert min(sleeps) < 0.3  # full jitter: any time from none at all
    assert max(sleeps) > 7


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [(7.0, 7, 7), (0.0, 0, 0.5), (None, 0, 0.5), (1e9, 3600, 3600)],
)
async def test_retry_after_is_obeyed_and_clamped(sleeps: Sleeps, retry_after, least, most):
    error = ServerError("x", status=500, retry_after=retry_after)
    await retrier(sleeps).run(GET, Attempts(error))
    assert least <= sleeps[0] <= most


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7, 7),
        (format_datetime(datetime.now(UTC) + timedelta(hours=9), usegmt=True), 3600, 3600),
        (format_datetime(datetime.now(UTC) - timedelta(hours=9), usegmt=True), 0, 0.5),
        ("garbage", 0, 0.5),
        ("1000000000", 3600, 3600),
        ("-1", 0, 0.5),
    ],
    ids=["seconds", "date", "past", "garbage", "1e9", "negative"],
)
async def test_every_form_of_the_header_on_the_wire(client_of, sleeps, header, least, most):
    async with RawServer(respond(429, retry_after=header), OK) as server:
        client = client_of(server.base_url)
        timeless(client, sleeps, RetryPolicy(total=1000))
        await client.calls.get("call_1")
    assert least <= max(sleeps) <= most


@pytest.mark.parametrize("status", [429, 503])
async def test_a_429_or_503_pauses_everybody(client_of, sleeps: Sleeps, status: int):
    """One worker is told to wait; another, who was told nothing, sends nothing meanwhile."""
    arrivals: list[tuple[str, float]] = []

    async def answer(connection: Connection, request: RawRequest) -> None:
        arrivals.append((request.target, sleeps.now))
        first = len(arrivals) == 1
        await connection.send(respond(status, retry_after="30") if first else OK)

    async with RawServer(answer) as server:
        client = client_of(server.base_url)
        timeless(client, sleeps, RetryPolicy(total=1000))
        refused = asyncio.Event()

        async def sleep(seconds: float) -> None:
            refused.set()
            await asyncio.sleep(0)  # let the other one try to get in between
            await asyncio.sleep(0)
            await sleeps(seconds)

        client.session.limits._stop._sleep = sleep
        told = asyncio.ensure_future(client.calls.get("call_1"))
        await refused.wait()
        assert client.session.limits.paused_for > 0
        await client.calls.get("call_1")
        await told
    started = arrivals[0][1]
    assert {target for target, _ in arrivals} == {"/v1/calls/call_1"}
    assert all(at - started >= 30 for _, at in arrivals[1:])


@pytest.mark.parametrize("status", [500, 502, 504, 408])
async def test_other_failures_pause_nobody_else(client_of, sleeps: Sleeps, status: int):
    async with RawServer(respond(status, retry_after="30"), OK) as server:
        client = client_of(server.base_url)
        timeless(client, sleeps, RetryPolicy(total=1000))
        await client.calls.get("call_1")
        assert client.session.limits.paused_for == 0


async def test_the_slot_is_given_back_while_pausing(sleeps: Sleeps):
    again = retrier(sleeps, concurrency=1)
    held: list[int] = []

    async def sleep(seconds: float) -> None:
        held.append(again._limits.slots.held)
        await sleeps(seconds)

    again._limits._stop._sleep = sleep
    await again.run(GET, Attempts(ServerError("x", status=500)))
    assert held == [0]
    assert again._limits.slots.held == 0


async def test_out_of_file_descriptors_means_fewer_at_a_time(sleeps: Sleeps):
    again = retrier(sleeps, concurrency=8)
    limits = again._limits
    for _ in range(6):
        await limits.acquire()

    async def sleep(seconds: float) -> None:
        for _ in range(limits.slots.held):
            limits.release()  # the others end meanwhile
        await sleeps(seconds)

    again._limits._stop._sleep = sleep
    await again.run(GET, Attempts(TooManyOpenFilesError("x", sent=False)))
    assert again._limits.concurrency == 3


async def test_an_outage_costs_no_attempts_and_has_a_budget(sleeps: Sleeps):
    """A link that is down for a minute is waited out, though a request has but four attempts."""
    again = retrier(sleeps, RetryPolicy(attempts=4, total=120), outage_budget=120)
    down_until = sleeps.now + 60
    tries = 0

    async def attempt(_: int) -> Answered:
        nonlocal tries
        tries += 1
        if sleeps.now < down_until:
            raise ConnectionFailedError("no route", sent=False)
        again._limits.connection_worked()
        return Answered()

    async def worker() -> None:
        await again.run(GET, attempt)

    results = await asyncio.gather(*[worker() for _ in range(3)], return_exceptions=True)
    assert results == [None, None, None]
    assert tries < 30  # probes, not a storm


async def test_what_an_outage_kept_from_being_sent_was_attempted_no_time(
    sleeps: Sleeps, monkeypatch
):
    again = retrier(sleeps, RetryPolicy(attempts=1))

    async def refused(*_) -> None:
        error = ConnectionFailedError("as somebody else has met it", sent=False)
        error.attempts = 5
        raise error

    monkeypatch.setattr(again._limits, "acquire", refused)
    with pytest.raises(ConnectionFailedError) as caught:
        await again.run(GET, Attempts())
    assert caught.value.attempts == 0


async def test_cancellation_passes_through(sleeps: Sleeps):
    async def attempt(_: int) -> Answered:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await retrier(sleeps).run(GET, attempt)
    assert list(sleeps) == []


async def test_a_bug_is_not_tried_again(sleeps: Sleeps):
    async def attempt(_: int) -> Answered:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await retrier(sleeps).run(GET, attempt)
    assert list(sleeps) == []


async def test_back_off_for_what_is_no_single_request(sleeps: Sleeps):
    again = retrier(sleeps, RetryPolicy(first_delay=1, longest_delay=4))
    for failures in (1, 2, 3, 50, 10_000):
        await again.back_off(failures)
    assert all(0 <= delay <= 4 for delay in sleeps)
    await again.back_off(1, at_least=3)
    await again.back_off(1, at_least=99)
    assert sleeps[-2:] == [3, 4]
