from __future__ import annotations

import asyncio

import pytest

from agentphone_async.emulator import CallLife, Emulator

_TO = "+15550001111"


@pytest.fixture
async def service(clock):
    async with Emulator(clock=clock) as emulator:
        yield emulator


@pytest.fixture
def place(service, ask):
    async def place(**more):
        body = {"agentId": service.agents[0].id, "toNumber": _TO, **more}
        return await ask(service, "/v1/calls", "POST", body=body)

    return place


async def get(ask, service, call_id):
    return (await ask(service, f"/v1/calls/{call_id}")).json()


async def test_a_created_call_lives_and_leaves_a_recording(service, place, ask, clock):
    placed = (await place()).json()
    assert (placed["status"], placed["direction"], placed["toNumber"]) == (
        "queued",
        "outbound",
        _TO,
    )
    assert placed["agentId"] == service.agents[0].id
    assert placed["endedAt"] is placed["durationSeconds"] is placed["recordingUrl"] is None
    life = []
    for seconds in (0.5, 2, 20, 4.9, 0.1):
        clock.advance(seconds)
        row = await get(ask, service, placed["id"])
        recording = await ask(service, f"/v1/calls/{placed['id']}/recording")
        life.append((row["status"], row["recordingAvailable"], recording.status))
    assert life == [
        ("ringing", False, 404),
        ("in-progress", False, 404),
        ("completed", False, 404),
        ("completed", False, 404),
        ("completed", True, 200),
    ]
    row = await get(ask, service, placed["id"])
    assert row["durationSeconds"] == 20
    assert row["endedAt"] == "2026-11-22T12:00:22.500Z"
    assert len(recording.body) == 44 + 20 * 16000
    assert [call.id for call in service.placed_calls] == [placed["id"]]


async def test_life_can_be_shortened(clock, ask):
    life = CallLife(queued=0, ringing=0, talking=1, recording=0)
    async with Emulator(clock=clock, life=life) as emulator:
        body = {"agentId": emulator.agents[0].id, "toNumber": _TO}
        placed = (await ask(emulator, "/v1/calls", "POST", body=body)).json()
        assert placed["status"] == "in-progress"
        clock.advance(1)
        assert (await ask(emulator, f"/v1/calls/{placed['id']}/recording")).status == 200


async def test_disabling_the_recording_leaves_none(service, place, clock, ask):
    placed = (await place(disableRecording=True)).json()
    clock.advance(1000)
    assert (await ask(service, f"/v1/calls/{placed['id']}/recording")).status == 404


@pytest.mark.parametrize(
    ("change", "field", "kind"),
    [
        ({"agentId": None}, "agentId", "string_type"),
        ({"toNumber": "5551234"}, "toNumber", "value_error"),
        ({"toNumber": "+0551234567"}, "toNumber", "value_error"),
        ({"toNumber": 15551234567}, "toNumber", "string_type"),
        ({"modelTier": "huge"}, "modelTier", "literal_error"),
        ({"variables": {"a": 1}}, "variables", "string_type"),
        ({"variables": ["a"]}, "variables", "dict_type"),
        ({"disableRecording": "yes"}, "disableRecording", "bool_type"),
        ({"voice": 7}, "voice", "string_type"),
    ],
)
async def test_a_wrong_field_is_named(service, place, change, field, kind):
    answer = await place(**change)
    assert answer.status == 422
    (entry,) = answer.json()["detail"]
    assert (entry["loc"], entry["type"]) == (["body", field], kind)
    assert entry["msg"]
    assert service.placed_calls == []


async def test_every_missing_field_is_named(service, ask):
    answer = await ask(service, "/v1/calls", "POST", body={})
    named = [entry["loc"][1] for entry in answer.json()["detail"]]
    assert (answer.status, named) == (422, ["agentId", "toNumber"])
    for body, kind in (
        (b"{", "json_invalid"),
        (b"[]", "model_attributes_type"),
        (b"", "json_invalid"),
    ):
        answer = await ask(service, "/v1/calls", "POST", body=body)
        assert answer.json()["detail"][0]["type"] == kind


