"""Audio that is not WAVE: each format by its mark, with the length that its bytes tell."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentphone_async.protocol.durations import Facts, measure
from agentphone_async.protocol.formats import EXTENSIONS, look_like


def aiff(kind: bytes, codec: bytes = b"", frames: int = 16_000) -> bytes:
    rate = struct.pack(">HQ", 16383 + 12, 8000 << 51)
    comm = struct.pack(">HIH", 1, frames, 16) + rate + codec
    name = b"NAME" + struct.pack(">I", 5) + b"COMM!\0"  # text that looks like the chunk
    content = kind + name + b"COMM" + struct.pack(">I", len(comm)) + comm
    return b"FORM" + struct.pack(">I", len(content)) + content


def w64() -> bytes:
    guid = bytes.fromhex("f3acd3118cd100c04f8edb8a")
    fmt = b"fmt " + guid + struct.pack("<Q", 40) + struct.pack("<HHIIHH", 1, 1, 8000, 16_000, 2, 16)
    data = b"data" + guid + struct.pack("<Q", 24 + 32_000) + bytes(32_000)
    riff = bytes.fromhex("726966662e91cf11a5d628db04c10000")
    return riff + struct.pack("<Q", 40 + len(fmt) + len(data)) + b"wave" + guid + fmt + data


def ogg(head: bytes, granule: int) -> bytes:
    page = b"OggS\0\x02" + bytes(8) + bytes(12) + b"\x01" + bytes([len(head)]) + head
    return page + bytes(300) + b"OggS\0\x04" + struct.pack("<q", granule) + bytes(12) + b"\0"


def mp4(*, wide: bool = False, last: bool = False, length: int = 2000) -> bytes:
    times = (
        struct.pack(">QQIQ", 0, 0, 1000, length)
        if wide
        else struct.pack(">IIII", 0, 0, 1000, length)
    )
    mvhd = struct.pack(">I4s", 12 + len(times), b"mvhd") + bytes([wide, 0, 0, 0]) + times
    moov = struct.pack(">I4s", 8 + len(mvhd), b"moov") + mvhd
    mdat = struct.pack(">I4sQ", 1, b"mdat", 70_016) + b"mvhd" + bytes(69_996)  # audio by chance
    return b"\0\0\0\x10ftypM4A \0\0\0\0" + (mdat + moov if last else moov + mdat)


def mp3_frame(bitrate: int = 9, content: bytes = b"") -> bytes:
    """MPEG 1, layer III, 44.1 kHz, mono; 128 kbit/s by default."""
    size = 144 * (32, 40, 48, 56, 64, 80, 96, 112, 128)[bitrate - 1] * 1000 // 44_100
    return (bytes([0xFF, 0xFB, bitrate << 4, 0xC4]) + content).ljust(size, b"\0")


def xing(frames: int, silence: int = 0) -> bytes:
    name = b"LAME3.100" if silence else b"?" * 9
    said = b"Xing\0\0\0\x0f" + struct.pack(">II", frames, 0) + bytes(104)
    return mp3_frame(content=bytes(17) + said + name + bytes(12) + silence.to_bytes(3))


VBRI = mp3_frame(content=bytes(32) + b"VBRI" + bytes(10) + struct.pack(">I", 100))
CBR = mp3_frame() * 300
ADTS = bytes([0xFF, 0xF1, 0x6C, 0x40, 0x02, 0x1F, 0xFC]) + bytes(9)
"""One frame of 16 bytes at 8 kHz, mono."""
TAG = b"ID3\4\0\0\0\0\0\x04" + bytes(4)
FRAME_S = 1152 / 44_100


OPUS = b"OpusHead\x01\x01" + struct.pack("<HI", 312, 8000) + bytes(3)
VORBIS = b"\x01vorbis" + struct.pack("<IBI", 0, 1, 8000) + bytes(14)
FLAC = b"fLaC\0\0\0\x22" + bytes(10) + (8000 << 44 | 15 << 36 | 16_000).to_bytes(8) + bytes(50)
CAF = (
    b"caff\0\1\0\0desc"
    + struct.pack(">q", 32)
    + struct.pack(">d", 8000.0)
    + b"lpcm"
    + struct.pack(">IIIII", 0, 2, 1, 1, 16)
    + b"data"
    + struct.pack(">q", 32_004)
    + bytes(32_004)
)
EBML = b"\x1a\x45\xdf\xa3"
INFO = b"\x2a\xd7\xb1\x83\x0f\x42\x40\x44\x89\x84" + struct.pack(">f", 2000.0)
VOID = b"\xec\x86\x44\x89\x84abc"  # filling that looks like a length
SEGMENT = b"\x18\x53\x80\x67\x01" + b"\xff" * 7 + VOID + b"\x15\x49\xa9\x66\x8e" + INFO


def matroska(name: bytes, rest: bytes) -> bytes:
    kind = b"\x42\x82" + bytes([0x80 + len(name)]) + name
    return EBML + bytes([0x80 + len(kind)]) + kind + rest


TWO_SECONDS = {
    "flac": (FLAC, "audio/flac", Facts(2.0, 8000, 1)),
    "ogg opus": (ogg(OPUS, 96_312), "audio/opus", Facts(2.0, 48_000, 1)),
    "ogg vorbis": (ogg(VORBIS, 16_000), "audio/ogg", Facts(2.0, 8000, 1)),
    "ogg cut off": (ogg(VORBIS, 16_000)[:200], "audio/ogg", Facts(None, 8000, 1)),
    "m4a": (mp4(), "audio/mp4", Facts(2.0)),
    "m4a, 64 bit": (mp4(wide=True), "audio/mp4", Facts(2.0)),
    "webm": (matroska(b"webm", SEGMENT), "audio/webm", Facts(2.0)),
    "matroska": (matroska(b"matroska", SEGMENT), "audio/matroska", Facts(2.0)),
    "m4a, told at the end": (mp4(last=True), "audio/mp4", Facts(2.0)),
    "m4a in fragments": (mp4(length=0), "audio/mp4", Facts()),
    "webm, live": (matroska(b"webm", SEGMENT[:20]), "audio/webm", Facts()),
    "mp3, all alike": (CBR, "audio/mpeg", Facts(300 * FRAME_S, 44_100, 1)),
    "mp3 between tags": (TAG + CBR + b"TAG" + bytes(125), "audio/mpeg", Facts(300 * FRAME_S, 44_100, 1)),
    "mp3, of all rates": (
        mp3_frame() * 99 + mp3_frame(5), "audio/mpeg", Facts(100 * FRAME_S, 44_100, 1),
    ),
    "mp3 with Xing": (xing(100) + b"\0" * 999, "audio/mpeg", Facts(100 * FRAME_S, 44_100, 1)),
    "mp3 of LAME": (
        xing(100, silence=576 << 12 | 576) + b"\0" * 999, "audio/mpeg", Facts(99 * FRAME_S, 44_100, 1),
    ),
    "mp3 with VBRI": (VBRI + b"\0" * 999, "audio/mpeg", Facts(100 * FRAME_S, 44_100, 1)),
    "mp3, out of step": (mp3_frame() * 9 + bytes(99), "audio/mpeg", Facts(None, 44_100, 1)),
    "aac": (ADTS * 100, "audio/aac", Facts(12.8, 8000, 1)),
    "aac behind a tag": (TAG + ADTS * 100, "audio/aac", Facts(12.8, 8000, 1)),
    "flac behind two tags": (TAG + TAG + FLAC, "audio/flac", Facts(2.0, 8000, 1)),
    "aifc in blocks": (aiff(b"AIFC", b"ima4", 250), "audio/aifc", Facts(2.0, 8000, 1)),
    "wma": (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "audio/x-ms-wma", Facts()),
    "aiff": (aiff(b"AIFF"), "audio/aiff", Facts(2.0, 8000, 1)),
    "aifc": (aiff(b"AIFC"), "audio/aifc", Facts(2.0, 8000, 1)),
    "au": (b".snd" + struct.pack(">5I", 24, 0xFFFFFFFF, 1, 8000, 1) + bytes(16_000), "audio/basic",
           Facts(2.0, 8000, 1)),
    "w64": (w64(), "audio/w64", Facts(2.0, 8000, 1)),
    "amr": (
        b"#!AMR\n" + (b"\x3c" + bytes(31)) * 90 + (b"\x44" + bytes(5)) * 10, "audio/amr",
        Facts(2.0, 8000, 1),
    ),
    "amr-wb": (b"#!AMR-WB\n" + (b"\x44" + bytes(60)) * 100, "audio/amr-wb", Facts(2.0, 16_000, 1)),
    "caf": (CAF, "audio/x-caf", Facts(2.0, 8000, 1)),
}  # fmt: skip


@pytest.mark.parametrize(("body", "media_type", "facts"), TWO_SECONDS.values(), ids=TWO_SECONDS)
def test_each_is_known_and_measured(body: bytes, media_type: str, facts: Facts):
    assert look_like(body, len(body)) == media_type
    assert look_like(body[:64], len(body)) == media_type, "from the first bytes alone"
    found = measure(media_type, body, body[-65_536:], len(body))
    assert found.duration_seconds == pytest.approx(facts.duration_seconds)
    assert (found.sample_rate, found.channels) == (facts.sample_rate, facts.channels)
    assert media_type in EXTENSIONS
    for cut in range(len(body[:200])):
        measure(media_type, body[:cut], body[:cut], cut)


@pytest.mark.parametrize(
    ("media_type", "body", "seconds"),
    [
        ("audio/mpeg", CBR * 5, 1500 * FRAME_S),
        ("audio/mpeg", xing(1500) + mp3_frame(5) * 3000, 1500 * FRAME_S),
        ("audio/mpeg", mp3_frame() * 9 + mp3_frame(5) * 3000, None),
        ("audio/aac", ADTS * 9000, None),
        ("audio/amr", b"#!AMR\n" + (b"\x3c" + bytes(31)) * 5000, 100.0),
        ("audio/amr", b"#!AMR\n" + (b"\x44" + bytes(5) + b"\x3c" + bytes(31)) * 5000, None),
        ("audio/mp4", mp4(last=True), 2.0),
    ],
)
def test_of_what_is_not_all_seen_only_what_is_sure_is_told(media_type, body, seconds):
    found = measure(media_type, body[:40_000], body[-20_000:], len(body))
    assert found.duration_seconds == (None if seconds is None else pytest.approx(seconds, rel=5e-3))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>ID3",
        b'{"error": "fLaC"}',
        b"<?xml version='1.0'?>",
        b"ID3 is the name of a tag, and this is a text about it",
        b"ID3\3\0\0\0\0\0\0<html><body>no</body></html>",
        b"ID3\3\0\0\0\0\0\x0f" + bytes(15) + b'{"detail": "no"}',
        b"ID3\3\0\0\0\0\x7f\x7fHTTP/1.1 500 Internal Server Error",
        b"ID3\3\0\0\0\0\x02\0" + b"<?xml version='1.0'?>" + b" " * 900,
        b"textftyp",
        b"Notes on AIFF",
        b"\0\0\0\x18ftypheic",
        "\ufeffUTF-16".encode("utf-16-le"),
        "\ufeffUTF-8".encode(),
        b"%PDF-1.7",
        b"PK\3\4",
        b"\x1f\x8b\x08",
    ],
)
def test_nothing_else_is(body: bytes):
    assert look_like(body, len(body)) is None


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"ID3\x04\0\0\0\0\0\0", True),
        (b"\xff\xfb\x90\x64", True),
        (b"\xff\xf3\x48\xc4", True),
        (b"\xff\xe3\x18\xc4", True),
        (b"\xff\xf1\x50\x80", False),  # AAC in ADTS
        (b"\xff\xfe<\0h\0t\0", False),  # UTF-16 text
        (b"\xff\xfe{\0", False),
        (b"\xff\xfb\xf0\x64", False),
        (b"\xff\xfb\x9c\x64", False),
        (b"RIFF", False),
        (b"\xff\xfb", False),
        (b"ID3", False),
        (b"", False),
    ],
)
def test_mpeg(head: bytes, *, expected: bool) -> None:
    assert (look_like(head) == "audio/mpeg") is expected


@settings(max_examples=100)
@given(
    st.sampled_from([b"", b"ID3\4\0\0", b"OggS", b"\xff\xfb", b"FORM1234AIFF"]),
    st.binary(max_size=8),
)
def test_it_never_raises(mark: bytes, rest: bytes) -> None:
    assert look_like(mark + rest) in {None, *EXTENSIONS}
