"""Each fault, seen from a raw socket."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest

from agentphone_async.emulator import Emulator, Fault, damaged_wave


@pytest.fixture
async def scene(emulator):
    """An emulator, a recording's path, and its bytes."""
    call = emulator.add_call(duration=1, id="call_1")
    return emulator, f"/v1/calls/{call.id}/recording", emulator.expected_audio(call.id)


@pytest.mark.parametrize(
    "status", [400, 401, 402, 403, 404, 408, 409, 422, 429, 500, 502, 503, 504]
)
async def test_status_codes_bring_the_documented_body(scene, ask, status):
    emulator, path, _ = scene
    emulator.fail(route="recording", status=status)
    answer = await ask(emulator, path)
    assert answer.status == status
    assert answer.json()["error"].keys() == {"message", "code", "type", "details"}


@pytest.mark.parametrize(
    ("shape", "begins"),
    [("detail", b'{"detail"'), ("message", b'{"message"'), ("html", b"<html>"), ("empty", b"")],
)
async def test_errors_come_in_other_bodies_too(scene, ask, shape, begins):
    emulator, path, _ = scene
    emulator.fail(status=502, error_shape=shape)
    answer = await ask(emulator, path)
    assert answer.body.startswith(begins)
    assert bool(answer.body) == bool(begins)


async def test_an_empty_success_has_no_body(scene, ask):
    emulator, path, _ = scene
    emulator.fail(status=204, times=1)
    emulator.fail(body=b"", times=1)
    answers = [await ask(emulator, path) for _ in range(2)]
    assert [(answer.status, answer.body) for answer in answers] == [(204, b""), (200, b"")]
    assert "content-length" not in answers[0].headers


@pytest.mark.parametrize(
    ("value", "header"),
    [
        (2, "2"),
        (0.5, "0.5"),
        (1e9, "1000000000"),
        ("soon", "soon"),
        ("date:5", "Sun, 22 Nov 2026 12:00:05 GMT"),
        ("date:-60", "Sun, 22 Nov 2026 11:59:00 GMT"),
    ],
)
async def test_retry_after_in_every_form(clock, ask, value, header):
    async with Emulator(clock=clock) as emulator:
        emulator.fail(status=503, retry_after=value)
        answer = await ask(emulator, "/v1/calls")
        assert answer.headers["retry-after"] == header


async def test_a_real_clock_gives_real_dates(emulator, ask):
    emulator.fail(status=429, retry_after="date:30")
    answer = await ask(emulator, "/v1/calls")
    until = parsedate_to_datetime(answer.headers["retry-after"]) - datetime.now(UTC)
    assert timedelta(seconds=25) < until <= timedelta(seconds=30)


async def test_silence_before_the_headers(clock, connect):
    async with Emulator(clock=clock) as emulator, connect(emulator) as client:
        emulator.fail(delay=7)
        client.send("/v1/calls")
        await clock.until_sleeping()
        assert await client.is_silent()
        clock.advance(7)
        assert (await client.rest()).status == 200


async def test_silence_for_ever(scene, connect):
    emulator, path, _ = scene
    emulator.fail(delay=float("inf"))
    async with connect(emulator) as client:
        client.send(path)
        assert await client.is_silent()
        assert emulator.requests.in_flight == 1


async def test_stalls_fall_silent_on_an_open_connection(scene, connect):
    emulator, path, audio = scene
    for where, sent in ((0, b""), (1000, audio[:1000]), (-1, audio[:-1])):
        emulator.fail(stall=where, times=1)
        async with connect(emulator) as client:
            client.send(path)
            top = await client.head()
            assert top.headers["content-length"] == str(len(audio))
            assert await client.reader.readexactly(len(sent)) == sent
            assert await client.is_silent()
    emulator.fail(stall="headers", times=1)
    async with connect(emulator) as client:
        client.send(path)
        assert (await client.reader.readexactly(12)).startswith(b"HTTP/1.1 200")
    emulator.fail(stall="connection", times=1)
    async with connect(emulator) as client:
        client.send(path)
        assert await client.is_silent()


@pytest.mark.parametrize("where", [0, 1, 1000, 16043, -1, -44])
async def test_resets_come_after_exactly_so_many_bytes(scene, ask, where):
    emulator, path, audio = scene
    emulator.fail(reset=where)
    answer = await ask(emulator, path)
    assert answer.end == "reset"
    assert answer.headers["content-length"] == str(len(audio))
    assert answer.body == (audio[:where] if where else b"")


async def test_a_reset_far_into_a_large_body_keeps_what_came_before(emulator, ask):
    call = emulator.add_call(duration=600)
    emulator.fail(reset=5_000_000)
    answer = await ask(emulator, f"/v1/calls/{call.id}/recording")
    assert answer.end == "reset"
    assert answer.body == emulator.expected_audio(call.id)[:5_000_000]


