"""One recording: what arrives lies byte-exact under its name, or nothing does."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat

import pytest

from agentphone_async import LocalSink
from agentphone_async.errors import (
    InvalidIdError,
    RecordingTooLargeError,
    TransportError,
)
from agentphone_async.recordings import transfer
from agentphone_async.recordings.fetch import Fetcher
from agentphone_async.recordings.jobs import flat_target
from agentphone_async.sinks import interface
from tests.support.downloads import assert_nothing_left, files, impatient, open_files, wave
from tests.support.raw_server import RawServer, chunk, respond, then_close, then_hold

WAV = "audio/wav"
SMALL = wave(30_000)
GATHERED = wave(1_500_000)
STREAMED = wave(5 * 1024 * 1024 + 2)


def answer(body, **headers):
    headers.setdefault("content_type", WAV)
    return respond(200, body, **headers)


def without_length(body):
    return then_close(answer(body, content_length=None, connection="close"))


def chunked(body, size=50_000):
    head = answer(b"", content_length=None, transfer_encoding="chunked")
    pieces = [chunk(body[start : start + size]) for start in range(0, len(body), size)]
    return head + b"".join(pieces) + b"0\r\n\r\n"


FRAMINGS = {
    "small": (SMALL, answer(SMALL)),
    "gathered": (GATHERED, answer(GATHERED)),
    "streamed": (STREAMED, answer(STREAMED)),
    "small without length": (SMALL, without_length(SMALL)),
    "gathered without length": (GATHERED, without_length(GATHERED)),
    "streamed without length": (STREAMED, without_length(STREAMED)),
    "small chunked": (SMALL, chunked(SMALL)),
    "tiny chunks": (SMALL, chunked(SMALL, size=7)),
    "streamed chunked": (STREAMED, chunked(STREAMED)),
    "gzip": (SMALL, answer(gzip.compress(SMALL), content_encoding="gzip")),
    "gzip streamed": (STREAMED, answer(gzip.compress(STREAMED, 1), content_encoding="gzip")),
}


@pytest.mark.parametrize(("body", "script"), FRAMINGS.values(), ids=FRAMINGS)
async def test_every_byte_arrives_however_the_body_is_framed(body, script, tmp_path):
    async with RawServer(script) as server, impatient(server.base_url) as client:
        recording = await client.fetch_recording("call_x", tmp_path)
    assert files(tmp_path) == {"recording-call_x.wav": body}
    assert recording.path == tmp_path / "recording-call_x.wav"
    assert (recording.size, recording.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    assert (recording.media_type, recording.suspect) == (WAV, None)
    assert (recording.sample_rate, recording.channels) == (8000, 1)
    assert recording.duration_seconds == pytest.approx((len(body) - 44) / 16000)
    assert recording.attempts == 1
    assert open_files(tmp_path) == []


async def test_the_key_does_not_travel_and_the_recording_is_asked_for_plainly(tmp_path):
    async with (
        RawServer(answer(SMALL)) as server,
        impatient(server.base_url, api_key="sk_secret") as client,
    ):
        await client.fetch_recording("call_x", tmp_path)
    (request,) = server.requests
    assert (request.method, request.target) == ("GET", "/v1/calls/call_x/recording")
    assert "sk_secret" not in str(request)
    assert request.headers["accept-encoding"] == "identity"
    assert "range" not in request.headers


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("body", [SMALL, STREAMED], ids=["gathered", "streamed"])
async def test_files_and_folders_are_private_whatever_the_umask(umask, body, tmp_path):
    before = os.umask(umask)
    try:
        async with RawServer(answer(body)) as server, impatient(server.base_url) as client:
            dest = tmp_path / "a" / "b"
            await client.fetch_recording("call_x", f"{dest}/")
    finally:
        os.umask(before)
    modes = {
        str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode)
        for path in tmp_path.rglob("*")
    }
    assert modes == {"a": 0o700, "a/b": 0o700, "a/b/recording-call_x.wav": 0o600}


async def test_a_large_body_grows_beside_its_final_name_hidden_and_private(tmp_path):
    script = then_hold(answer(STREAMED)[: 3 * 1024 * 1024])
    arrived = 0
    seen = {}

    def progress(size):
        nonlocal arrived
        arrived += size
        if arrived > 2.5 * 1024 * 1024 and not seen:
            seen.update({path.name: path.stat() for path in tmp_path.iterdir()})
            server.connections[0].reset()

    async with RawServer(script) as server, impatient(server.base_url, attempts=1) as client:
        with pytest.raises(TransportError, match=r"broke off|closed"):
            await client.fetch_recording("call_x", tmp_path, progress=progress)
    ((name, facts),) = seen.items()
    assert name.startswith(".agentphone-")
    assert name.endswith(".part")
    assert stat.S_IMODE(facts.st_mode) == 0o600
    assert_nothing_left(tmp_path)


FLAC = b"fLaC\0\0\0\x22" + bytes(10) + (8000 << 44 | 15 << 36 | 16_000).to_bytes(8) + bytes(500)

CONTENTS = {
    "streamed sizes": (wave(9_044, declared=0xFFFFFFFF), WAV, "wav", "audio/wav", False),
    "header only": (wave(44), WAV, "wav", "audio/wav", False),
    "header claims more, length agrees": (
        wave(9_044, declared=20_000), WAV, "wav", "audio/wav", True,
    ),
    "no audio type at all": (SMALL, None, "wav", "audio/wav", False),
    "octet-stream": (SMALL, "application/octet-stream", "wav", "audio/wav", False),
    "wave with parameters": (SMALL, "Audio/X-WAV; rate=8000", "wav", "audio/wav", False),
    "mpeg": (b"\xff\xfb\x90\xc4" * 1000, "audio/mpeg", "mp3", "audio/mpeg", False),
    "mpeg with a tag": (b"ID3\x04\x00" + bytes(900), "audio/mpeg", "mp3", "audio/mpeg", False),
    "mpeg as octet-stream": (
        b"\xff\xfb\x90\xc4" * 9, "application/octet-stream", "mp3", "audio/mpeg", False,
    ),
    "mpeg called wav": (b"\xff\xfb\x90\xc4" * 9, WAV, "mp3", "audio/mpeg", False),
    "wav called mpeg": (SMALL, "audio/mpeg", "wav", "audio/wav", False),
    "wav called text": (SMALL, "text/plain", "wav", "audio/wav", False),
    "wav called a page": (SMALL, "text/html; charset=utf-8", "wav", "audio/wav", False),
    "flac called wav": (FLAC, WAV, "flac", "audio/flac", False),
}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "told", "extension", "media_type", "suspect"), CONTENTS.values(), ids=CONTENTS
)
async def test_the_bytes_decide_what_they_are(body, told, extension, media_type, suspect, tmp_path):
    script = answer(body, content_type=told)
    async with RawServer(script) as server, impatient(server.base_url) as client:
        recording = await client.fetch_recording("call_x", tmp_path)
    assert files(tmp_path) == {f"recording-call_x.{extension}": body}
    assert recording.media_type == media_type
    assert (recording.suspect is not None) == suspect
    assert len(server.requests) == 1


async def test_a_streamed_header_without_any_framing_is_kept_as_suspect(tmp_path):
    body = wave(9_044, declared=0xFFFFFFFF)
    async with RawServer(without_length(body)) as server, impatient(server.base_url) as client:
        recording = await client.fetch_recording("call_x", tmp_path)
    assert files(tmp_path) == {"recording-call_x.wav": body}
    assert recording.suspect is not None


async def test_the_validator_is_handed_on_as_it_came(tmp_path):
    script = answer(SMALL, etag='W/"v1"')
    async with RawServer(script) as server, impatient(server.base_url) as client:
        recording = await client.fetch_recording("call_x", tmp_path)
    assert recording.etag == 'W/"v1"'


class TestSize:
    async def test_a_length_over_the_limit_is_refused_before_the_body(self, tmp_path):
        script = then_hold(answer(b"", content_length="1000001"))
        async with (
            RawServer(script) as server,
            impatient(server.base_url, max_file_size=1_000_000) as client,
        ):
            with pytest.raises(RecordingTooLargeError):
                await client.fetch_recording("call_x", tmp_path)
            assert client._budget.held == 0
        assert len(server.requests) == 1
        assert_nothing_left(tmp_path)

    async def test_an_endless_body_is_cut_at_the_limit(self, tmp_path):
        async def endless(connection, _request):
            head = answer(wave(100_000, declared=0xFFFFFFFF), content_length=None)
            await connection.send(head)
            while not connection.gone.is_set():
                await connection.send(bytes(100_000))

        async with (
            RawServer(endless) as server,
            impatient(server.base_url, max_file_size=6_000_000) as client,
        ):
            with pytest.raises(RecordingTooLargeError) as caught:
                await client.fetch_recording("call_x", tmp_path)
            assert client._budget.held == 0
        assert caught.value.received <= 6_000_000 + 1024 * 1024
        assert len(server.requests) == 1
        assert_nothing_left(tmp_path)

    async def test_a_compression_bomb_meets_the_limit(self, tmp_path):
        bomb = gzip.compress(wave(30_000) + bytes(40_000_000), 9)
        script = answer(bomb, content_encoding="gzip")
        async with (
            RawServer(script) as server,
            impatient(server.base_url, max_file_size=2_000_000) as client,
        ):
            with pytest.raises(RecordingTooLargeError) as caught:
                await client.fetch_recording("call_x", tmp_path)
        assert caught.value.received <= 2_000_000 + 1024 * 1024
        assert_nothing_left(tmp_path)

    async def test_a_body_of_just_the_limit_is_taken(self, tmp_path):
        async with (
            RawServer(answer(SMALL)) as server,
            impatient(server.base_url, max_file_size=len(SMALL)) as client,
        ):
            assert (await client.fetch_recording("call_x", tmp_path)).size == len(SMALL)


class TestIds:
    @pytest.mark.parametrize(
        "call_id",
        ["../escape", "/etc/passwd", "a/b", "..\\up", "nul\0byte", "new\nline", "\x1b[31m",
         "CON", "\u202egnp", "x" * 1000, "\udcff"],
    )  # fmt: skip
    async def test_a_hostile_id_becomes_one_safe_name_inside(self, call_id, tmp_path):
        inside = tmp_path / "inside"
        inside.mkdir()
        async with RawServer(answer(SMALL)) as server, impatient(server.base_url) as client:
            recording = await client.fetch_recording(call_id, inside)
        (name,) = files(tmp_path)
        assert name.startswith("inside/recording-")
        assert recording.path.name.isascii()
        assert recording.path.name.isprintable()
        target = server.requests[0].target
        assert target.startswith("/v1/calls/")
        assert target.endswith("/recording")
        assert target.count("/") == 4

    @pytest.mark.parametrize("call_id", ["", ".", "..", "...", "x" * 10_000])
    async def test_an_id_that_no_url_can_carry_is_refused_by_name(self, call_id, tmp_path):
        async with RawServer(answer(SMALL)) as server, impatient(server.base_url) as client:
            with pytest.raises(InvalidIdError, match="call id"):
                await client.fetch_recording(call_id, tmp_path)
        assert server.requests == []
        assert_nothing_left(tmp_path)

    async def test_ids_that_differ_only_by_case_keep_apart(self, tmp_path):
        async with (
            RawServer(answer(SMALL), answer(GATHERED)) as server,
            impatient(server.base_url) as client,
        ):
            lower = await client.fetch_recording("call_a", tmp_path)
            upper = await client.fetch_recording("call_A", tmp_path)
        assert lower.path.name.lower() != upper.path.name.lower()
        assert lower.path.read_bytes() == SMALL
        assert upper.path.read_bytes() == GATHERED


async def test_an_exception_in_a_progress_hook_does_not_cost_the_recording(tmp_path):
    def progress(_):
        raise ZeroDivisionError

    async with RawServer(answer(SMALL)) as server, impatient(server.base_url) as client:
        recording = await client.fetch_recording("call_x", tmp_path, progress=progress)
        assert client._budget.held == 0
    assert recording.path.read_bytes() == SMALL


async def test_progress_counts_every_byte_that_arrives(tmp_path):
    counted = []
    async with RawServer(answer(STREAMED)) as server, impatient(server.base_url) as client:
        await client.fetch_recording("call_x", tmp_path, progress=counted.append)
    assert sum(counted) == len(STREAMED)


async def test_large_bodies_never_lie_in_memory_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "GATHERED", 100_000)
    monkeypatch.setattr(transfer, "STEP", 50_000)
    held = []
    async with RawServer(answer(GATHERED)) as server, impatient(server.base_url) as client:
        await client.fetch_recording(
            "call_x", tmp_path, progress=lambda _: held.append(client._budget.held)
        )
        assert client._budget.held == 0
    assert max(held) <= 100_000
    assert files(tmp_path) == {"recording-call_x.wav": GATHERED}


@pytest.mark.parametrize(
    ("body", "waits_in_memory"),
    [(wave(interface.SMALL), True), (wave(interface.SMALL + 2), False), (STREAMED, False)],
    ids=["small", "gathered", "streamed"],
)
async def test_only_small_bodies_wait_in_memory_to_be_published(body, waits_in_memory, tmp_path):
    async with RawServer(answer(body)) as server, impatient(server.base_url) as client:
        sink = LocalSink(tmp_path)
        fetcher = Fetcher(client.session, sink)
        fetched = await fetcher.fetch("call_x", flat_target("call_x", None))
        assert isinstance(fetched.ready, interface.Body) is waits_in_memory
        assert fetcher.budget.held == fetched.held == (len(body) if waits_in_memory else 0)
        fetcher.budget.release(fetched.held)
        assert list(files(tmp_path).values()) == ([] if waits_in_memory else [body])
        await sink.aclose()
        assert files(tmp_path) == {}
