"""Going on where a large body broke off: only on proof, and byte-exact whatever the server does."""

from __future__ import annotations

import asyncio
import hashlib
import re

import pytest

from agentphone_async.errors import RecordingNotFoundError, ServerError
from agentphone_async.recordings import transfer
from tests.support.downloads import assert_nothing_left, files, impatient, open_files, wave
from tests.support.raw_server import RawServer, chunk, respond, then_close, then_reset

WAV = "audio/wav"
ETAG = '"v1"'
UNREAD = 512 * 1024  # what aiohttp drops of its buffer when a connection breaks
SIZE = 1_000_000
OLD = wave(SIZE)
NEW = wave(SIZE, seed=1)
LONGER = wave(SIZE + 2000, seed=2)


@pytest.fixture
def small_steps(monkeypatch):
    """The same rules at a tenth of the sizes, so that the table below stays quick."""
    monkeypatch.setattr(transfer, "GATHERED", 100_000)
    monkeypatch.setattr(transfer, "STEP", 100_000)
    monkeypatch.setattr(transfer, "RESUMED", 400_000)


def whole(body, *, etag=ETAG, **headers):
    return respond(200, body, content_type=WAV, etag=etag, accept_ranges="bytes", **headers)


def broken(body, kept, *, etag=ETAG, **headers):
    answer = whole(body, etag=etag, **headers)
    return then_close(answer[: len(answer) - len(body) + kept])


def offset_of(request):
    return int(re.fullmatch(r"bytes=(\d+)-", request.headers["range"])[1])


def part(body, *, shift=0, stop=None, total=None, etag=ETAG, told=None, status=206, **headers):
    """Answers a range as asked, or wrongly in one respect."""

    async def act(connection, request):
        first = offset_of(request) + shift
        last = (len(body) if stop is None else stop) - 1
        span = told or f"bytes {first}-{last}/{len(body) if total is None else total}"
        answer = respond(
            status,
            body[first : last + 1],
            content_type=headers.pop("content_type", WAV),
            etag=etag,
            content_range=span,
            **headers,
        )
        await connection.send(answer)

    return act


def part_then_close(body, kept):
    """Answers a range rightly, but only so many bytes of it arrive."""

    async def act(connection, request):
        first = offset_of(request)
        answer = respond(
            206,
            b"",
            content_type=WAV,
            etag=ETAG,
            content_range=f"bytes {first}-{len(body) - 1}/{len(body)}",
            content_length=str(len(body) - first),
        )
        await connection.send(answer + body[first : first + kept])
        connection.close()

    return act


async def fetched(script, tmp_path, **options):
    async with RawServer(*script) as server, impatient(server.base_url, **options) as client:
        recording = await client.fetch_recording("call_x", tmp_path)
        assert client._budget.held == 0
        assert client.session.limits.slots.held == 0
    assert list(files(tmp_path)) == ["recording-call_x.wav"]
    assert open_files(tmp_path) == []
    return recording, server.requests


async def test_nine_megabytes_go_on_where_they_stopped(tmp_path):
    body = wave(9 * 1024 * 1024)
    script = broken(body, 5_555_555), part(body)
    recording, (first, second) = await fetched(script, tmp_path)
    assert recording.path.read_bytes() == body
    assert "range" not in first.headers
    assert 5_555_555 - UNREAD <= offset_of(second) <= 5_555_555
    assert second.headers["if-range"] == ETAG
    assert recording.attempts == 2
    assert recording.etag == ETAG


async def test_below_eight_megabytes_starting_over_is_cheaper(tmp_path):
    body = wave(7 * 1024 * 1024)
    recording, (_, second) = await fetched((broken(body, 5_555_555), whole(body)), tmp_path)
    assert recording.path.read_bytes() == body
    assert "range" not in second.headers


def part_in_chunks(ending=OLD):
    """Without a Content-Length, so that only we can count."""

    async def act(connection, request):
        await send_in_chunks(connection, offset_of(request), ending)

    return act