async def test_resets_before_and_inside_the_headers(scene, ask):
    emulator, path, _ = scene
    emulator.fail(reset="connection", times=1)
    assert (await ask(emulator, path)).raw == b""
    emulator.fail(reset="headers", times=1)
    answer = await ask(emulator, path)
    assert answer.end == "reset"
    assert answer.raw.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" not in answer.raw
    assert [event.number for event in emulator.fault_log] == [1, 2]


async def test_truncation_with_a_length(scene, ask):
    emulator, path, audio = scene
    emulator.fail(truncate=-100)
    answer = await ask(emulator, path)
    assert (answer.end, answer.body) == ("closed", audio[:-100])
    assert answer.headers["content-length"] == str(len(audio))


async def test_truncation_without_a_length(scene, ask):
    emulator, path, audio = scene
    emulator.fail(truncate=5000, framing="close")
    answer = await ask(emulator, path)
    assert (answer.end, answer.body) == ("closed", audio[:5000])
    assert "content-length" not in answer.headers
    assert "transfer-encoding" not in answer.headers


async def test_truncation_without_the_last_chunk(scene, ask):
    emulator, path, audio = scene
    emulator.fail(truncate=5000, framing="chunked", times=1)
    answer = await ask(emulator, path)
    assert (answer.end, answer.dechunked()) == ("closed", (audio[:5000], False))
    emulator.fail(truncate=len(audio), framing="chunked", times=1)
    assert (await ask(emulator, path)).dechunked() == (audio, False)


async def test_bodies_without_a_length_can_be_whole(scene, ask, connect):
    emulator, path, audio = scene
    emulator.fail(framing="chunked", times=1)
    assert (await ask(emulator, path)).dechunked() == (audio, True)
    emulator.fail(framing="close", times=1)
    async with connect(emulator) as client:
        client.send(path, close=False)
        answer = await client.rest()
    assert (answer.end, answer.body) == ("closed", audio)


async def test_surplus_follows_the_body(scene, ask):
    emulator, path, audio = scene
    emulator.fail(surplus=10, times=1)
    answer = await ask(emulator, path)
    assert answer.headers["content-length"] == str(len(audio))
    assert answer.body == audio + b"\xa5" * 10
    emulator.fail(surplus=10, framing="close", times=1)
    assert (await ask(emulator, path)).body == audio + b"\xa5" * 10


async def test_content_length_can_be_wrong(scene, ask):
    emulator, path, audio = scene
    for fault, told in (
        (Fault(content_length=3, times=1), 3),
        (Fault(length_off_by=7, times=1), len(audio) + 7),
        (Fault(length_off_by=-7, times=1), len(audio) - 7),
    ):
        emulator.fail(fault)
        answer = await ask(emulator, path)
        assert answer.headers["content-length"] == str(told)
        assert (answer.end, answer.body) == ("closed", audio)


async def test_a_wrong_length_ends_the_connection(scene, connect):
    emulator, path, audio = scene
    emulator.fail(length_off_by=-7)
    async with connect(emulator) as client:
        client.send(path, close=False)
        answer = await client.rest()
    assert (answer.end, answer.body) == ("closed", audio)


async def test_an_ignored_range_brings_everything(scene, ask):
    emulator, path, audio = scene
    emulator.fail(ignore_range=True)
    for asked in ("bytes=100-", "bytes=999999-"):
        answer = await ask(emulator, path, headers={"Range": asked})
        assert (answer.status, answer.body) == (200, audio)
        assert "content-range" not in answer.headers


async def test_another_range_than_asked(scene, ask):
    emulator, path, audio = scene
    emulator.fail(shift_range=-50, times=1)
    answer = await ask(emulator, path, headers={"Range": "bytes=100-199"})
    assert (answer.status, answer.body) == (206, audio[50:150])
    assert answer.headers["content-range"] == f"bytes 50-149/{len(audio)}"
    emulator.fail(content_range="bytes 0-99/100", times=1)
    answer = await ask(emulator, path, headers={"Range": "bytes=100-199"})
    assert (answer.headers["content-range"], answer.body) == ("bytes 0-99/100", audio[100:200])
    emulator.fail(status=206, times=1)
    answer = await ask(emulator, path)
    assert (answer.status, answer.body) == (206, audio)


async def test_304_and_416_out_of_the_blue(scene, ask):
    emulator, path, _ = scene
    emulator.fail(status=304, times=1)
    emulator.fail(status=416, times=1)
    answers = [await ask(emulator, path) for _ in range(2)]
    assert [answer.status for answer in answers] == [304, 416]
    assert answers[0].body == b""


