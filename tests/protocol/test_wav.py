"""The WAVE classifier never raises, and never calls a file whole that lacks bytes."""

from __future__ import annotations

import io
import struct
import wave

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentphone_async.protocol.wav import HEAD_SIZE, Stop, Verdict, WaveFacts, inspect

STREAM = 0xFFFFFFFF


def fmt(
    tag: int = 1, channels: int = 1, rate: int = 8000, bits: int = 16, *, order: str = "<"
) -> bytes:
    block = channels * bits // 8
    return struct.pack(order + "HHIIHH", tag, channels, rate, rate * block, block, bits)


def chunk(ident: bytes, body: bytes, *, size: int | None = None, pad: bool = True) -> bytes:
    declared = len(body) if size is None else size
    return ident + struct.pack("<I", declared) + body + (b"\0" if pad and len(body) % 2 else b"")


def riff(*chunks: bytes, size: int | None = None, form: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return form + struct.pack("<I", len(body) if size is None else size) + body


def look(data: bytes) -> WaveFacts:
    return inspect(data[:HEAD_SIZE], len(data))


AUDIO = bytes(range(200)) * 8  # 1600 bytes, 0.1 s at 8 kHz, 16 bit, mono
FMT = chunk(b"fmt ", fmt())
LIST = chunk(b"LIST", b"INFOISFT\x06\0\0\0Lavf60")
FACT = chunk(b"fact", struct.pack("<I", 800))
BIG_JUNK = chunk(b"JUNK", bytes(70_000))
EXTENSIBLE = chunk(
    b"fmt ",
    fmt(tag=0xFFFE, channels=2, rate=48_000)
    + struct.pack("<HHI", 22, 16, 3)
    + b"\x07\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71",
)
EMPTY = chunk(b"data", b"")


def rf64(audio: bytes, *, data_size: int | None = None, with_ds64: bool = True) -> bytes:
    declared = len(audio) if data_size is None else data_size
    length = 4 + (36 if with_ds64 else 0) + 24 + 8 + len(audio)
    ds64 = chunk(b"ds64", struct.pack("<QQQI", length, declared, 800, 0)) if with_ds64 else b""
    return riff(ds64, FMT, chunk(b"data", audio, size=STREAM), size=STREAM, form=b"RF64")


def rifx(audio: bytes) -> bytes:
    body = b"WAVEfmt " + struct.pack(">I", 16) + fmt(order=">")
    body += b"data" + struct.pack(">I", len(audio)) + audio
    return b"RIFX" + struct.pack(">I", len(body)) + body


WHOLE = {
    "canonical": riff(FMT, chunk(b"data", AUDIO)),
    "chunks before": riff(FMT, FACT, LIST, chunk(b"data", AUDIO)),
    "chunks after": riff(FMT, chunk(b"data", AUDIO), LIST, FACT),
    "chunks after, beyond the head": riff(FMT, chunk(b"data", AUDIO * 50), LIST),
    "audio beyond the head": riff(FMT, BIG_JUNK, chunk(b"data", AUDIO)),
    "odd with pad": riff(FMT, chunk(b"data", AUDIO[:-1])),
    "odd with pad and chunks": riff(FMT, chunk(b"data", AUDIO[:-1]), LIST),
    "odd chunk before without pad": riff(
        FMT, chunk(b"LIST", b"odd", pad=False), chunk(b"data", AUDIO)
    ),
    "mu-law": riff(chunk(b"fmt ", fmt(7, bits=8) + b"\0\0"), FACT, chunk(b"data", AUDIO)),
    "A-law stereo": riff(chunk(b"fmt ", fmt(6, channels=2, bits=8)), chunk(b"data", AUDIO)),
    "extensible": riff(EXTENSIBLE, chunk(b"data", AUDIO)),
    "RIFX": rifx(AUDIO),
    "RF64": rf64(AUDIO),
    "RIFF size never written": riff(FMT, chunk(b"data", AUDIO), size=0),
    "RIFF size all ones": riff(FMT, chunk(b"data", AUDIO), size=STREAM),
    "tag appended without telling RIFF": riff(FMT, chunk(b"data", AUDIO)) + chunk(b"id3 ", b"ID3"),
}
OTHERS = {
    "odd without pad": (Verdict.ODD_PAD, riff(FMT, chunk(b"data", AUDIO[:-1], pad=False))),
    "odd without pad, RIFF counts it": (
        Verdict.ODD_PAD,
        riff(FMT, chunk(b"data", AUDIO[:-1], pad=False), size=36 + 1600),
    ),
    "odd without pad, chunks follow": (
        Verdict.ODD_PAD,
        riff(FMT, chunk(b"data", AUDIO[:-1], pad=False), LIST),
    ),
    "streamed all ones": (
        Verdict.STREAMED,
        riff(FMT, LIST, chunk(b"data", AUDIO, size=STREAM), size=STREAM),
    ),
    "streamed zero": (Verdict.STREAMED, riff(FMT, chunk(b"data", AUDIO, size=0), size=0)),
    "never patched": (Verdict.STREAMED, riff(FMT, chunk(b"data", AUDIO, size=0), size=36)),
    "streamed, RIFF right": (Verdict.STREAMED, riff(FMT, chunk(b"data", AUDIO, size=0))),
    "sox to a pipe": (
        Verdict.STREAMED,
        riff(FMT, chunk(b"data", AUDIO, size=0x7FFFF000), size=0x7FFFF024),
    ),
    "arecord": (
        Verdict.STREAMED,
        riff(FMT, chunk(b"data", AUDIO, size=0x80000000), size=0x80000024),
    ),
    "ffmpeg less header": (
        Verdict.STREAMED,
        riff(FMT, chunk(b"data", AUDIO, size=STREAM - 36), size=STREAM),
    ),
    "RF64 without ds64": (Verdict.STREAMED, rf64(AUDIO, with_ds64=False)),
    "RF64 of unknown length": (Verdict.STREAMED, rf64(AUDIO, data_size=2**64 - 1)),
    "audio missing": (Verdict.TRUNCATED, riff(FMT, chunk(b"data", AUDIO))[:-1]),
    "RF64 audio missing": (Verdict.TRUNCATED, rf64(AUDIO)[:-2]),
    "chunk after missing": (
        Verdict.TRUNCATED,
        riff(FMT, chunk(b"data", AUDIO), LIST)[: -len(LIST)],
    ),
    "streamed but RIFF knows": (
        Verdict.TRUNCATED,
        riff(FMT, chunk(b"data", AUDIO, size=0))[:-10],
    ),
    "cut inside fmt": (Verdict.TRUNCATED, riff(FMT, chunk(b"data", AUDIO))[:30]),
    "cut inside RIFF": (Verdict.TRUNCATED, b"RIFF\x40\x06\0\0WA"),
    "cut inside a chunk header": (
        Verdict.TRUNCATED,
        riff(FMT, chunk(b"data", AUDIO), size=STREAM)[:40],
    ),
    "cut before the audio beyond the head": (
        Verdict.TRUNCATED,
        riff(FMT, BIG_JUNK, chunk(b"data", AUDIO))[:-1],
    ),
    "surplus": (Verdict.SURPLUS, riff(FMT, chunk(b"data", AUDIO)) + b"\0" * 7),
    "surplus beyond the head": (Verdict.SURPLUS, riff(FMT, chunk(b"data", AUDIO * 50)) + b"LIST"),
    "surplus inside RIFF": (Verdict.SURPLUS, riff(FMT, chunk(b"data", AUDIO), b"garbage\0garbage")),
    "surplus after chunks": (Verdict.SURPLUS, riff(FMT, chunk(b"data", AUDIO), LIST) + b"<html>"),
    "two files in one": (
        Verdict.SURPLUS,
        riff(FMT, chunk(b"data", AUDIO)) + riff(FMT, chunk(b"data", AUDIO))[:100],
    ),
    "header only": (Verdict.HEADER_ONLY, riff(FMT, EMPTY)),
    "header only, streamed": (
        Verdict.HEADER_ONLY,
        riff(FMT, chunk(b"data", b"", size=STREAM), size=STREAM),
    ),
    "header only with chunks": (Verdict.HEADER_ONLY, riff(FMT, EMPTY, LIST)),
    "no data chunk": (Verdict.HEADER_ONLY, riff(FMT, LIST)),
    "less than a frame": (Verdict.HEADER_ONLY, riff(FMT, chunk(b"data", b"\1"))),
    "empty": (Verdict.NOT_WAVE, b""),
    "html": (Verdict.NOT_WAVE, b"<!DOCTYPE html><html></html>"),
    "avi": (Verdict.NOT_WAVE, b"RIFF\x40\0\0\0AVI LIST"),
    "data before fmt": (Verdict.NOT_WAVE, riff(chunk(b"data", AUDIO), FMT)),
    "no channels": (Verdict.NOT_WAVE, riff(chunk(b"fmt ", fmt(channels=0)), chunk(b"data", AUDIO))),
    "no rate": (Verdict.NOT_WAVE, riff(chunk(b"fmt ", fmt(rate=0)), chunk(b"data", AUDIO))),
    "not a chunk": (Verdict.NOT_WAVE, riff(FMT, b"\0\1\2\3\4\0\0\0abcd")),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file(name: str) -> None:
    facts = look(WHOLE[name])
    assert (facts.verdict, facts.is_audio) == (Verdict.WHOLE, True), facts


@pytest.mark.parametrize("name", OTHERS)
def test_everything_else(name: str) -> None:
    verdict, data = OTHERS[name]
    facts = look(data)
    assert facts.verdict is verdict, facts
    assert facts.reason.isprintable()
    if verdict in (Verdict.NOT_WAVE, Verdict.HEADER_ONLY):
        assert not facts.is_audio


def test_the_facts_of_a_plain_file() -> None:
    facts, header = look(WHOLE["canonical"]), look(WHOLE["canonical"]).header
    assert (facts.verdict, facts.reason) == (Verdict.WHOLE, "all audio is there")
    assert (facts.is_audio, facts.duration_seconds) == (True, 0.1)
    assert (header.tag, header.rate, header.channels, header.bits) == (1, 8000, 1, 16)
    assert (header.next_offset, header.data_size) == (44, 1600)


@pytest.mark.parametrize(
    ("name", "tag", "seconds"),
    [
        ("mu-law", 7, 0.2),
        ("A-law stereo", 6, 0.1),
        ("extensible", 7, 1600 / 4 / 48_000),
        ("RIFX", 1, 0.1),
        ("RF64", 1, 0.1),
        ("odd with pad", 1, 799 / 8000),
    ],
)
def test_codec_and_duration(name: str, tag: int, seconds: float) -> None:
    facts = look(WHOLE[name])
    assert (facts.header.tag, facts.duration_seconds) == (tag, pytest.approx(seconds))


def test_the_duration_counts_what_is_there_not_what_is_declared() -> None:
    facts = look(riff(FMT, chunk(b"data", AUDIO, size=160_000)))
    assert (facts.verdict, facts.duration_seconds) == (Verdict.TRUNCATED, 0.1)


def test_compressed_audio_lasts_as_long_as_its_byte_rate_says() -> None:
    gsm = struct.pack("<HHIIHHHH", 0x31, 1, 8000, 1625, 65, 0, 2, 320)
    facts = look(riff(chunk(b"fmt ", gsm), chunk(b"data", bytes(3250))))
    assert (facts.header.tag, facts.duration_seconds) == (0x31, 2.0)


@settings(max_examples=60)
@given(
    channels=st.integers(1, 2),
    width=st.sampled_from([1, 2]),
    rate=st.sampled_from([8000, 16000, 44100]),
    frames=st.integers(1, 300),
)
def test_agrees_with_the_standard_library(
    channels: int, width: int, rate: int, frames: int
) -> None:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(bytes(frames * channels * width))
    facts = look(buffer.getvalue())
    assert facts.verdict in (Verdict.WHOLE, Verdict.ODD_PAD)
    assert (facts.header.channels, facts.header.rate) == (channels, rate)
    assert facts.duration_seconds == pytest.approx(frames / rate)


@settings(max_examples=200)
@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_cut_anywhere_it_is_never_whole(name: str, data: st.DataObject) -> None:
    whole = WHOLE[name]
    end = len(whole)
    if "RIFF" in name:  # the size is unknown or wrong there: only the data chunk can vouch
        end = 44 + len(AUDIO)
    cut = data.draw(st.integers(1, end - 1))
    facts = look(whole[:cut])
    assert facts.verdict is not Verdict.WHOLE
    if facts.verdict is Verdict.ODD_PAD:
        assert cut == end - 1


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 3000),
)
def test_a_mutated_header_never_makes_a_short_file_whole(
    name: str, changes: list[tuple[int, int]], cut: int
) -> None:
    body = bytearray(WHOLE[name])
    for position, value in changes:
        body[position] = value
    data = bytes(body[: max(0, len(body) - cut)])
    facts = look(data)
    declared_end = facts.header.next_offset + facts.header.data_size
    if facts.verdict in (Verdict.WHOLE, Verdict.ODD_PAD):
        assert declared_end <= len(data) or facts.header.stop is not Stop.DATA
    if facts.is_audio and facts.header.stop is Stop.DATA:
        assert facts.header.next_offset < len(data)
    assert facts.duration_seconds is None or 0 <= facts.duration_seconds < 2**64


