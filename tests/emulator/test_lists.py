from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from agentphone_async.emulator import Emulator, VirtualClock

_ROW = {
    "id", "agentId", "agentName", "phoneNumberId", "phoneNumber", "fromNumber", "toNumber",
    "direction", "status", "startedAt", "endedAt", "durationSeconds", "lastTranscriptSnippet",
    "recordingUrl", "recordingAvailable",
}  # fmt: skip


async def pages(ask, emulator, path, limit=100):
    """All rows of a list, page by page; and the totals that were told."""
    rows, totals = [], []
    while True:
        joint = "&" if "?" in path else "?"
        page = (await ask(emulator, f"{path}{joint}limit={limit}&offset={len(rows)}")).json()
        rows += page["data"]
        totals.append(page["total"])
        if not page["hasMore"]:
            return rows, totals


async def test_all_pages_together_are_all_calls_newest_first(ask):
    async with Emulator(calls=250, neighbours=3, seed=7) as emulator:
        rows, totals = await pages(ask, emulator, "/v1/calls")
        assert [row["id"] for row in rows] == [call.id for call in emulator.calls]
        assert set(totals) == {len(rows)}
        assert all(set(row) == _ROW for row in rows)
        started = [datetime.fromisoformat(row["startedAt"]) for row in rows]
        assert started == sorted(started, reverse=True)
        assert {row["startedAt"][-1] for row in rows} == {"Z"}
        assert len({len(row["startedAt"]) for row in rows}) == 2  # with milliseconds and without


async def test_the_default_page_has_twenty_rows(ask):
    async with Emulator(calls=21) as emulator:
        page = (await ask(emulator, "/v1/calls")).json()
        assert (len(page["data"]), page["hasMore"], page["total"]) == (20, True, 21)
        beyond = (await ask(emulator, "/v1/calls?offset=21")).json()
        assert beyond == {"data": [], "hasMore": False, "total": 21}


@pytest.mark.parametrize(
    ("query", "field", "kind"),
    [
        ("limit=101", "limit", "less_than_equal"),
        ("limit=0", "limit", "greater_than_equal"),
        ("limit=ten", "limit", "int_parsing"),
        ("offset=-1", "offset", "greater_than_equal"),
        ("direction=sideways", "direction", "literal_error"),
        ("type=telex", "type", "literal_error"),
    ],
)
async def test_what_is_out_of_bounds_is_422(emulator, ask, query, field, kind):
    answer = await ask(emulator, f"/v1/calls?{query}")
    assert answer.status == 422
    (entry,) = answer.json()["detail"]
    assert (entry["loc"], entry["type"]) == (["query", field], kind)


@pytest.mark.parametrize(
    ("query", "admits"),
    [
        ("status=completed", lambda row: row["status"] == "completed"),
        ("status=no-answer", lambda row: row["status"] == "no-answer"),
        ("direction=outbound", lambda row: row["direction"] == "outbound"),
        (
            "search=%2B15551230001",
            lambda row: "+15551230001" in row["fromNumber"] + row["toNumber"],
        ),
        ("search=nothing", lambda row: False),
        (
            "status=completed&direction=inbound",
            lambda row: row["status"] == "completed" and row["direction"] == "inbound",
        ),
    ],
)
async def test_filters_admit_what_they_say(ask, query, admits):
    async with Emulator(calls=200, seed=3) as emulator:
        everything, _ = await pages(ask, emulator, "/v1/calls")
        rows, totals = await pages(ask, emulator, f"/v1/calls?{query}", limit=7)
        assert rows == [row for row in everything if admits(row)]
        assert set(totals) == {len(rows)}


async def test_the_type_filter_knows_web_calls(emulator, ask):
    web = emulator.add_call(type="web")
    emulator.add_call()
    rows, _ = await pages(ask, emulator, "/v1/calls?type=web")
    assert [row["id"] for row in rows] == [web.id]


async def test_a_status_filter_follows_the_life_of_a_call(clock, ask):
    async with Emulator(clock=clock) as emulator:
        agent = emulator.agents[0].id
        await ask(
            emulator, "/v1/calls", "POST", body={"agentId": agent, "toNumber": "+15550001111"}
        )
        for status, seconds in (("queued", 0.5), ("ringing", 2), ("in-progress", 20)):
            rows, _ = await pages(ask, emulator, f"/v1/calls?status={status}")
            assert [row["status"] for row in rows] == [status]
            clock.advance(seconds)
        rows, _ = await pages(ask, emulator, "/v1/calls?status=in-progress")
        assert rows == []


async def test_numbers_and_agents_list_their_own(ask):
    async with Emulator(calls=120) as emulator:
        number, agent = emulator.numbers[1].id, emulator.agents[1].id
        rows, _ = await pages(ask, emulator, f"/v1/numbers/{number}/calls", limit=20)
        assert rows
        assert {row["phoneNumberId"] for row in rows} == {number}
        assert set(rows[0]) == _ROW
        rows, _ = await pages(ask, emulator, f"/v1/agents/{agent}/calls", limit=20)
        assert {row["agentId"] for row in rows} == {agent}
        assert set(rows[0]) == _ROW - {"direction", "recordingUrl", "recordingAvailable"}
        for path in ("/v1/numbers/num_none/calls", "/v1/agents/agt_none/calls"):
            assert (await ask(emulator, path)).status == 404


