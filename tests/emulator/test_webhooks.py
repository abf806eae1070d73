"""Events on their way to a receiver; the official SDK's verifier says whether they are right."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from agentphone import WebhookVerificationError, construct_event
from aiohttp import web

from agentphone_async.emulator import CallLife, Emulator, EmulatorThread

SECRET = "whsec_of_the_test"


class Receiver:
    """Takes events, after refusing as many as it is told to."""

    def __init__(self) -> None:
        self.refuse = 0
        self.taken: list[tuple[Mapping[str, str], bytes]] = []

    async def take(self, request: web.BaseRequest) -> web.StreamResponse:
        self.taken.append((request.headers.copy(), await request.read()))
        self.refuse -= 1
        return web.Response(status=503 if self.refuse >= 0 else 204)

    @property
    def ids(self) -> list[str]:
        return [json.loads(body)["data"]["callId"] for _, body in self.taken]

    def verified(self, place: int = -1, secret: str = SECRET) -> Any:
        headers, body = self.taken[place]
        return construct_event(
            body, headers["X-Webhook-Signature"], secret, headers["X-Webhook-Timestamp"]
        )


@pytest.fixture
async def receiver():
    taking = Receiver()
    listener = await asyncio.get_running_loop().create_server(
        web.Server(taking.take, access_log=None), "127.0.0.1", 0
    )
    taking.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/hook"
    yield taking
    listener.close()
    await listener.wait_closed()


@pytest.fixture
async def make(receiver):
    """Starts an emulator that sends its events to the receiver."""
    running = []

    async def start(**options: Any) -> Emulator:
        emulator = Emulator(
            webhook=receiver.url, webhook_secret=SECRET, webhook_delays=(0, 0), **options
        )
        await emulator.start()
        running.append(emulator)
        return emulator

    yield start
    for emulator in running:
        await emulator.stop()


async def test_an_event_is_what_the_official_sdk_takes(make, receiver):
    emulator = await make()
    call = emulator.add_call(duration=12, transcript=[("agent", "Hello"), ("user", "Grüße")])
    await emulator.events_delivered()
    event = receiver.verified()
    assert (event.event, event.channel, event.agent_id) == (
        "agent.call_ended",
        "voice",
        call.agent_id,
    )
    assert event.data.call_id == call.id
    assert event.test is None
    assert event.raw["data"] == emulator.expected_event(call.id)["data"]
    assert event.raw["data"].keys() == {
        "callId", "numberId", "from", "to", "direction", "status", "startedAt", "endedAt",
        "durationSeconds", "disconnectionReason", "transcript", "summary", "userSentiment",
        "callSuccessful",
    }  # fmt: skip
    assert event.raw["data"]["transcript"][1] == {"role": "user", "content": "Grüße"}
    assert "Grüße" in event.raw["data"]["summary"]
    headers = receiver.taken[0][0]
    assert headers["X-Webhook-Event"] == "agent.call_ended"
    assert headers["X-Webhook-ID"] == emulator.webhook_log[0].id
    with pytest.raises(WebhookVerificationError):
        receiver.verified(secret="whsec_other")


async def test_a_placed_call_sends_its_event_when_it_ends(make, receiver, clock, ask):
    life = CallLife(queued=1, ringing=1, talking=8)
    emulator = await make(clock=clock, life=life)
    body = {"agentId": emulator.agents[0].id, "toNumber": "+15551234567"}
    placed = (await ask(emulator, "/v1/calls", "POST", body=body)).json()
    await clock.until_sleeping()
    clock.advance(9.9)
    await emulator.events_delivered()
    assert receiver.taken == []
    await clock.until_sleeping()
    clock.advance(0.1)
    await emulator.events_delivered()
    assert receiver.ids == [placed["id"]]
    data = json.loads(receiver.taken[0][1])["data"]
    assert (data["status"], data["durationSeconds"]) == ("completed", 8)


async def test_a_call_that_is_ended_sends_its_event(make, receiver, ask):
    emulator = await make(life=CallLife(ending=0))
    call = emulator.add_call(status="in-progress")
    await ask(emulator, f"/v1/calls/{call.id}/end", "POST")
    await emulator.events_delivered()
    assert receiver.ids == [call.id]


@pytest.mark.parametrize(("refusals", "attempts", "status"), [(1, 2, "success"), (9, 3, "failed")])
async def test_what_is_refused_is_sent_again(make, receiver, refusals, attempts, status):
    receiver.refuse = refusals
    emulator = await make()
    emulator.add_call()
    await emulator.events_delivered()
    (delivery,) = emulator.webhook_log
    assert (len(receiver.taken), delivery.attempts, delivery.status) == (attempts, attempts, status)
    assert len({headers["X-Webhook-ID"] for headers, _ in receiver.taken}) == 1
    assert delivery.http_status == (204 if status == "success" else 503)


async def test_nobody_listening_is_noted():
    async with Emulator(webhook="http://127.0.0.1:1/", webhook_delays=()) as emulator:
        emulator.add_call()
        await emulator.events_delivered()
        (delivery,) = emulator.webhook_log
        assert (delivery.status, delivery.http_status) == ("failed", None)
        assert "127.0.0.1" in delivery.error


def refused(receiver: Receiver) -> bool:
    try:
        receiver.verified()
    except WebhookVerificationError:
        return True
    return False


@pytest.mark.parametrize(
    ("damage", "holds"),
    [
        ("never", lambda r, calls: r.ids == calls[1:]),
        ("drop", lambda r, calls: sorted(r.ids) == sorted(calls)),
        ("duplicate", lambda r, calls: sorted(r.ids) == sorted([calls[0], *calls])),
        (
            "test",
            lambda r, calls: [b'"test": true' in body for _, body in r.taken] == [True, False],
        ),
        ("forged", lambda r, calls: r.ids == calls),
        ("old", lambda r, calls: r.ids == calls),
    ],
)
async def test_events_go_wrong_on_demand(make, receiver, damage, holds: Callable[..., bool]):
    emulator = await make()
    emulator.fail(webhook=damage, times=1)
    calls = []
    for _ in range(2):
        calls.append(emulator.add_call().id)
        await emulator.events_delivered()
        if len(calls) == 1 and receiver.taken:
            assert refused(receiver) == (damage in {"forged", "old"})
    assert holds(receiver, calls), receiver.ids
    assert not refused(receiver)
    assert [event.fault.webhook for event in emulator.fault_log] == [damage]


async def test_a_late_event_comes_after_the_next(make, receiver):
    emulator = await make()
    emulator.fail("webhook=late,times=1")
    calls = [emulator.add_call().id for _ in range(2)]
    await emulator.events_delivered()
    assert receiver.ids == calls[::-1]


async def test_a_late_event_does_not_wait_for_ever(make, receiver, clock):
    emulator = await make(clock=clock)
    emulator.fail("webhook=late")
    call = emulator.add_call()
    await clock.until_sleeping(2)
    assert receiver.taken == []
    clock.advance(1)
    await emulator.events_delivered()
    assert receiver.ids == [call.id]


async def test_the_calls_of_the_day_are_a_backlog(make, receiver):
    emulator = await make(calls=40, seconds=1)
    await emulator.events_delivered()
    assert receiver.taken == []
    emulator = await make(calls=40, seconds=1, webhook_backlog=True)
    await emulator.events_delivered()
    assert sorted(receiver.ids) == sorted(call.id for call in emulator.calls)


async def test_an_event_can_be_sent_once_more_or_as_a_test(make, receiver):
    emulator = await make()
    call = emulator.add_call()
    await emulator.events_delivered()
    emulator.send_event(call.id, test=True)
    await emulator.events_delivered()
    assert receiver.ids == [call.id, call.id]
    assert receiver.verified().test is True
    with pytest.raises(KeyError):
        emulator.send_event("call_none")


async def test_without_a_webhook_nothing_can_be_sent(emulator):
    call = emulator.add_call()
    await emulator.events_delivered()
    assert emulator.webhook_log == []
    with pytest.raises(RuntimeError, match="nowhere to send"):
        emulator.send_event(call.id)


async def test_from_another_thread(receiver):
    def scene() -> list[str]:
        with EmulatorThread(webhook=receiver.url, webhook_secret=SECRET) as emulator:
            call = emulator.add_call()
            emulator.events_delivered()
            emulator.send_event(call.id)
            emulator.events_delivered()
            assert emulator.expected_event(call.id)["data"]["callId"] == call.id
            return [delivery.status for delivery in emulator.webhook_log]

    assert await asyncio.to_thread(scene) == ["success", "success"]
    assert len(receiver.taken) == 2


async def test_faults_of_requests_leave_events_alone(make, receiver):
    emulator = await make(faults=["status=500"])
    emulator.add_call()
    await emulator.events_delivered()
    assert emulator.fault_log == []
    assert len(receiver.taken) == 1
