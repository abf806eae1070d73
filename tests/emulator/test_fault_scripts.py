"""Which requests faults hit, how they are scripted, and what they do to lists and POSTs."""

from __future__ import annotations

import json

import pytest

from agentphone_async.emulator import Emulator, Fault, damaged_wave
from agentphone_async.emulator.routes import Match


@pytest.mark.parametrize(
    ("fault", "placed"),
    [
        ({"status": 503}, 0),
        ({"status": 500, "processed": True}, 1),
        ({"reset": "connection"}, 1),
        ({"reset": "connection", "processed": False}, 0),
        ({"truncate": 10}, 1),
    ],
)
async def test_a_failed_post_may_have_placed_its_call(emulator, ask, fault, placed):
    emulator.fail(route="create_call", **fault)
    body = {"agentId": emulator.agents[0].id, "toNumber": "+15550001111"}
    await ask(emulator, "/v1/calls", "POST", body=body)
    assert len(emulator.placed_calls) == placed
    assert emulator.requests.count("create_call") == 1


async def test_calls_arrive_between_pages(ask):
    async with Emulator(calls=30) as emulator:
        emulator.fail(route="list_calls", arrive=3, times=1)
        first = (await ask(emulator, "/v1/calls?limit=10")).json()
        second = (await ask(emulator, "/v1/calls?limit=10&offset=10")).json()
        assert (first["total"], second["total"]) == (30, 33)
        overlap = [row["id"] for row in first["data"][-3:]]
        assert [row["id"] for row in second["data"][:3]] == overlap
        fresh = emulator.calls[:3]
        for call in fresh:
            answer = await ask(emulator, f"/v1/calls/{call.id}/recording")
            assert answer.body == emulator.expected_audio(call.id)


async def test_calls_vanish_between_pages(ask):
    async with Emulator(calls=30) as emulator:
        emulator.fail(route="list_calls", vanish=2, times=1)
        before = [call.id for call in emulator.calls]
        await ask(emulator, "/v1/calls?limit=10")
        second = (await ask(emulator, "/v1/calls?limit=10&offset=10")).json()
        assert [row["id"] for row in second["data"]] == before[12:22]


def _page(answer):
    page = answer.json()
    return page, [row and row["id"] for row in page["data"] or []]


async def test_pages_go_wrong_in_their_own_ways(ask):
    async with Emulator(calls=30) as emulator:
        path = "/v1/calls?limit=10&offset=20"
        page, ids = _page(await ask(emulator, path))
        first_ids = _page(await ask(emulator, "/v1/calls?limit=10"))[1]
        expected = {
            "no-total": (None, False, ids),
            "wrong-total": (15, False, ids),
            "endless": (30, True, ids),
            "empty": (30, True, []),
            "repeat": (30, True, first_ids),
            "duplicate": (30, False, [i for i in ids for _ in range(2)]),
            "null-ids": (30, False, [None] * 10),
            "null-rows": (30, False, [None, *ids]),
            "no-data": (30, False, []),
        }
        for damage, (total, more, seen) in expected.items():
            emulator.fail(route="list_calls", page=damage, times=1)
            page, ids_seen = _page(await ask(emulator, path))
            assert (page.get("total"), page["hasMore"], ids_seen) == (total, more, seen), damage
        emulator.fail(route="list_calls", page="malformed", times=1)
        with pytest.raises(json.JSONDecodeError):
            (await ask(emulator, path)).json()


async def test_json_can_be_edited_from_python(emulator, ask):
    call = emulator.add_call()
    emulator.fail(route="get_call", edit=lambda row: row | {"recordingUrl": "http://169.254.1.1/"})
    assert (await ask(emulator, f"/v1/calls/{call.id}")).json()["recordingUrl"].endswith("254.1.1/")


async def test_faults_strike_by_route_call_and_count(emulator, ask):
    one, two = emulator.add_call(duration=1), emulator.add_call(duration=1)
    emulator.fail(route="recording", call_id=one.id, status=503, times=2)
    emulator.fail(route="recording", status=500, skip=1, times=1)
    seen = [
        (await ask(emulator, f"/v1/calls/{call.id}/recording")).status
        for call in (two, one, two, one, one, two)
    ]
    assert seen == [200, 503, 500, 503, 200, 200]
    assert (await ask(emulator, f"/v1/calls/{one.id}")).status == 200
    log = [(event.number, event.route, event.call_id) for event in emulator.fault_log]
    assert log == [
        (1, "recording", one.id),
        (2, "recording", two.id),
        (3, "recording", one.id),
    ]
    assert [bool(entry.fault) for entry in emulator.requests] == [
        False, True, True, True, False, False, False,
    ]  # fmt: skip


async def test_chance_is_repeatable(ask):
    def strikes(seed):
        book = Emulator(seed=seed)
        book.fail(route="recording", probability=0.1, status=500)
        ids = [Match("recording", f"call_{n}", "") for n in range(1000)]
        return [book._faults.strike(found, 0.0, []) is not None for found in ids]

    assert strikes(1) == strikes(1) != strikes(2)
    assert 60 < sum(strikes(1)) < 140


async def test_faults_can_be_cleared_and_given_as_text(emulator, ask):
    fault = emulator.fail("route=list_calls,status=503")
    assert fault == Fault("list_calls", status=503)
    assert (await ask(emulator, "/v1/calls")).status == 503
    emulator.clear_faults()
    assert (await ask(emulator, "/v1/calls")).status == 200
    assert emulator.fault_log[0].fault == fault
    with pytest.raises(TypeError):
        emulator.fail(fault, status=500)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"route": "recordings"}, "route must be one of list_calls"),
        ({"times": 0}, "times must be at least 1, not 0"),
        ({"probability": 1.5}, "probability must lie in 0 to 1, not 1.5"),
        ({"status": 99}, "status must lie in 200 to 599"),
        ({"reset": 1, "stall": 2}, "exclude each other"),
        ({"reset": "sometime"}, "reset must be a number, connection or headers"),
        ({"wav": "loud"}, "wav must be one of"),
        ({"page": "torn"}, "page must be one of"),
        ({"bandwidth": 0}, "bandwidth must be at least 1"),
        ({"delay": float("nan")}, "delay must be at least 0"),
    ],
)
def test_faults_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Fault(**fields)


async def test_faults_in_a_file_of_the_folder(tmp_path, ask):
    content = damaged_wave(b"RIFF" + bytes(40) + bytes(range(200)) * 10, "long")
    (tmp_path / "a.wav").write_bytes(content)
    async with Emulator(recordings=tmp_path) as emulator:
        path = f"/v1/calls/{emulator.calls[0].id}/recording"
        emulator.fail(reset=700, times=1)
        emulator.fail(shift_range=10, times=1)
        assert (await ask(emulator, path)).body == content[:700]
        answer = await ask(emulator, path, headers={"Range": "bytes=5-9"})
        assert answer.body == content[15:20]
