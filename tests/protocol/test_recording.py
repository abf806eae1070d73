from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from agentphone_async.emulator import damaged_wave
from agentphone_async.emulator.audio import audio_bytes
from agentphone_async.errors import (
    NotAudioError,
    RecordingTooLargeError,
    TruncatedRecordingError,
)
from agentphone_async.protocol import endpoints
from agentphone_async.protocol.recording import (
    HEAD_BYTES,
    Promise,
    extension_of,
    judge,
    not_audio,
    promise_of,
    refuse_size,
    short,
)

REQUEST = endpoints.get_recording("call_1")
WAVE = audio_bytes(1, "call_1", 0.5)
MPEG = bytes.fromhex("fffb9064") + bytes(413) + bytes.fromhex("fffb9064") + bytes(413)
FRAMED = Promise("audio/wav", len(WAVE), framed=True, validator=None)
OPEN = Promise("audio/wav", None, framed=False, validator=None)


def headers(**fields: str) -> CIMultiDict[str]:
    return CIMultiDict({name.replace("_", "-"): value for name, value in fields.items()})


@pytest.mark.parametrize(
    ("fields", "media_type", "length", "framed"),
    [
        ({"Content_Type": "audio/wav", "Content_Length": "44"}, "audio/wav", 44, True),
        ({"Content_Type": "Audio/X-WAV; codecs=1"}, "audio/x-wav", None, False),
        ({}, "", None, False),
        ({"Transfer_Encoding": "chunked"}, "", None, True),
        ({"Transfer_Encoding": "Chunked", "Content_Length": "7"}, "", None, True),
        ({"Content_Length": "ten"}, "", None, False),
        ({"Content_Length": "-1"}, "", None, False),
        ({"Content_Length": "٣"}, "", None, False),
        ({"Content_Encoding": "gzip", "Content_Length": "7", "ETag": '"x"'}, "", None, True),
        ({"Content_Encoding": "identity", "Content_Length": "7"}, "", 7, True),
    ],
)
def test_what_a_head_promises(fields, media_type, length, framed):
    promise = promise_of(headers(**fields))
    assert (promise.media_type, promise.length, promise.framed) == (media_type, length, framed)


def test_coded_bytes_cannot_be_resumed():
    assert promise_of(headers(ETag='"x"')).validator is not None
    assert promise_of(headers(ETag='"x"', Content_Encoding="gzip")).validator is None


@pytest.mark.parametrize(
    ("media_type", "may"),
    [
        ("audio/wav", True),
        ("audio/mpeg", True),
        ("audio/anything", True),
        ("application/octet-stream", True),
        ("", True),
        ("text/html", False),
        ("application/json", False),
        ("video/mp4", False),
    ],
)
def test_which_media_types_leave_it_open(media_type: str, may: bool):
    assert Promise(media_type, None, framed=False, validator=None).may_be_audio is may


def test_a_whole_wave():
    audio = judge(REQUEST, FRAMED, WAVE[:HEAD_BYTES], len(WAVE))
    assert audio.media_type == "audio/wav"
    assert (audio.sample_rate, audio.channels) == (8000, 1)
    assert audio.duration_seconds == pytest.approx(0.5, abs=0.01)
    assert audio.suspect is None


def test_a_wave_that_was_cut_where_nothing_else_could_tell():
    with pytest.raises(TruncatedRecordingError, match="call_1 was cut off") as caught:
        judge(REQUEST, OPEN, WAVE[:-100], len(WAVE) - 100)
    assert caught.value.transient


def test_a_wave_that_is_cut_at_the_server_is_kept_and_suspect():
    audio = judge(REQUEST, FRAMED, WAVE[:-100], len(WAVE) - 100)
    assert audio.suspect


def test_streamed_sizes_are_sound_only_where_the_end_is_framed():
    wave = damaged_wave(WAVE, "streamed")
    assert judge(REQUEST, FRAMED, wave, len(wave)).suspect is None
    assert judge(REQUEST, OPEN, wave, len(wave)).suspect


@pytest.mark.parametrize("body", [b"", b"<html>sorry", b'{"detail": "x"}', b"\0" * 500])
@pytest.mark.parametrize("media_type", ["audio/wav", "audio/mpeg", ""])
def test_what_is_no_audio(body: bytes, media_type: str):
    promise = Promise(media_type, len(body), framed=True, validator=None)
    with pytest.raises(NotAudioError, match="call_1 is no audio") as caught:
        judge(REQUEST, promise, body, len(body))
    assert not caught.value.transient
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("promise", "suspect"),
    [
        (Promise("audio/mpeg", 834, framed=True, validator=None), None),
        (Promise("", 834, framed=True, validator=None), None),
        (Promise("audio/wav", 834, framed=True, validator=None), "the bytes are MPEG"),
        (Promise("audio/mpeg", None, framed=False, validator=None), "end is missing"),
    ],
)
def test_mpeg(promise: Promise, suspect: str | None):
    audio = judge(REQUEST, promise, MPEG, len(MPEG))
    assert audio.media_type == "audio/mpeg"
    assert (audio.suspect is None) if suspect is None else suspect in str(audio.suspect)


def test_a_wave_that_is_called_mpeg():
    promise = Promise("audio/mpeg", len(WAVE), framed=True, validator=None)
    audio = judge(REQUEST, promise, WAVE, len(WAVE))
    assert (audio.media_type, audio.suspect) == ("audio/wav", "called MPEG, but the bytes are WAVE")


@given(
    st.binary(max_size=200),
    st.sampled_from(["audio/wav", "audio/mpeg", "", "audio/x"]),
    st.booleans(),
)
def test_no_bytes_break_the_judgement(body: bytes, media_type: str, framed: bool):
    promise = Promise(media_type, None, framed=framed, validator=None)
    try:
        audio = judge(REQUEST, promise, body, len(body))
    except (NotAudioError, TruncatedRecordingError):
        return
    assert audio.media_type


def test_sizes():
    refuse_size(REQUEST, 10, None)
    refuse_size(REQUEST, 10, 10)
    with pytest.raises(RecordingTooLargeError, match="11 bytes or more; the limit is 10"):
        refuse_size(REQUEST, 11, 10)
    assert "ended after 3 of 9 bytes" in str(short(REQUEST, 3, 9))
    assert "ended after 3 bytes" in str(short(REQUEST, 3, None))


def test_extensions():
    assert extension_of("audio/mpeg") == extension_of("audio/mp3") == ".mp3"
    assert extension_of("audio/wav") == extension_of("") == ".wav"


def test_the_first_bytes_are_quoted():
    error = not_audio(REQUEST, "text/html", b"<html>\x1b[2J" + b"x" * 999)
    assert "text/html, '<html>\\x1b[2J" in str(error)
    assert len(str(error)) < 400


@pytest.mark.parametrize(
    "body", [b"RIFF", b"RIFF\x64\0\0\0WAVE", b"RIFF\x64\0\0\0WAVEjunk\4\0\0\0abcd"]
)
def test_a_whole_body_that_breaks_off_before_any_format_is_no_audio(body):
    promise = promise_of(
        CIMultiDict({"Content-Type": "audio/wav", "Content-Length": str(len(body))})
    )
    with pytest.raises(NotAudioError):
        judge(REQUEST, promise, body, len(body))
