"""What costs an attempt, and what costs only time: bytes that came, refusals that concern everybody."""

from __future__ import annotations

import pytest

from agentphone_async import (
    ConnectionFailedError,
    RateLimitError,
    RetryPolicy,
    ServerError,
)
from tests.conftest import Sleeps
from tests.transport.attempts import GET, Answered, Attempts, retrier


@pytest.mark.parametrize(
    ("brought", "kept", "works"),
    [(False, False, False), (True, False, False), (True, True, True)],
)
async def test_attempts_begin_again_when_what_came_is_kept(sleeps: Sleeps, brought, kept, works):
    failures = [ConnectionFailedError("broke off") for _ in range(20)]
    for error in failures:
        error.brought, error.kept = brought, kept
    again = retrier(sleeps, RetryPolicy(attempts=3, total=1000))
    if works:
        assert isinstance(await again.run(GET, Attempts(*failures)), Answered)
    else:
        with pytest.raises(ConnectionFailedError) as caught:
            await again.run(GET, Attempts(*failures))
        assert caught.value.attempts == 3


@pytest.mark.parametrize("brought", [True, False])
async def test_an_attempt_that_brought_bytes_costs_no_patience(sleeps: Sleeps, brought: bool):
    """A reset after ten minutes of healthy transfer is not a reason to give up."""

    async def attempt(number: int) -> Answered:
        sleeps.now += 600
        if number == 1:
            error = ConnectionFailedError("reset")
            error.brought = brought
            raise error
        return Answered()

    work = retrier(sleeps, RetryPolicy(total=120)).run(GET, attempt)
    if brought:
        assert isinstance(await work, Answered)
    else:
        with pytest.raises(ConnectionFailedError):
            await work


async def test_a_host_that_refuses_for_a_while_costs_no_attempts(sleeps: Sleeps):
    busy = [RateLimitError("x", status=429, retry_after=10) for _ in range(9)]
    attempt = Attempts(*busy)
    assert isinstance(await retrier(sleeps, RetryPolicy(attempts=2)).run(GET, attempt), Answered)
    assert list(sleeps) == [0.0, 10.0] * 9


async def test_the_longest_patience_is_worth_a_wait_that_the_host_names(sleeps: Sleeps):
    attempt = Attempts(ServerError("x", status=503, retry_after=600))
    assert isinstance(await retrier(sleeps).run(GET, attempt), Answered)
    assert sum(sleeps) == 600


async def test_everything_refused_ends_within_the_budget_for_everybody(sleeps: Sleeps):
    """Maintenance: after the outage budget, not after hours, and then at once."""
    again = retrier(sleeps, RetryPolicy(total=120), outage_budget=120)
    began = sleeps.now
    endless = [ServerError("x", status=503, retry_after=20) for _ in range(99)]
    with pytest.raises(ServerError, match=r"120 s .* 503 to every 'Get Call'"):
        await again.run(GET, Attempts(*endless))
    assert sleeps.now - began == 120
    for _ in range(50):
        asked = Attempts(*endless)
        with pytest.raises(ServerError, match="maintenance") as caught:
            await again.run(GET, asked)
        assert (asked.numbers, caught.value.path) == ([], GET.path)
    sleeps.now += 16
    assert isinstance(await again.run(GET, Attempts()), Answered), "one probe may go"
    assert isinstance(await again.run(GET, Attempts()), Answered), "and has closed the circuit"


async def test_one_poisonous_recording_pauses_the_others_once(sleeps: Sleeps):
    again = retrier(sleeps, RetryPolicy(attempts=4))
    numbers = []

    async def poison(number: int) -> Answered:
        numbers.append(number)
        if number > 1:
            assert again._limits.paused_for == 0
        for _ in range(5):  # meanwhile the others are served
            again._limits.refusals[GET.name].answered()
        raise ServerError("x", status=503, retry_after=20)

    with pytest.raises(ServerError):
        await again.run(GET, poison)
    assert numbers == [1, 2, 3, 4]
    assert again._limits.paused_for == 0
    assert sum(sleeps) == pytest.approx(60, abs=1)
