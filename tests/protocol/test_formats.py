"""Audio that is not WAVE: each format by its mark, with the length that its header tells."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentphone_async.protocol.formats import EXTENSIONS, Facts, look_like, measure


def aiff(kind: bytes) -> bytes:
    rate = struct.pack(">HQ", 16383 + 12, 8000 << 51)
    comm = struct.pack(">HIH", 1, 16_000, 16) + rate
    return b"FORM" + struct.pack(">I", 32_046) + kind + b"COMM" + struct.pack(">I", 18) + comm


def w64() -> bytes:
    guid = bytes.fromhex("f3acd3118cd100c04f8edb8a")
    fmt = b"fmt " + guid + struct.pack("<Q", 40) + struct.pack("<HHIIHH", 1, 1, 8000, 16_000, 2, 16)
    data = b"data" + guid + struct.pack("<Q", 24 + 32_000) + bytes(32_000)
    riff = bytes.fromhex("726966662e91cf11a5d628db04c10000")
    return riff + struct.pack("<Q", 40 + len(fmt) + len(data)) + b"wave" + guid + fmt + data


def ogg(head: bytes, granule: int) -> bytes:
    page = b"OggS\0\x02" + bytes(8) + bytes(12) + b"\x01" + bytes([len(head)]) + head
    return page + bytes(300) + b"OggS\0\x04" + struct.pack("<q", granule) + bytes(12) + b"\0"


def mp4(*, wide: bool) -> bytes:
    times = (
        struct.pack(">QQIQ", 0, 0, 1000, 2000) if wide else struct.pack(">IIII", 0, 0, 1000, 2000)
    )
    mvhd = b"mvhd" + bytes([wide, 0, 0, 0]) + times + bytes(80)
    return b"\0\0\0\x18ftypM4A \0\0\0\0" + bytes(8) + b"\0\0\0\x64moov\0\0\0\x6c" + mvhd


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
EBML = b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84"
SEGMENT = b"\x2a\xd7\xb1\x83\x0f\x42\x40\x44\x89\x84" + struct.pack(">f", 2000.0)

TWO_SECONDS = {
    "flac": (FLAC, "audio/flac", Facts(2.0, 8000, 1)),
    "ogg opus": (ogg(OPUS, 96_312), "audio/opus", Facts(2.0, 48_000, 1)),
    "ogg vorbis": (ogg(VORBIS, 16_000), "audio/ogg", Facts(2.0, 8000, 1)),
    "ogg cut off": (ogg(VORBIS, 16_000)[:200], "audio/ogg", Facts(None, 8000, 1)),
    "m4a": (mp4(wide=False), "audio/mp4", Facts(2.0)),
    "m4a, 64 bit": (mp4(wide=True), "audio/mp4", Facts(2.0)),
    "webm": (EBML + b"webm" + SEGMENT, "audio/webm", Facts(2.0)),
    "matroska": (EBML + b"matroska" + SEGMENT, "audio/matroska", Facts(2.0)),
    "aac": (bytes.fromhex("fff15c80") + bytes(60), "audio/aac", Facts()),
    "aac behind a tag": (b"ID3\4\0\0\0\0\0\x04" + bytes(4) + b"\xff\xf1\x5c\x80", "audio/aac", Facts()),
    "aiff": (aiff(b"AIFF"), "audio/aiff", Facts(2.0, 8000, 1)),
    "aifc": (aiff(b"AIFC"), "audio/aifc", Facts(2.0, 8000, 1)),
    "au": (b".snd" + struct.pack(">5I", 24, 0xFFFFFFFF, 1, 8000, 1) + bytes(16_000), "audio/basic",
           Facts(2.0, 8000, 1)),
    "w64": (w64(), "audio/w64", Facts(2.0, 8000, 1)),
    "amr": (b"#!AMR\n" + bytes(60), "audio/amr", Facts()),
    "amr-wb": (b"#!AMR-WB\n" + bytes(60), "audio/amr-wb", Facts()),
    "caf": (CAF, "audio/x-caf", Facts(2.0, 8000, 1)),
}  # fmt: skip


@pytest.mark.parametrize(("body", "media_type", "facts"), TWO_SECONDS.values(), ids=TWO_SECONDS)
def test_each_is_known_and_measured(body: bytes, media_type: str, facts: Facts):
    assert look_like(body, len(body)) == media_type
    assert look_like(body[:64], len(body)) == media_type, "from the first bytes alone"
    assert measure(media_type, body, body[-65_536:], len(body)) == facts
    assert media_type in EXTENSIONS
    for cut in range(len(body[:200])):
        measure(media_type, body[:cut], body[:cut], cut)


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
