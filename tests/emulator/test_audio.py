from __future__ import annotations

import io
import statistics
import struct
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentphone_async.emulator import audio_bytes, audio_size, call_seconds, damaged_wave
from agentphone_async.emulator.audio import mpeg_bytes


@given(seconds=st.floats(0, 30))
def test_the_header_the_size_and_the_length_agree(seconds):
    audio = audio_bytes(7, "call_a", seconds)
    assert len(audio) == audio_size(seconds)
    with wave.open(io.BytesIO(audio)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        assert file.getnframes() == round(seconds * 8000)


def test_the_same_call_always_sounds_the_same_and_no_other_does():
    first = audio_bytes(7, "call_a", 10)
    assert audio_bytes(7, "call_a", 10) == first
    others = [
        audio_bytes(8, "call_a", 10),
        audio_bytes(7, "call_b", 10),
        audio_bytes(7, "call_a", 10, version=1),
    ]
    assert len({first, *others}) == 4


def test_audio_is_neither_silence_nor_one_block_repeated():
    audio = audio_bytes(1, "call_a", 60)[44:]
    blocks = [audio[at : at + 2000] for at in range(0, len(audio), 2000)]
    assert len(set(blocks)) > 40
    samples = struct.unpack(f"<{len(audio) // 2}h", audio)
    assert 1000 < statistics.pstdev(samples) < 10000


def test_lengths_are_log_normal_around_a_minute_and_clamped():
    lengths = [call_seconds(1, f"call_{n}") for n in range(4000)]
    assert 57 <= statistics.median(lengths) <= 63
    assert min(lengths) >= 2
    assert max(lengths) <= 1200
    assert 0.1 < sum(length % 1 > 0 for length in lengths) / 4000 < 0.4


def test_lengths_can_be_set():
    assert call_seconds(1, "call_a", 1.5, spread=0) == 1.5
    short = [call_seconds(1, f"call_{n}", median=1.5, spread=1.0) for n in range(500)]
    assert min(short) >= 1.5
    assert all(call_seconds(1, f"call_{n}", 3600) <= 3600 for n in range(50))


def test_mpeg_frames_begin_with_their_sync_word():
    audio = mpeg_bytes(1, "call_a", 3.0)
    assert {audio[at : at + 2] for at in range(0, len(audio), 417)} == {b"\xff\xfb"}


def _data_chunk(audio: bytes) -> tuple[int, int]:
    """What the ``data`` header claims, and what follows it."""
    at = audio.index(b"data")
    return struct.unpack_from("<I", audio, at + 4)[0], len(audio) - at - 8


WHOLE = audio_bytes(1, "call_a", 2.0)


@pytest.mark.parametrize(
    ("damage", "claimed", "there"),
    [
        ("streamed", 0xFFFFFFFF, 32000),
        ("zero", 0, 32000),
        ("long", 33000, 32000),
        ("short", 31000, 32000),
        ("rf64", 0xFFFFFFFF, 32000),
        ("odd", 31999, 31999),
        ("header-only", 0, 0),
        ("list", 32000, 32000),
        ("mulaw", 16000, 16000),
    ],
)
def test_odd_wave_files_are_odd_in_exactly_one_way(damage, claimed, there):
    odd = damaged_wave(WHOLE, damage)
    assert _data_chunk(odd) == (claimed, there)
    assert odd[:4] == (b"RF64" if damage == "rf64" else b"RIFF")


def test_rf64_holds_the_true_size_in_64_bits():
    odd = damaged_wave(WHOLE, "rf64")
    riff, data, samples = struct.unpack_from("<QQQ", odd, odd.index(b"ds64") + 8)
    assert (riff, data, samples) == (len(odd) - 8, 32000, 16000)


def test_list_and_mulaw_files_are_well_formed():
    with wave.open(io.BytesIO(damaged_wave(WHOLE, "list"))) as file:
        assert file.getnframes() == 16000
    for damage in ("list", "mulaw"):
        odd = damaged_wave(WHOLE, damage)
        assert struct.unpack_from("<I", odd, 4)[0] == len(odd) - 8