async def test_everything_that_may_be_said_is_accepted(service, place):
    answer = await place(
        fromNumberId=service.numbers[2].id, initialGreeting="Hi {{name}}", voice=None,
        systemPrompt="Be kind", modelTier="max", variables={"name": "Ann"},
        callScreeningIdentity="Ann", callScreeningPurpose="a call back", unknown=1,
    )  # fmt: skip
    assert answer.status == 200
    assert answer.json()["fromNumber"] == service.numbers[2].phone_number


async def test_unknown_agents_and_numbers_are_404(service, place):
    assert (await place(agentId="agt_none")).json()["error"]["code"] == "AGENT_NOT_FOUND"
    none = await place(fromNumberId="num_none")
    assert (none.status, none.json()["error"]["code"]) == (404, "PHONE_NUMBER_NOT_FOUND")
    service.add_agent("agt_mine", "Mine")
    service.add_number("num_mine", "+15550009999")
    mine = (await place(agentId="agt_mine", fromNumberId="num_mine")).json()
    assert (mine["agentName"], mine["fromNumber"]) == ("Mine", "+15550009999")


async def test_ending_a_call_takes_a_moment(service, place, ask, clock):
    placed = (await place()).json()
    clock.advance(10)
    ended = await ask(service, f"/v1/calls/{placed['id']}/end", "POST")
    assert (ended.status, ended.json()["status"]) == (200, "in-progress")
    clock.advance(0.5)
    row = await get(ask, service, placed["id"])
    assert (row["status"], row["durationSeconds"]) == ("completed", 8)
    again = await ask(service, f"/v1/calls/{placed['id']}/end", "POST")
    assert row == again.json() | {"transcripts": row["transcripts"]}


async def test_ending_a_call_that_still_rings_fails_it(service, place, ask, clock):
    placed = (await place()).json()
    clock.advance(1)
    await ask(service, f"/v1/calls/{placed['id']}/end", "POST")
    clock.advance(10)
    row = await get(ask, service, placed["id"])
    assert (row["status"], row["durationSeconds"]) == ("failed", None)
    assert row["endedAt"] == "2026-11-22T12:00:01.500Z"


async def test_live_calls_stay_alive_until_they_are_ended(service, ask, clock):
    for status in ("queued", "registered", "ringing", "in-progress"):
        call = service.add_call(status=status)
        clock.advance(10_000)
        assert (await get(ask, service, call.id))["status"] == status
        await ask(service, f"/v1/calls/{call.id}/end", "POST")
        clock.advance(0.5)
        row = await get(ask, service, call.id)
        assert row["status"] == ("completed" if status == "in-progress" else "failed")
        assert row["endedAt"] is not None


async def test_waiting_answers_when_the_call_ends(service, place, connect, clock):
    placed = (await place()).json()
    async with connect(service) as client:
        client.send(f"/v1/calls/{placed['id']}?wait=true&timeout=60")
        for _ in range(3):
            await clock.until_sleeping()
            assert clock.monotonic() < 22.5
            clock.advance(7.5)
        assert (await client.rest()).json()["status"] == "completed"


async def test_waiting_ends_with_its_timeout(service, connect, clock):
    call = service.add_call(status="in-progress")
    async with connect(service) as client:
        client.send(f"/v1/calls/{call.id}?wait=true&timeout=10")
        await clock.until_sleeping()
        clock.advance(10)
        assert (await client.rest()).json()["status"] == "in-progress"


async def test_waiting_notices_that_the_call_was_ended(service, connect, ask, clock):
    call = service.add_call(status="in-progress")
    async with connect(service) as client:
        client.send(f"/v1/calls/{call.id}?wait=1")
        await clock.until_sleeping()
        await ask(service, f"/v1/calls/{call.id}/end", "POST")
        await clock.until_sleeping()
        clock.advance(0.5)
        assert (await client.rest()).json()["status"] == "completed"