async def test_etags_change_vanish_and_weaken(scene, ask):
    emulator, path, _ = scene
    usual = (await ask(emulator, path)).headers["etag"]
    emulator.fail(etag="new", times=2)
    seen = {(await ask(emulator, path)).headers["etag"] for _ in range(2)}
    assert len(seen | {usual}) == 3
    emulator.fail(etag="", times=1)
    assert "etag" not in (await ask(emulator, path)).headers
    emulator.fail(etag='W/"w"', times=1)
    assert (await ask(emulator, path)).headers["etag"] == 'W/"w"'


async def test_a_recording_can_change_between_two_requests(scene, ask):
    emulator, path, audio = scene
    first = await ask(emulator, path)
    emulator.fail(change_recording=True, times=1)
    headers = {"Range": "bytes=100-", "If-Range": first.headers["etag"]}
    second = await ask(emulator, path, headers=headers)
    assert second.status == 200
    assert second.body == emulator.expected_audio("call_1") != audio


@pytest.mark.parametrize(
    ("redirect", "base"),
    [
        ("same", "http://127.0.0.1:{port}"),
        ("other-host", "http://localhost:{port}"),
        ("loop", "http://127.0.0.1:{port}"),
    ],
)
async def test_redirects_lead_where_they_say(scene, ask, redirect, base):
    emulator, path, audio = scene
    emulator.fail(redirect=redirect, redirect_status=307)
    answer = await ask(emulator, path)
    place = base.format(port=emulator.settings.port)
    assert (answer.status, answer.body) == (307, b"")
    assert answer.headers["location"] == f"{place}{path}?redirected=1"
    followed = await ask(emulator, f"{path}?redirected=1")
    if redirect == "loop":
        assert followed.headers["location"] == answer.headers["location"]
    else:
        assert followed.body == audio


async def test_redirects_to_anywhere_keep_the_query_of_their_own(scene, ask):
    emulator, path, _ = scene
    emulator.fail(redirect="https://example.com/x", times=1)
    assert (await ask(emulator, path)).headers["location"] == "https://example.com/x"
    emulator.fail(redirect="same", times=1)
    location = (await ask(emulator, "/v1/calls?limit=5")).headers["location"]
    assert location.endswith("/v1/calls?limit=5&redirected=1")


async def test_gzip_that_nobody_asked_for(scene, ask):
    emulator, path, audio = scene
    emulator.fail(gzip=True)
    answer = await ask(emulator, path)
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) == len(answer.body) != len(audio)
    assert gzip.decompress(answer.body) == audio


async def test_a_bomb_is_small_on_the_wire(scene, ask):
    emulator, path, _ = scene
    emulator.fail(gzip_bomb=3_000_001)
    answer = await ask(emulator, path)
    assert len(answer.body) < 10_000
    assert gzip.decompress(answer.body) == bytes(3_000_001)


async def test_html_and_json_with_a_good_status(scene, ask):
    emulator, path, _ = scene
    emulator.fail(html=True, times=1)
    answer = await ask(emulator, path)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.body.startswith(b"<!DOCTYPE html>")
    emulator.fail(body='{"ok":true}', media_type="application/json", times=1)
    assert (await ask(emulator, path)).json() == {"ok": True}


async def test_mp3_in_place_of_wave(scene, ask):
    emulator, path, _ = scene
    emulator.fail(mpeg=True)
    answer = await ask(emulator, path)
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.body.startswith(b"\xff\xfb")


async def test_unusual_wave_files(scene, ask):
    emulator, path, audio = scene
    emulator.fail(wav="streamed")
    assert (await ask(emulator, path)).body == damaged_wave(audio, "streamed")


async def test_an_endless_body_goes_on(scene, connect):
    emulator, path, audio = scene
    emulator.fail(endless=True, framing="close")
    async with connect(emulator) as client:
        client.send(path)
        await client.head()
        assert await client.reader.readexactly(5 * len(audio)) == audio * 5


async def test_more_headers_and_other_ones(scene, ask):
    emulator, path, _ = scene
    emulator.fail(headers={"X-Bomb": "x" * 5000, "content-type": "audio/x-wav", "ETag": ""})
    headers = (await ask(emulator, path)).headers
    assert (len(headers["x-bomb"]), headers["content-type"]) == (5000, "audio/x-wav")
    assert "etag" not in headers


async def test_hanging_up_is_not_announced(scene, connect):
    emulator, path, audio = scene
    emulator.fail(hang_up=True)
    async with connect(emulator) as client:
        client.send(path, close=False)
        answer = await client.rest()
    assert (answer.end, answer.body) == ("closed", audio)
    assert "connection" not in answer.headers