async def send_in_chunks(connection, first, body):
    head = respond(
        206,
        b"",
        content_type=WAV,
        etag=ETAG,
        content_range=f"bytes {first}-{SIZE - 1}/{SIZE}",
        content_length=None,
        transfer_encoding="chunked",
    )
    await connection.send(head + chunk(body[first:]) + b"0\r\n\r\n")


GOING_ON = {
    "a right answer": part(OLD),
    "without a total": part(OLD, total="*"),
    "in chunks": part_in_chunks(),
}


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("answer", GOING_ON.values(), ids=GOING_ON)
async def test_a_proved_rest_is_appended(answer, tmp_path):
    recording, requests = await fetched((broken(OLD, 700_000), answer), tmp_path)
    assert recording.path.read_bytes() == OLD
    assert len(requests) == 2


FROM_ZERO = {
    "another range, told truly": (part(OLD, shift=500), True),
    "an earlier range, told truly": (part(OLD, shift=-500), True),
    "another range, told as the right one": (part(OLD, told="bytes 0-999999/1000000"), True),
    "a range that stops early": (part(OLD, stop=SIZE - 10), True),
    "another total": (part(OLD, total=SIZE + 500), True),
    "no Content-Range": (part(OLD, told="nonsense"), True),
    "another ETag": (part(NEW, etag='"v2"'), True),
    "no ETag": (part(NEW, etag=None), True),
    "a weak ETag": (part(NEW, etag='W/"v1"'), True),
    "a coded part": (part(OLD, content_encoding="gzip"), True),
    "several parts": (part(OLD, content_type="multipart/byteranges; boundary=x"), True),
    "416": (respond(416, content_range=f"bytes */{SIZE}"), True),
    "416 without a range": (respond(416), True),
    "304": (respond(304, content_length=None), True),
    "204": (respond(204, content_length=None), True),
    "200 with everything": (whole(NEW), False),
    "200 with everything, and another ETag": (whole(NEW, etag='"v2"'), False),
    "200 with everything, now longer": (whole(LONGER, etag='"v2"'), False),
    "200 with a part": (part(OLD, status=200), True),
}


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize(("answer", "again"), FROM_ZERO.values(), ids=FROM_ZERO)
async def test_without_proof_it_starts_from_zero(answer, again, tmp_path):
    final = LONGER if answer is FROM_ZERO["200 with everything, now longer"][0] else NEW
    script = broken(OLD, 700_000), answer, whole(final)
    recording, requests = await fetched(script, tmp_path)
    assert recording.path.read_bytes() == final
    assert 0 < offset_of(requests[1]) <= 700_000
    assert len(requests) == (3 if again else 2)
    assert all("range" not in request.headers for request in requests[2:])


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("ending", [OLD + b"x" * 9, OLD[:-9]], ids=["surplus", "short"])
async def test_a_rest_that_is_not_as_long_as_promised_is_dropped(ending, tmp_path):
    script = broken(OLD, 700_000), part_in_chunks(ending), whole(NEW)
    recording, requests = await fetched(script, tmp_path)
    assert recording.path.read_bytes() == NEW
    assert "range" not in requests[2].headers


@pytest.mark.usefixtures("small_steps")
async def test_no_byte_that_was_seen_is_asked_for_again(tmp_path):
    seen = 0
    most_seen, all_seen = asyncio.Event(), asyncio.Event()

    def progress(size):
        nonlocal seen
        seen += size
        if seen >= 600_000:
            most_seen.set()
        if seen >= 654_321:
            all_seen.set()

    async def break_off(connection, _):
        answer = whole(OLD)
        await connection.send(answer[: len(answer) - SIZE + 600_000])
        await most_seen.wait()
        await connection.send(OLD[600_000:654_321])  # less than a step: still in memory
        await all_seen.wait()
        connection.reset()

    async with RawServer(break_off, part(OLD)) as server, impatient(server.base_url) as client:
        recording = await client.fetch_recording("call_x", tmp_path, progress=progress)
    assert recording.path.read_bytes() == OLD
    assert offset_of(server.requests[1]) == 654_321
    assert seen == SIZE


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("etag", [None, 'W/"v1"', "v1", '"broken'])
async def test_without_a_strong_validator_no_range_is_asked_for(etag, tmp_path):
    script = broken(OLD, 700_000, etag=etag), whole(NEW)
    recording, requests = await fetched(script, tmp_path)
    assert recording.path.read_bytes() == NEW
    assert "range" not in requests[1].headers


