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
    decoder.finish()
    return out


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
        decode("gzip", b"this is no gzip")


def test_codings_that_are_not_known():
    with pytest.raises(CodingError, match="'br' was not asked for"):
        Decoder("br")


@pytest.mark.parametrize("header", [None, "", " identity ", "Identity"])
def test_identity_is_no_coding(header: str | None):
    assert coding_of(header) is None


def test_codings_are_compared_in_lower_case():
    assert coding_of(" GZip ") == "gzip"
