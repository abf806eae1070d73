"""The official SDK cannot tell the emulator from the service."""

from __future__ import annotations

from datetime import timedelta

import agentphone
import pytest
from agentphone import AsyncAgentPhone

from agentphone_async.emulator import CallLife, Emulator, VirtualClock


@pytest.fixture
async def service(clock: VirtualClock):
    async with Emulator(calls=45, seed=5, clock=clock, life=CallLife(queued=0)) as emulator:
        yield emulator


@pytest.fixture
async def client(service):
    async with AsyncAgentPhone(service.api_key, base_url=service.base_url) as sdk:
        yield sdk


async def test_list_and_its_filters(service, client):
    first = await client.calls.list()
    assert (len(first.data), first.has_more, first.total) == (20, True, 45)
    rest = await client.calls.list(limit=100, offset=20)
    ids = [call.id for call in first.data + rest.data]
    assert (ids, rest.has_more) == ([call.id for call in service.calls], False)
    failed = await client.calls.list(limit=100, status="busy", direction="inbound", type="pstn")
    assert {(call.status, call.direction) for call in failed.data} <= {("busy", "inbound")}
    number = service.numbers[0].phone_number
    found = await client.calls.list(limit=100, search=number)
    assert found.total > 0
    assert all(number in (call.from_number, call.to_number) for call in found.data)


async def test_get_has_transcripts_and_a_recording_url(service, client):
    record = service.add_call(duration=30, transcript=[("user", "Hi"), ("agent", "Hello")])
    call = await client.calls.get(record.id)
    assert (call.status, call.duration_seconds, call.recording_available) == ("completed", 30, True)
    assert call.recording_url == f"{service.base_url}/v1/calls/{record.id}/recording"
    assert [(turn.transcript, turn.response) for turn in call.transcripts] == [("Hi", "Hello")]


async def test_make_follow_end_and_fetch(service, client, clock):
    made = await client.calls.make(
        service.agents[0].id, "+15550001111", initial_greeting="Hi {{name}}",
        from_number_id=service.numbers[1].id, voice="amy", system_prompt="Be kind",
        variables={"name": "Ann"}, model_tier="max", disable_recording=False,
    )  # fmt: skip
    assert (made.status, made.direction) == ("ringing", "outbound")
    assert made.from_number == service.numbers[1].phone_number
    clock.advance(10)
    assert (await client.calls.end(made.id))["status"] == "in-progress"
    clock.advance(1)
    assert (await client.calls.get(made.id)).status == "completed"
    with pytest.raises(agentphone.NotFoundError):
        await client.calls.get_recording(made.id)
    clock.advance(5)
    recording = await client.calls.get_recording(made.id)
    assert bytes(recording) == service.expected_audio(made.id)
    assert recording.content_type == "audio/wav"
    assert [call.id for call in service.placed_calls] == [made.id]


async def test_a_conversation_and_a_web_call(service, client):
    made = await client.calls.make_conversation(service.agents[0].id, "+15550001111", "Dentist")
    token = await client.calls.create_web_call(
        service.agents[0].id, metadata={"a": 1}, variables={"b": "c"}
    )
    assert token["accessToken"]
    assert [call.id for call in service.placed_calls] == [made.id, token["callId"]]


async def test_transcripts_at_once_and_as_a_stream(service, client):
    record = service.add_call(transcript=[("user", "Grüße"), ("agent", "Hello")])
    transcript = await client.calls.get_transcript(record.id)
    assert [turn["role"] for turn in transcript["transcript"]] == ["user", "agent"]
    events = [event async for event in client.calls.stream_transcript(record.id)]
    assert [event["event"] for event in events] == ["connected", "turn", "turn", "ended"]
    assert events[1]["data"]["content"] == "Grüße"


async def test_numbers_and_agents_list_their_calls(service, client):
    number, agent = service.numbers[0].id, service.agents[0].id
    by_number = await client.numbers.list_calls(number, limit=100)
    assert {call.phone_number_id for call in by_number.data} == {number}
    by_agent = await client.agents.list_calls(agent, limit=5, offset=1)
    assert {(call.agent_id, call.direction) for call in by_agent.data} == {(agent, "")}


async def test_numbers_agents_and_usage(service, client):
    numbers = await client.numbers.list(limit=3)
    assert [line.phone_number for line in numbers.data] == [
        line.phone_number for line in service.numbers[:3]
    ]
    assert (numbers.has_more, numbers.total) == (True, 4)
    agents = await client.agents.list()
    assert [(agent.id, agent.name) for agent in agents.data] == [
        (agent.id, agent.name) for agent in service.agents
    ]
    assert [line.id for line in agents.data[0].numbers] == [line.id for line in service.numbers]
    service.add_call(started_at=service.settings.clock.now())
    usage = await client.usage.get()
    assert usage.numbers.used == 4
    yesterday = service.settings.clock.now() - timedelta(days=1)
    recent = sum(call.started_at > yesterday for call in service.calls)
    assert 1 < recent < 46
    assert (usage.stats.total_calls, usage.stats.calls_last_24h) == (46, recent)
    assert usage.stats.calls_last_7d == usage.stats.calls_last_30d == 46


async def test_deliveries_are_listed(clock):
    hook = "http://127.0.0.1:1/"
    async with (
        Emulator(webhook=hook, webhook_delays=(), clock=clock) as emulator,
        AsyncAgentPhone(emulator.api_key, base_url=emulator.base_url) as client,
    ):
        for _ in range(2):
            emulator.add_call()
        await emulator.events_delivered()
        newest, oldest = await client.webhooks.list_deliveries()
    assert [newest.id, oldest.id] == [event.id for event in emulator.webhook_log[::-1]]
    assert (newest.status, newest.attempt_count, newest.http_status) == ("failed", 1, None)
    assert (newest.event_type, newest.channel) == ("agent.call_ended", "voice")


async def test_errors_are_the_sdks_own(service, client):
    with pytest.raises(agentphone.NotFoundError):
        await client.calls.get("call_nobody")
    with pytest.raises(agentphone.AgentPhoneError) as invalid:
        await client.calls.make(service.agents[0].id, "12345")
    assert invalid.value.status == 422
    service.fail(status=429, retry_after=1, times=1)
    with pytest.raises(agentphone.RateLimitError):
        await client.calls.list()
    async with AsyncAgentPhone("sk_wrong", base_url=service.base_url) as stranger:
        with pytest.raises(agentphone.AuthenticationError):
            await stranger.calls.list()
