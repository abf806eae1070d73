from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from agentphone_async.emulator import audio_bytes, damaged_wave
from agentphone_async.errors import (
    NotAudioError,
    RecordingTooLargeError,
    TruncatedRecordingError,
)
from agentphone_async.protocol import endpoints, recording
from agentphone_async.protocol.ranges import Validator
from agentphone_async.protocol.recording import (
    HEAD_BYTES,
    Expected,
    expected_body,
    extension_of,
    judge,
    not_audio,
    refuse_size,
    short,
)
from agentphone_async.protocol.wav import Verdict, inspect

REQUEST = endpoints.get_recording("call_1")
WAVE = audio_bytes(1, "call_1", 0.5)
MPEG = bytes.fromhex("fffb9064") + bytes(413) + bytes.fromhex("fffb9064") + bytes(413)
FRAMED = Expected("audio/wav", len(WAVE), framed=True, validator=None)
OPEN = Expected("audio/wav", None, framed=False, validator=None)


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
    expected = expected_body(headers(**fields))
    assert (expected.media_type, expected.length, expected.framed) == (media_type, length, framed)


def test_a_part_is_known_again_by_length_and_validator():
    given = expected_body(headers(ETag='"x"', Content_Length="9"))
    assert given.mark is None, "nobody has looked yet"
    given.validator = Validator(etag='"x"')
    assert given.mark == '9 "x"'
    given.validator = Validator()
    assert given.mark is None


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
    expected = Expected(media_type, len(body), framed=True, validator=None)
    with pytest.raises(NotAudioError, match="call_1 is not audio") as caught:
        judge(REQUEST, expected, body, len(body))
    assert not caught.value.transient
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("expected", "suspect"),
    [
        (Expected("audio/mpeg", 834, framed=True, validator=None), None),
        (Expected("", 834, framed=True, validator=None), None),
        (Expected("audio/wav", 834, framed=True, validator=None), None),
        (Expected("text/plain", 834, framed=True, validator=None), None),
        (Expected("audio/mpeg", None, framed=False, validator=None), "end is missing"),
    ],
)
def test_mpeg(expected: Expected, suspect: str | None):
    audio = judge(REQUEST, expected, MPEG, len(MPEG))
    assert audio.media_type == "audio/mpeg"
    assert (audio.suspect is None) if suspect is None else suspect in str(audio.suspect)


@pytest.mark.parametrize("media_type", ["audio/mpeg", "text/plain", "text/html", "image/png", ""])
def test_a_wave_is_one_whatever_it_is_called(media_type: str):
    expected = Expected(media_type, len(WAVE), framed=True)
    audio = judge(REQUEST, expected, WAVE, len(WAVE))
    assert (audio.media_type, audio.suspect) == ("audio/wav", None)


@given(st.binary(min_size=44, max_size=60), st.integers(0, 2))
def test_the_usual_case_is_judged_as_every_other(tail: bytes, cut: int):
    """The short cut for the usual header must say what the long way says."""
    body = WAVE[:44] + tail
    for size in (len(body), len(WAVE), len(WAVE) - cut, 44):
        usual, facts = recording.usual_wave(body, size), inspect(body[:size], size)
        if usual is not None:
            assert facts.verdict is Verdict.WHOLE
            assert usual.duration_seconds == facts.duration_seconds
            assert (usual.sample_rate, usual.channels) == (facts.header.rate, facts.header.channels)
    assert recording.usual_wave(WAVE, len(WAVE)) is not None


@given(
    st.binary(max_size=200),
    st.sampled_from(["audio/wav", "audio/mpeg", "", "audio/x"]),
    st.booleans(),
)
def test_no_bytes_break_the_judgement(body: bytes, media_type: str, framed: bool):
    expected = Expected(media_type, None, framed=framed, validator=None)
    try:
        audio = judge(REQUEST, expected, body, len(body))
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
    assert extension_of("audio/mpeg") == ".mp3"
    assert extension_of("audio/flac") == ".flac"
    assert extension_of("audio/wav") == extension_of("") == ".wav"


def test_the_first_bytes_are_quoted():
    error = not_audio(REQUEST, "text/html", b"<html>\x1b[2J" + b"x" * 999)
    assert "text/html, '<html>\\x1b[2J" in str(error)
    assert len(str(error)) < 400


@pytest.mark.parametrize(
    "body", [b"RIFF", b"RIFF\x64\0\0\0WAVE", b"RIFF\x64\0\0\0WAVEjunk\4\0\0\0abcd"]
)
def test_a_whole_body_that_breaks_off_before_any_format_is_no_audio(body):
    expected = expected_body(
        CIMultiDict({"Content-Type": "audio/wav", "Content-Length": str(len(body))})
    )
    with pytest.raises(NotAudioError):
        judge(REQUEST, expected, body, len(body))