@settings(max_examples=200)
@given(
    st.binary(max_size=120),
    st.integers(-5, 2**70),
    st.sampled_from(
        [
            b"",
            *map(
                bytes,
                [
                    b"RIFF\xff\xff\xff\xffWAVE",
                    b"RF64\0\0\0\0WAVEds64\x1c\0\0\0",
                    b"RIFX\0\0\0\x40WAVE",
                ],
            ),
        ]
    ),
)
def test_it_never_raises(tail: bytes, size: int, start: bytes) -> None:
    assert isinstance(inspect(start + tail, size), WaveFacts)


def test_a_head_full_of_tiny_chunks_ends() -> None:
    assert look(riff(*[b"aaaa\0\0\0\0"] * 8190)).verdict is Verdict.NOT_WAVE
    assert look(riff(*[b"aaaa\0\0\0\0"] * 9000)).verdict is Verdict.STREAMED


@pytest.mark.parametrize(
    ("tag", "rate", "byte_rate", "samples", "audio", "seconds"),
    [
        (0x11, 8000, 999, 16_000, 8_112, 2.0),  # IMA ADPCM, and a byte rate that is wrong
        (0x31, 8000, 1, 8_000, 1_625, 1.0),
        (0x55, 44_100, 16_000, 88_200, 32_000, 2.0),
        (0x11, 8000, 4_055, 0, 8_110, 2.0),  # a fact that says nothing
        (0x01, 8000, 1, 99, 16_000, 1.0),  # PCM needs none
    ],
)
def test_codecs_are_as_long_as_their_fact_chunk_says(tag, rate, byte_rate, samples, audio, seconds):
    head = struct.pack("<HHIIHH", tag, 1, rate, byte_rate, 2, 16)
    body = riff(
        chunk(b"fmt ", head),
        chunk(b"fact", struct.pack("<I", samples)),
        chunk(b"data", bytes(audio)),
    )
    facts = inspect(body, len(body))
    assert facts.verdict is Verdict.WHOLE
    assert facts.duration_seconds == pytest.approx(seconds)
    cut = inspect(body, len(body) - audio // 2)
    assert cut.verdict is Verdict.TRUNCATED
    assert cut.duration_seconds == pytest.approx(seconds / 2, rel=0.01)