@pytest.mark.parametrize("timeout", ["9", "301", "soon"])
async def test_a_timeout_out_of_bounds_is_422(service, ask, timeout):
    call = service.add_call(status="in-progress")
    answer = await ask(service, f"/v1/calls/{call.id}?wait=true&timeout={timeout}")
    assert (answer.status, answer.json()["detail"][0]["loc"]) == (422, ["query", "timeout"])


async def test_a_client_that_leaves_while_waiting_is_forgotten(service, connect, clock):
    call = service.add_call(status="in-progress")
    async with connect(service) as client:
        client.send(f"/v1/calls/{call.id}?wait=true")
        await clock.until_sleeping()
    while service.requests.in_flight:
        await asyncio.sleep(0)
    assert clock.sleeping == 0


async def test_a_web_call_gives_a_token_and_fails_when_nobody_joins(service, ask, clock):
    body = {"agentId": service.agents[0].id, "metadata": {"a": 1}, "variables": {"b": "c"}}
    made = (await ask(service, "/v1/calls/web", "POST", body=body)).json()
    assert len(made["accessToken"]) > 20
    row = await get(ask, service, made["callId"])
    assert row["status"] == "registered"
    clock.advance(30)
    assert (await get(ask, service, made["callId"]))["status"] == "failed"
    wrong = await ask(service, "/v1/calls/web", "POST", body={"metadata": 1})
    assert len(wrong.json()["detail"]) == 2


async def test_calls_cannot_be_deleted(service, ask):
    call = service.add_call()
    answer = await ask(service, f"/v1/calls/{call.id}", "DELETE")
    assert (answer.status, answer.json()) == (405, {"detail": "Method Not Allowed"})
    assert service.requests.count("delete_call") == 1


async def test_web_is_an_id_like_any_other_when_it_is_read(service, ask):
    assert (await ask(service, "/v1/calls/web")).json()["error"]["code"] == "CALL_NOT_FOUND"


async def test_every_request_is_on_the_record(service, place):
    await place(voice="amy")
    (entry,) = service.requests.of("create_call")
    assert entry.headers["authorization"] == f"Bearer {service.api_key}"
    assert (entry.method, entry.path, entry.status) == ("POST", "/v1/calls", 200)
    assert b'"voice": "amy"' in entry.body


@pytest.mark.parametrize(
    ("longest", "after", "status"), [(None, 6, "completed"), (10, 10, "in-progress")]
)
async def test_a_post_may_wait_until_the_call_is_over(clock, ask, longest, after, status):
    talking = 5 if longest is None else 60
    async with Emulator(
        clock=clock, life=CallLife(queued=0, ringing=1, talking=talking)
    ) as emulator:
        body = {
            "agentId": emulator.agents[0].id,
            "toNumber": "+15551234567",
            "waitForCompletion": True,
            "maxWaitSeconds": longest,
        }
        asked = asyncio.create_task(ask(emulator, "/v1/calls", "POST", body=body))
        for second in range(after):
            await clock.until_sleeping()
            assert not asked.done(), second
            clock.advance(1)
        call = (await asked).json()
    assert call["status"] == status
    assert (call["endedAt"] is not None) == (status == "completed")
    assert call["transcripts"]
    assert call["retellCallId"].startswith("call_")


@pytest.mark.parametrize("seconds", [9, 601, "30", 30.5, True])
async def test_the_longest_wait_is_a_whole_number_of_seconds(emulator, ask, seconds):
    body = {
        "agentId": emulator.agents[0].id,
        "toNumber": "+15551234567",
        "maxWaitSeconds": seconds,
    }
    answer = await ask(emulator, "/v1/calls", "POST", body=body)
    assert answer.status == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "maxWaitSeconds"]


@pytest.mark.parametrize("status", ["in_progress", "ongoing"])
async def test_other_words_for_in_progress(emulator, ask, status):
    call = emulator.add_call(status=status)
    answer = (await ask(emulator, f"/v1/calls/{call.id}")).json()
    assert (answer["status"], answer["endedAt"]) == (status, None)
