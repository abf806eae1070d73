from __future__ import annotations

import gzip
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
        ("gzip", b"a"),
        ("gzip", b""),
    ],
    ids=range(15),
)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_the_bytes_decide_which_coding_is_there(coding: str, body: bytes, step: int):
    chunks = [body[at : at + step] for at in range(0, len(body), step)]
    assert decode(coding, *chunks) == (body if len(body) < 2 else HELLO)


@pytest.mark.parametrize("header", [None, "", " identity ", "Identity"])
def test_identity_is_no_coding(header: str | None):
    assert coding_of(header) is None


def test_codings_are_compared_in_lower_case():
    assert coding_of(" GZip ") == "gzip"
