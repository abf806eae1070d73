"""The official SDK's names, and one program that runs with either class."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import agentphone
import pytest
from agentphone import async_client as official

import agentphone_async
from agentphone_async.emulator import Emulator, VirtualClock
from agentphone_async.models import ApiModel, Transcript, TranscriptEvent, WebCall
from agentphone_async.resources.account import AccountUsage, Agents, Numbers
from agentphone_async.resources.calls import Calls

SURFACE = [
    *((official.AsyncCallsResource, Calls, name) for name in vars(official.AsyncCallsResource)),
    (official.AsyncNumbersResource, Numbers, "list_calls"),
    (official.AsyncNumbersResource, Numbers, "list"),
    (official.AsyncAgentsResource, Agents, "list_calls"),
    (official.AsyncAgentsResource, Agents, "list"),
    (official.AsyncUsageResource, AccountUsage, "get"),
]


@pytest.mark.parametrize(
    ("theirs", "ours", "name"),
    [case for case in SURFACE if not case[2].startswith("_")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_methods_and_parameters_have_the_same_names_in_the_same_order(theirs, ours, name):
    expected = list(inspect.signature(getattr(theirs, name)).parameters.values())
    actual = list(inspect.signature(getattr(ours, name)).parameters.values())
    ordered = [p.name for p in actual if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert ordered == [p.name for p in expected]
    for mine, other in zip(actual, expected, strict=False):
        assert (mine.default is mine.empty) == (other.default is other.empty)
    extra = [p for p in actual if p.kind is p.KEYWORD_ONLY]
    assert all(p.default is not p.empty for p in extra)


def test_the_constructor_takes_what_theirs_takes():
    theirs = list(inspect.signature(agentphone.AsyncAgentPhone).parameters)
    ours = inspect.signature(agentphone_async.AsyncAgentPhone).parameters
    assert theirs == ["api_key", "base_url", "timeout"]
    assert list(ours)[:3] == theirs
    assert all(p.kind is p.KEYWORD_ONLY for p in list(ours.values())[3:])
    client = agentphone_async.AsyncAgentPhone("sk", "http://127.0.0.1:1", 5.0)
    assert client.settings.timeouts == agentphone_async.Timeouts(connect=5, read=5, head=60)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_a_timeout_that_cannot_be(timeout: float):
    with pytest.raises(agentphone_async.ConfigurationError, match="timeout is"):
        agentphone_async.AsyncAgentPhone("sk", timeout=timeout)


def test_a_timeout_and_timeouts_are_not_mixed():
    with pytest.raises(agentphone_async.ConfigurationError, match="use one of them"):
        agentphone_async.AsyncAgentPhone("sk", timeout=5, timeouts=agentphone_async.Timeouts())


ELSEWHERE = re.compile(
    "AgentPhone|AllowedIp|AvailableNumber|Contact|Conversation|Daily|Location|Message|Monthly|"
    "NumberLookup|OriginationUri|Reaction|ReplyTo|SipTrunk|WebhookDelivery|WebhookHistory|Webhook$|"
    "[a-z_]+$"
)
"""Names of the official SDK that have nothing to do with calls."""


def test_what_they_export_about_calls_has_namesakes():
    about_calls = [
        name for name in dir(agentphone) if not ELSEWHERE.match(name) and not name.startswith("_")
    ]
    assert {"Call", "CallRecording", "UsageStats", "NotFoundError"} <= set(about_calls)
    for name in [*about_calls, "AgentPhoneError", "AsyncAgentPhone", "construct_event"]:
        assert hasattr(agentphone_async, name), name


# ------------------------------------------------------------------- one program, two clients


async def program(library: Any, emulator: Emulator) -> dict[str, Any]:
    """What a user of the official SDK may have written; only the import differs."""
    client = library.AsyncAgentPhone(
        api_key=emulator.api_key, base_url=emulator.base_url, timeout=30.0
    )
    agent, number = emulator.agents[0].id, emulator.numbers[0].id
    seen: dict[str, Any] = {}
    page = await client.calls.list(limit=5, offset=1)
    seen["page"] = (page.data, page.has_more, page.total)
    filtered = await client.calls.list(direction="inbound", status="completed", search="+1555")
    seen["filtered"] = (filtered.data, filtered.has_more, filtered.total)
    seen["of number"] = (await client.numbers.list_calls(number, limit=3)).data
    seen["of agent"] = (await client.agents.list_calls(agent, limit=3)).data
    lines, agents = await client.numbers.list(), await client.agents.list(limit=2)
    seen["lines"] = ([(line.id, line.phone_number) for line in lines.data], lines.total)
    seen["agents"] = ([(one.id, one.name) for one in agents.data], agents.has_more)
    usage = await client.usage.get()
    seen["usage"] = (usage.numbers.used, usage.stats.total_calls, usage.stats.calls_last_24h)
    call = await client.calls.get(page.data[0].id)
    seen["call"] = call
    seen["said on it"] = [(said.id, said.transcript, said.response) for said in call.transcripts]
    recording = await client.calls.get_recording("call_recorded")
    seen["recording"] = (recording.content, recording.content_type)
    seen["transcript"] = await client.calls.get_transcript("call_recorded")
    seen["stream"] = [one async for one in client.calls.stream_transcript("call_recorded")]
    seen["turns"] = [one["data"]["content"] for one in seen["stream"] if one["event"] == "turn"]
    made = await client.calls.make(
        agent, "+14155550100", "Hello", voice="alloy", variables={"name": "Ada"}
    )
    seen["made"] = (made.status, made.direction, made.to_number, made.agent_id)
    topical = await client.calls.make_conversation(agent, "+14155550101", "the weather")
    seen["topical"] = (topical.status, topical.to_number)
    ended = await client.calls.end(made.id)
    seen["ended"] = (ended["status"], ended.get("toNumber"), ended["id"] == made.id)
    web = await client.calls.create_web_call(agent, {"page": 1})
    seen["web"] = ("accessToken" in web, len(web["accessToken"]), sorted(_plain(web)))
    for name, ask in {
        "no call": client.calls.get("call_none"),
        "no recording": client.calls.get_recording("call_silent"),
        "bad number": client.calls.make(agent, "0800"),
    }.items():
        try:
            await ask
        except library.NotFoundError as error:
            seen[name] = ("not found", error.status)
        except library.AgentPhoneError as error:
            seen[name] = ("refused", error.status)
    await client.close()
    refused = library.AsyncAgentPhone("sk_wrong", emulator.base_url)
    try:
        await refused.calls.list()
    except library.AuthenticationError as error:
        seen["refused"] = error.status
    await refused.close()
    return seen


def _plain(value: Any) -> Any:
    """Both clients' results in one form: their models and dicts become plain JSON."""
    match value:
        case agentphone.Call():
            fields = dataclasses.asdict(value)
            fields.pop("transcripts")  # compared on their own
            return _plain(fields)
        case agentphone_async.Call():
            names = [field.name for field in dataclasses.fields(agentphone.Call)]
            fields = {name: getattr(value, name) for name in names if name != "transcripts"}
            # Theirs makes up values for what a summary does not have.
            fields["direction"] = fields["direction"] or ""
            fields["recording_available"] = fields["recording_available"] or False
            return _plain(fields)
        case Transcript() | WebCall() | TranscriptEvent() | ApiModel():
            return _plain(value.raw)
        case datetime():
            return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case str() if value.endswith("Z") and value[4:5] == "-":
            return _plain(datetime.fromisoformat(value))
        case str():
            return re.sub(r"^http://127\.0\.0\.1:\d+", "http://emulator", value)
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value


