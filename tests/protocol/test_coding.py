from __future__ import annotations

import gzip
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentphone_async.protocol.coding import PIECE, CodingError, Decoder, coding_of


def decode(coding: str, *chunks: bytes) -> bytes:
    decoder = Decoder(coding)
    out = b"".join(piece for chunk in chunks for piece in decoder.decode(chunk))
    return out + b"".join(decoder.finish())


@given(st.binary(max_size=500), st.lists(st.integers(1, 50), max_size=20))
def test_any_cutting_gives_the_same(data: bytes, cuts: list[int]):
    packed = gzip.compress(data)
    chunks = []
    for cut in cuts:
        chunks.append(packed[:cut])
        packed = packed[cut:]
    assert decode("gzip", *chunks, packed) == data


def test_deflate_and_the_old_name():
    assert decode("deflate", zlib.compress(b"hello")) == b"hello"
    assert decode("x-gzip", gzip.compress(b"hello")) == b"hello"


def test_a_bomb_comes_in_bounded_pieces():
    bomb = gzip.compress(bytes(50 * PIECE))
    decoder = Decoder("gzip")
    sizes = [len(piece) for piece in decoder.decode(bomb)]
    assert max(sizes) <= PIECE
    assert sum(sizes) == 50 * PIECE


def test_what_is_cut_off_is_noticed():
    with pytest.raises(CodingError, match="cut off"):
        decode("gzip", gzip.compress(b"hello")[:-1])


def test_what_goes_on_after_its_end_is_noticed():
    with pytest.raises(CodingError, match="after its end"):
        decode("gzip", gzip.compress(b"hello") + b"more")


def test_what_is_corrupt_is_noticed():
    with pytest.raises(CodingError, match="corrupt"):
        decode("gzip", gzip.compress(b"hello")[:10] + b"\xff" * 9)


HELLO = b"RIFF hello hello hello"
RAW = zlib.compressobj(wbits=-15)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(HELLO[:5]) + gzip.compress(HELLO[5:])),
        ("gzip, gzip", gzip.compress(gzip.compress(HELLO))),
        ("gzip", gzip.compress(gzip.compress(HELLO))),
        ("deflate, gzip", gzip.compress(zlib.compress(HELLO))),
        ("deflate", RAW.compress(HELLO) + RAW.flush()),
        ("gzip", HELLO),
        ("deflate", HELLO),
        ("br", HELLO),
        ("zstd", HELLO),
        ("aws-chunked", HELLO),
        ("aws-chunked, gzip", gzip.compress(HELLO)),
        ("binary", HELLO),
        ("utf-8", HELLO),
        ("none", HELLO),
        ("gzip", zlib.compress(HELLO)),
        ("deflate", gzip.compress(HELLO)),
        ("aws-chunked", gzip.compress(HELLO)),  # of two headers, one is seen
        ("gzip", b"a"),
        ("gzip", b""),
    ],
    ids=range(19),
)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_the_bytes_decide_which_coding_is_there(coding: str, body: bytes, step: int):
    chunks = [body[at : at + step] for at in range(0, len(body), step)]
    assert decode(coding, *chunks) == (body if len(body) < 2 else HELLO)


@pytest.mark.parametrize("body", [b"{}", b"[]", b"x"])
def test_the_shortest_bodies_are_decoded_too(body: bytes):
    raw = zlib.compressobj(wbits=-15)
    assert decode("deflate", raw.compress(body) + raw.flush()) == body
    assert decode("deflate", zlib.compress(body)) == body
    assert decode("gzip", gzip.compress(body)) == body


@pytest.mark.parametrize(
    ("coding", "library", "body"),
    [
        ("br", "brotli", b"\x1b\x07\x00\xf8\x25\xc2\xa2\x98\xc8\x00\x01\x10"),
        ("br", "brotli", b"\xff\xfb\x90\x64" + bytes(99)),  # also if it looks like MPEG audio
        ("zstd", "zstd", b"\x28\xb5\x2f\xfd" + bytes(99)),
    ],
)
def test_what_needs_a_library_says_so(coding: str, library: str, body: bytes, monkeypatch):
    for name in ("brotli", "compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(CodingError, match=f"compressed with .*; install .*(?i:{library})"):
        decode(coding, body)


def test_brotli_is_decoded_in_bounded_pieces():
    brotli = pytest.importorskip("brotli", "1.2")
    assert decode("br", brotli.compress(HELLO)) == HELLO
    with pytest.raises(CodingError, match="cut off"):
        decode("br", brotli.compress(HELLO)[:-1])
    sizes = [
        len(piece) for piece in Decoder("br").decode(brotli.compress(bytes(50 * PIECE), quality=1))
    ]
    assert max(sizes) <= 2 * PIECE, "a bound that the library keeps to roughly"
    assert sum(sizes) == 50 * PIECE


def test_zstd_is_decoded_in_bounded_pieces():
    zstd = pytest.importorskip("backports.zstd")
    frames = zstd.compress(HELLO[:5]) + zstd.compress(HELLO[5:])
    assert (
        decode("zstd", frames)
        == decode("zstd", *(frames[at : at + 1] for at in range(len(frames))))
        == HELLO
    )
    with pytest.raises(CodingError, match="cut off"):
        decode("zstd", frames[:-1])
    sizes = [len(piece) for piece in Decoder("zstd").decode(zstd.compress(bytes(50 * PIECE)))]
    assert max(sizes) <= PIECE
    assert sum(sizes) == 50 * PIECE


@pytest.mark.parametrize("header", [None, "", " identity ", "Identity"])
def test_identity_is_no_coding(header: str | None):
    assert coding_of(header) is None


def test_codings_are_compared_in_lower_case():
    assert coding_of(" GZip ") == "gzip"