@pytest.mark.usefixtures("small_steps")
async def test_an_old_date_is_a_validator_where_there_is_no_etag(tmp_path):
    dates = {
        "last_modified": "Sun, 22 Nov 2026 10:00:00 GMT",
        "date": "Sun, 22 Nov 2026 12:00:00 GMT",
    }
    script = broken(OLD, 700_000, etag=None, **dates), part(OLD, etag=None, **dates)
    recording, requests = await fetched(script, tmp_path)
    assert recording.path.read_bytes() == OLD
    assert requests[1].headers["if-range"] == dates["last_modified"]


@pytest.mark.usefixtures("small_steps")
async def test_breaking_off_again_and_again_each_time_goes_on_from_there(tmp_path):
    script = (
        broken(OLD, 300_000),
        part_then_close(OLD, 250_001),
        part_then_close(OLD, 0),
        part(OLD),
    )
    recording, requests = await fetched(script, tmp_path, attempts=5)
    first, second, third = [offset_of(request) for request in requests[1:]]
    assert 0 < first <= 300_000
    assert first < second == third <= first + 250_001
    assert recording.path.read_bytes() == OLD
    assert recording.attempts == 4


@pytest.mark.usefixtures("small_steps")
async def test_what_restarted_can_itself_be_resumed(tmp_path):
    changed = broken(NEW, 600_000, etag='"v2"')
    script = broken(OLD, 700_000), changed, part(NEW, etag='"v2"')
    recording, requests = await fetched(script, tmp_path, attempts=5)
    assert recording.path.read_bytes() == NEW
    assert requests[2].headers["if-range"] == '"v2"'
    assert 0 < offset_of(requests[2]) <= 600_000
    assert recording.etag == '"v2"'


@pytest.mark.usefixtures("small_steps")
async def test_a_5xx_between_does_not_cost_what_is_there(tmp_path):
    script = broken(OLD, 700_000), respond(500), part(OLD)
    recording, requests = await fetched(script, tmp_path)
    assert recording.path.read_bytes() == OLD
    first, second = [offset_of(request) for request in requests[1:]]
    assert 0 < first == second


@pytest.mark.usefixtures("small_steps")
async def test_a_reset_may_lose_bytes_but_never_shifts_them(tmp_path):
    answer = whole(OLD)

    async def rest(connection, request):
        action = part(OLD) if "range" in request.headers else then_close(answer)
        await action(connection, request)

    script = then_reset(answer[:-200_000]), rest
    recording, requests = await fetched(script, tmp_path)
    assert recording.path.read_bytes() == OLD
    ranged = [request for request in requests if "range" in request.headers]
    assert all(0 < offset_of(request) <= 800_000 for request in ranged)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (respond(404), RecordingNotFoundError),
        (respond(500), ServerError),
    ],
)
async def test_giving_up_leaves_nothing(answer, error, tmp_path):
    async with (
        RawServer(broken(OLD, 700_000), answer) as server,
        impatient(server.base_url) as client,
    ):
        with pytest.raises(error):
            await client.fetch_recording("call_x", tmp_path)
        assert client._budget.held == 0
    assert_nothing_left(tmp_path)


@pytest.mark.usefixtures("small_steps")
async def test_the_digest_covers_both_halves(tmp_path):
    recording, _ = await fetched((broken(OLD, 700_000), part(OLD)), tmp_path)
    assert recording.sha256 == hashlib.sha256(OLD).hexdigest()
    assert recording.size == SIZE
    assert recording.duration_seconds == pytest.approx((SIZE - 44) / 16000)