async def test_one_program_gives_equal_results_with_either_class():
    results = []
    for library in (agentphone, agentphone_async):
        noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
        async with Emulator(calls=12, seed=5, clock=VirtualClock(noon)) as emulator:
            at = noon - timedelta(days=1)
            emulator.add_call(
                id="call_recorded",
                started_at=at,
                duration=12,
                transcript=[("agent", "Hi"), ("user", "Grüße"), ("user", "Grüße")],
            )
            emulator.add_call(id="call_silent", started_at=at, recording=False)
            results.append(_plain(await program(library, emulator)))
    theirs, ours = results
    assert theirs.keys() == ours.keys()
    for name in theirs:
        assert ours[name] == theirs[name], name
    assert theirs["turns"] == ["Hi", "Grüße", "Grüße"]
    assert theirs["recording"][0].startswith(b"RIFF")
    assert theirs["no recording"] == ["not found", 404]
    assert theirs["refused"] == 401


async def test_we_send_what_they_send(emulator):
    """The two make the same requests, but for the key with a recording and the user agent."""
    targets = []
    for library in (agentphone, agentphone_async):
        async with Emulator(calls=12, seed=5) as own:
            own.add_call(id="call_recorded", transcript=[])
            own.add_call(id="call_silent", recording=False)
            await program(library, own)
            made = own.placed_calls[0].id
            targets.append(
                [
                    (
                        request.method,
                        request.target.replace(made, "MADE"),
                        request.body if request.route != "end_call" else b"",
                    )
                    for request in own.requests
                ]
            )
    theirs, ours = targets

    def decoded(rows: list[tuple[str, str, bytes]]) -> list[Any]:
        return [(method, target, json.loads(body or b"{}")) for method, target, body in rows]

    assert decoded(ours) == decoded(theirs)
