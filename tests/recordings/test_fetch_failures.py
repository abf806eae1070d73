"""One recording and a server that fails: nothing is left, and what may pass is tried again."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest

from agentphone_async import Timeouts
from agentphone_async.emulator import Emulator
from agentphone_async.errors import (
    ConnectionFailedError,
    DestinationError,
    NotAudioError,
    RateLimitError,
    RecordingNotFoundError,
    ResponseError,
    ServerError,
    TimedOutError,
    TransportError,
    TruncatedRecordingError,
    UnexpectedResponseError,
)
from tests.support.downloads import assert_nothing_left, files, impatient, open_files, wave
from tests.support.raw_server import (
    RawServer,
    chunk,
    respond,
    then_close,
    then_hold,
    then_reset,
)

WAV = "audio/wav"
SMALL = wave(300_000)
LARGE = wave(6_000_000)


def answer(body, **headers):
    headers.setdefault("content_type", WAV)
    return respond(200, body, **headers)


def cut(body, kept):
    """The answer for ``body``, with only so many bytes of it."""
    whole = answer(body)
    return whole[: len(whole) - len(body) + kept]


def open_ended(body, kept):
    head = answer(b"", content_length=None, connection="close")
    return then_close(head + body[:kept])


def unfinished_chunks(body, kept):
    head = answer(b"", content_length=None, transfer_encoding="chunked")
    return then_close(head + chunk(body[:kept]))


PASSING = {
    "truncated": (then_close(cut(SMALL, 200_000)), TransportError),
    "truncated at the last byte": (then_close(cut(SMALL, 299_999)), TransportError),
    "truncated after the head": (then_close(cut(SMALL, 0)), TransportError),
    "truncated while streaming": (then_close(cut(LARGE, 5_000_000)), TransportError),
    "truncated without length": (open_ended(SMALL, 200_000), TruncatedRecordingError),
    "truncated inside the WAVE header": (open_ended(SMALL, 30), TruncatedRecordingError),
    "truncated without length while streaming": (
        open_ended(LARGE, 5_000_000), TruncatedRecordingError,
    ),
    "no last chunk": (unfinished_chunks(SMALL, 300_000), TransportError),
    "no last chunk while streaming": (unfinished_chunks(LARGE, 6_000_000), TransportError),
    "reset before the head": (then_reset(), ConnectionFailedError),
    "reset inside the head": (then_reset(b"HTTP/1.1 200 OK\r\nContent-Ty"), ConnectionFailedError),
    "closed inside the head": (then_close(b"HTTP/1.1 200 OK\r\nContent-Ty"), TransportError),
    "reset at a byte": (then_reset(cut(SMALL, 123_457)), ConnectionFailedError),
    "reset while streaming": (then_reset(cut(LARGE, 5_123_457)), ConnectionFailedError),
    "reset at the last byte": (then_reset(cut(SMALL, 299_999)), ConnectionFailedError),
    "truncated gzip": (
        then_close(
            answer(b"", content_encoding="gzip", content_length="9999999")
            + gzip.compress(SMALL)[:100_000]
        ),
        TransportError,
    ),
    "408": (respond(408), ResponseError),
    "500": (respond(500, b"<html>oops</html>", content_type="text/html"), ServerError),
    "502": (respond(502), ServerError),
    "503 without a delay": (respond(503, retry_after="0"), ServerError),
    "429 without a delay": (respond(429, retry_after="0"), RateLimitError),
}  # fmt: skip


# aiohttp itself asks again, once, when a connection ends before a head was complete.
UNSEEN = [
    PASSING[name][0]
    for name in ("reset before the head", "reset inside the head", "closed inside the head")
]


@pytest.mark.parametrize(("script", "error"), PASSING.values(), ids=PASSING)
async def test_what_may_pass_is_tried_to_the_end_of_the_attempts(script, error, tmp_path):
    async with RawServer(script) as server, impatient(server.base_url) as client:
        with pytest.raises(error) as caught:
            await client.fetch_recording("call_x", tmp_path)
        assert client._budget.held == 0
        assert client.session.limits.slots.held == 0
    assert caught.value.attempts == 3
    assert caught.value.call_id == "call_x"
    assert len(server.requests) == (6 if script in UNSEEN else 3)
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize(("script", "_error"), PASSING.values(), ids=PASSING)
async def test_what_passes_ends_byte_exact(script, _error, tmp_path):
    async with RawServer(script, answer(SMALL)) as server, impatient(server.base_url) as client:
        recording = await client.fetch_recording("call_x", tmp_path)
        assert client._budget.held == 0
    assert recording.attempts == (1 if script in UNSEEN else 2)
    assert len(server.requests) == 2
    assert files(tmp_path) == {"recording-call_x.wav": SMALL}
    assert open_files(tmp_path) == []


LASTING = {
    "404": (respond(404), RecordingNotFoundError, "call_x"),
    "410": (respond(410), ResponseError, "410"),
    "403": (respond(403), ResponseError, "403"),
    "204": (respond(204, content_length=None), NotAudioError, "204"),
    "206 unasked": (
        respond(206, SMALL[:1000], content_type=WAV, content_range="bytes 0-999/300000"),
        NotAudioError,
        "206",
    ),
    "empty": (answer(b""), NotAudioError, "empty"),
    "HTML": (
        respond(200, b"<html>Just a moment</html>", content_type="text/html"),
        NotAudioError,
        "<html>Just a moment",
    ),
    "text behind ID3": (answer(b"ID3\x03\0\0\0\0\0\0<html>hi</html>"), NotAudioError, "<html>hi"),
    "text in a tag": (answer(b'ID3\x03\0\0\0\0\x02\0{"error": 1}' + b" " * 999), NotAudioError, "ID3"),
    "HTML without end": (
        then_hold(respond(200, b"<p>" * 1000, content_type="text/html", content_length="9999999")),
        NotAudioError,
        "<p><p>",
    ),
    "JSON": (respond(200, {"error": "no"}), NotAudioError, '{"error": "no"}'),
    "HTML called audio": (answer(b"<html>hi</html>"), NotAudioError, "<html>hi"),
    "noise": (
        respond(200, b"\x00\x01noise", content_type="application/octet-stream"),
        NotAudioError,
        r"\x00\x01noise",
    ),
    "a large page of HTML": (
        respond(200, b"<p>" * 2_000_000, content_type="text/html"), NotAudioError, "<p><p>",
    ),
    "large noise called audio": (answer(b"spam" * 1_500_000), NotAudioError, "spamspam"),
    "escapes in HTML": (
        respond(200, b"\x1b[31mred", content_type="text/html"), NotAudioError, r"\x1b[31mred",
    ),
    "gzip that breaks": (
        answer(gzip.compress(SMALL)[:-9] + b"\xff" * 9, content_encoding="gzip"),
        UnexpectedResponseError,
        "corrupt",
    ),
    "gzip that ends early": (
        answer(gzip.compress(SMALL, mtime=0)[:-9], content_encoding="gzip"),
        UnexpectedResponseError,
        "cut off",
    ),
    "a coding nobody knows": (answer(b"\x0b\x80" * 9, content_encoding="lzma"), NotAudioError, "x0b"),
    "not HTTP": (then_close(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), UnexpectedResponseError, "HTTP"),
    "a redirect to nowhere": (respond(302), UnexpectedResponseError, "302"),
    "304 unasked": (respond(304, content_length=None), ResponseError, "304"),
}  # fmt: skip


@pytest.mark.parametrize(("script", "error", "told"), LASTING.values(), ids=LASTING)
async def test_what_will_not_pass_is_asked_once_and_explained(script, error, told, tmp_path):
    async with RawServer(script) as server, impatient(server.base_url) as client:
        with pytest.raises(error) as caught:
            await client.fetch_recording("call_x", tmp_path)
        assert client._budget.held == 0
    assert told in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(server.requests) == 1
    assert_nothing_left(tmp_path)


TAG = b"ID3\x03\0\0\0\0\x03\0PRIV\0\0\0\x09\0\0" + bytes(0x180 - 16)
LONG_AND_NO_AUDIO = {
    "HTML": b"<!doctype html><html>" * 50_000,
    "JSON": b'{"data": [' + b'"text", ' * 100_000,
    "text with a mark inside": b"some words fLaC RIFF WAVE " * 50_000,
    "RIFF that is no WAVE": b"RIFF\xff\xff\xff\x7fAVI " + bytes(1_000_000),
    "text behind a tag": TAG + b"<html>hello</html>" * 50_000,
    "text behind a long tag": TAG[:8] + b"\x02\x00" + TAG[10:].ljust(256, b"\0") + b"<p>" * 200_000,
}


@pytest.mark.parametrize("body", LONG_AND_NO_AUDIO.values(), ids=LONG_AND_NO_AUDIO)
@pytest.mark.parametrize("coding", [None, "gzip"])
async def test_what_is_no_audio_is_left_within_its_first_kilobytes(body, coding, tmp_path):
    sent = 0

    async def thirty_megabytes(connection, _request):
        nonlocal sent
        packer = zlib.compressobj(0, wbits=31) if coding else None
        head = respond(
            200, b"", content_type=WAV, content_length="30000000", content_encoding=coding
        )
        await connection.send(head)
        for at in range(0, 30_000_000, 16_384):
            piece = body[at : at + 16_384] or bytes(16_384)
            await connection.send(packer.compress(piece) if packer else piece)
            await asyncio.sleep(0)
            if connection.gone.is_set():
                break
            sent += len(piece)

    async with RawServer(thirty_megabytes) as server, impatient(server.base_url) as client:
        with pytest.raises(NotAudioError):
            await client.fetch_recording("call_x", tmp_path)
        before = sent
        with pytest.raises(NotAudioError):
            async for _ in client.stream_recording("call_x"):
                pass
    assert max(before, sent - before) < 10_000_000, "which the sockets hold"
    assert_nothing_left(tmp_path)


async def test_surplus_bytes_are_never_written(tmp_path):
    script = answer(SMALL) + b"surplus" * 100
    async with RawServer(script) as server, impatient(server.base_url) as client:
        first = await client.fetch_recording("call_x", tmp_path)
        again = await client.fetch_recording("call_y", tmp_path)
    assert first.path.read_bytes() == SMALL
    assert again.path.read_bytes() == SMALL
    assert open_files(tmp_path) == []


BRISK = Timeouts(connect=5, read=0.15, head=5, minimum_speed_window=0.15, minimum_speed=10**6)

SILENCES = {
    "before the head": then_hold(),
    "inside the head": then_hold(b"HTTP/1.1 200 OK\r\nContent-Ty"),
    "after the head": then_hold(cut(SMALL, 0)),
    "inside the body": then_hold(cut(SMALL, 100_000)),
    "while streaming": then_hold(cut(LARGE, 5_000_000)),
    "before the last byte": then_hold(cut(SMALL, 299_999)),
}


@pytest.mark.parametrize("script", SILENCES.values(), ids=SILENCES)
async def test_silence_ends_in_a_timeout_and_another_attempt(script, tmp_path):
    async with (
        RawServer(script, answer(SMALL)) as server,
        impatient(server.base_url, timeouts=BRISK) as client,
    ):
        recording = await client.fetch_recording("call_x", tmp_path)
    assert recording.attempts == 2
    assert files(tmp_path) == {"recording-call_x.wav": SMALL}
    assert open_files(tmp_path) == []


async def test_a_drip_counts_as_stalled(tmp_path):
    async with Emulator() as emulator:
        call = emulator.add_call(duration=10)
        emulator.fail(route="recording", bandwidth=20_000.0, times=1)
        timeouts = Timeouts(read=5, minimum_speed=100_000, minimum_speed_window=0.15)
        async with impatient(emulator.base_url, timeouts=timeouts) as client:
            recording = await client.fetch_recording(call.id, tmp_path)
        assert recording.attempts == 2
        assert recording.path.read_bytes() == emulator.expected_audio(call.id)


async def test_a_lasting_drip_is_told_as_such(tmp_path):
    async with Emulator() as emulator:
        call = emulator.add_call(duration=10)
        emulator.fail(route="recording", bandwidth=20_000.0)
        timeouts = Timeouts(read=5, minimum_speed=100_000, minimum_speed_window=0.15)
        async with impatient(emulator.base_url, timeouts=timeouts, attempts=1) as client:
            with pytest.raises(TimedOutError, match="stalled"):
                await client.fetch_recording(call.id, tmp_path)
    assert_nothing_left(tmp_path)


async def test_a_slow_disk_is_not_taken_for_a_slow_server(tmp_path):
    """The time that a transfer waits for memory or for the disk does not count as the server's."""
    timeouts = Timeouts(read=0.3, minimum_speed=10**9, minimum_speed_window=0.2)
    async with (
        RawServer(answer(SMALL)) as server,
        impatient(server.base_url, timeouts=timeouts, attempts=1) as client,
    ):
        budget = client._budget
        await budget.acquire(budget.total)
        task = asyncio.create_task(client.fetch_recording("call_x", tmp_path))
        await server.until(lambda: len(server.requests) == 1)
        asyncio.get_running_loop().call_later(0.4, budget.release, budget.total)
        recording = await task
    assert recording.path.read_bytes() == SMALL


@pytest.mark.parametrize("where", ["file", "below a file"])
async def test_a_destination_that_cannot_be_is_named(where, tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    dest = f"{tmp_path}/file/" if where == "file" else f"{tmp_path}/file/folder/"
    async with RawServer(answer(SMALL)) as server, impatient(server.base_url) as client:
        with pytest.raises(DestinationError, match="file") as caught:
            await client.fetch_recording("call_x", dest)
        assert client._budget.held == 0
    assert caught.value.errno is not None
    assert files(tmp_path) == {"file": b"mine"}


async def test_an_error_does_not_keep_the_bytes_of_its_transfer_alive(tmp_path):
    """Errors are kept as outcomes by the thousand; the frames of their tracebacks must be light."""
    async with (
        RawServer(then_close(cut(SMALL, 299_999))) as server,
        impatient(server.base_url, attempts=1) as client,
    ):
        with pytest.raises(TransportError) as caught:
            await client.fetch_recording("call_x", tmp_path)
    held = 0
    frame = caught.value.__traceback__
    while frame is not None:
        for value in frame.tb_frame.f_locals.values():
            if isinstance(value, list):
                held += sum(len(item) for item in value if isinstance(item, bytes))
        frame = frame.tb_next
    assert held == 0