async def test_sub_accounts_see_their_own_calls_only(ask):
    async with Emulator(sub_accounts=("sub_a",)) as emulator:
        ours, theirs = emulator.add_call(), emulator.add_call(sub_account="sub_b")
        for account, seen in ((None, [ours.id]), ("sub_a", []), ("sub_b", [theirs.id])):
            headers = {"X-Sub-Account-Id": account} if account else {}
            answer = await ask(emulator, "/v1/calls", headers=headers)
            assert [row["id"] for row in answer.json()["data"]] == seen
            got = await ask(emulator, f"/v1/calls/{theirs.id}", headers=headers)
            assert got.status == (200 if account == "sub_b" else 404)
        unknown = await ask(emulator, "/v1/calls", headers={"X-Sub-Account-Id": "sub_x"})
        assert unknown.status == 404
        recording = await ask(emulator, f"/v1/calls/{theirs.id}/recording", key=False)
        assert recording.status == 200


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Bearer sk_wrong"}, {"Authorization": "sk_test_emulator"}]
)
async def test_without_the_right_key_there_is_nothing(emulator, ask, header):
    answer = await ask(emulator, "/v1/calls", headers=header, key=False)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"].keys() == {"message", "code", "type", "details"}


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ("detail", b'{"detail": "Invalid or missing API key."}'),
        ("message", b'{"message": "Invalid or missing API key."}'),
        ("empty", b""),
    ],
)
async def test_errors_come_in_the_shape_that_was_set(ask, shape, body):
    async with Emulator(error_shape=shape) as emulator:
        assert (await ask(emulator, "/v1/calls", key=False)).body == body


async def test_user_agents_of_libraries_can_be_refused(ask):
    async with Emulator(refuse_default_agents=True) as emulator:
        for agent, status in (
            ("Python/3.11 aiohttp/3.14.5", 403),
            ("python-requests/2.32", 403),
            ("agentphone-async/1.0", 200),
        ):
            answer = await ask(emulator, "/v1/calls", headers={"User-Agent": agent})
            assert answer.status == status
        assert (await ask(emulator, "/v1/calls")).status == 403


async def test_unknown_paths_and_methods_are_the_frameworks_business(emulator, ask):
    unknown = await ask(emulator, "/v2/calls")
    assert (unknown.status, unknown.json()) == (404, {"detail": "Not Found"})
    wrong = await ask(emulator, "/v1/calls", "PUT")
    assert (wrong.status, wrong.headers["allow"]) == (405, "GET, POST")
    assert emulator.requests.count("unknown") == 1


def _on(emulator, zone):
    return sum(call.started_at.astimezone(zone).date() == emulator.day for call in emulator.calls)


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 7, 1), 24)]
)
def test_a_day_has_its_calls_and_its_neighbours_have_theirs(day, hours):
    zone = ZoneInfo("Europe/Berlin")
    emulator = Emulator(calls=40, neighbours=4, day=day, zone=zone)
    assert _on(emulator, zone) == 40
    assert len(emulator.calls) == 48
    on_day = [call.started_at for call in emulator.calls][4:-4]
    assert on_day[0] - on_day[-1] >= timedelta(hours=hours, seconds=-1.5)
    assert on_day[-1].astimezone(zone).time().isoformat() == "00:00:00"
    before, after = emulator.calls[-4].started_at, emulator.calls[3].started_at
    assert on_day[-1] - before <= timedelta(seconds=1)
    assert after - on_day[0] <= timedelta(seconds=1)


def test_by_default_the_day_is_yesterday_and_nothing_is_in_the_future():
    now = datetime(2026, 11, 22, 0, 10, tzinfo=UTC)
    emulator = Emulator(calls=10, neighbours=5, clock=VirtualClock(now))
    assert emulator.day == date(2026, 11, 21)
    assert max(call.started_at for call in emulator.calls) <= now
    assert any(call.status(now) == "in-progress" for call in emulator.calls)
    seven = ZoneInfo("America/New_York")
    assert Emulator(zone=seven, clock=VirtualClock(now)).day == date(2026, 11, 20)


def test_the_same_seed_makes_the_same_calls():
    one, two, other = (Emulator(calls=9, seed=s, day=date(2026, 1, 2)) for s in (1, 1, 2))
    ids = [[call.id for call in emulator.calls] for emulator in (one, two, other)]
    assert ids[0] == ids[1] != ids[2]
    assert [call.started_at for call in one.calls] == [call.started_at for call in two.calls]


def test_not_every_call_was_recorded_or_answered():
    calls = Emulator(calls=1000).calls
    completed = [call for call in calls if call.outcome == "completed"]
    assert 0.06 < 1 - sum(call.recorded for call in completed) / len(completed) < 0.14
    assert {call.outcome for call in calls} == {"completed", "failed", "no-answer", "busy"}
    assert any(call.agent_id is None for call in calls)
    assert any(call.phone_number_id is None for call in calls)


async def test_calls_are_added_and_removed_where_they_belong(emulator, ask):
    now = datetime.now(UTC)
    old = emulator.add_call(started_at=now - timedelta(days=2))
    new = emulator.add_call(started_at=now - timedelta(minutes=5), duration=60.5)
    middle = emulator.add_call(started_at=now - timedelta(days=1), status="carrier-melted")
    rows, _ = await pages(ask, emulator, "/v1/calls")
    assert [row["id"] for row in rows] == [new.id, middle.id, old.id]
    assert [row["durationSeconds"] for row in rows] == [60.5, None, 60]
    assert rows[1]["status"] == "carrier-melted"
    emulator.remove_call(middle.id)
    rows, _ = await pages(ask, emulator, "/v1/calls")
    assert [row["id"] for row in rows] == [new.id, old.id]
    with pytest.raises(KeyError):
        emulator.remove_call(middle.id)
    with pytest.raises(ValueError, match="already"):
        emulator.add_call(id=new.id)
    with pytest.raises(ValueError, match="aware"):
        emulator.add_call(started_at=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point
