"""Telephone audio out of thin air: pure functions of a seed and a call id.

A test that knows both can recompute every byte that the emulator sends. The samples are
8 kHz, 16-bit, mono PCM: integer arithmetic only, so that every platform agrees.
"""

from __future__ import annotations

import math
import struct
import sys
from array import array
from functools import lru_cache

from agentphone_async.emulator.seeding import rng

SAMPLE_RATE = 8000
BYTES_PER_SECOND = SAMPLE_RATE * 2
HEADER_SIZE = 44
SHORTEST, LONGEST = 2.0, 1200.0

# Syllables are made once for each seed and then strung together by the C-speed ``join``.
_SYLLABLES = 64
_SYLLABLE_SAMPLES = 1000
_SYLLABLE_BYTES = 2 * _SYLLABLE_SAMPLES


def wave_header(data_size: int) -> bytes:
    """The canonical 44 bytes in front of ``data_size`` bytes of 8 kHz 16-bit mono PCM."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", 36 + data_size, b"WAVE",
        b"fmt ", 16, 1, 1, SAMPLE_RATE, BYTES_PER_SECOND, 2, 16,
        b"data", data_size,
    )  # fmt: skip


def audio_size(seconds: float) -> int:
    """Bytes of a whole recording of ``seconds``, header included."""
    return HEADER_SIZE + 2 * round(seconds * SAMPLE_RATE)


def audio_bytes(seed: int, call_id: str, seconds: float, version: int = 0) -> bytes:
    """The whole WAVE file of a call.

    Args:
        seed: The emulator's seed.
        call_id: The call's id.
        seconds: The call's length; the result has ``audio_size(seconds)`` bytes.
        version: Another version of the same call sounds different.
    """
    size = audio_size(seconds) - HEADER_SIZE
    picks = rng("audio", seed, call_id, version).choices(
        _syllables(seed), k=-(-size // _SYLLABLE_BYTES)
    )
    return wave_header(size) + b"".join(picks)[:size]


def call_seconds(seed: int, call_id: str, median: float = 60.0, spread: float = 1.0) -> float:
    """How long a generated call lasts: log-normal around ``median``, in seconds.

    Three in four are whole seconds, the rest have one decimal, as the API has both. The
    result lies between 2 seconds and 20 minutes, or nearer to ``median`` if that is outside.

    Args:
        seed: The emulator's seed.
        call_id: The call's id.
        median: Half of the calls are shorter than this.
        spread: The sigma of the logarithm; 0 makes every call exactly ``median`` long.
    """
    if spread <= 0:
        return median
    dice = rng("seconds", seed, call_id)
    seconds = dice.lognormvariate(math.log(median), spread)
    seconds = min(max(seconds, min(SHORTEST, median)), max(LONGEST, median))
    if median < SHORTEST:
        return round(seconds, 3)
    return float(round(seconds)) if dice.random() < 0.75 else round(seconds, 1)


def mpeg_bytes(seed: int, call_id: str, seconds: float) -> bytes:
    """What a recording that upstream stored as MP3 looks like: MPEG-1 layer III frames."""
    header = bytes((0xFF, 0xFB, 0x90, 0xC4))
    frame_size = 417  # 128 kbit/s at 44.1 kHz, without padding
    frames = max(1, round(seconds * 44100 / 1152))
    dice = rng("mpeg", seed, call_id)
    payloads = [dice.randbytes(frame_size - len(header)) for _ in range(16)]
    return b"".join(header + payload for payload in dice.choices(payloads, k=frames))


@lru_cache(maxsize=8)
def _syllables(seed: int) -> tuple[bytes, ...]:
    return tuple(_syllable(seed, number) for number in range(_SYLLABLES))


def _syllable(seed: int, number: int) -> bytes:
    """A triangle tone with breath noise; every eighth is a pause of breath alone."""
    dice = rng("syllable", seed, number)
    period = dice.randint(20, 80)  # 100 to 400 Hz, where voices are
    loudness = 0 if number % 8 == 0 else dice.randint(2000, 9000)
    breath = dice.randbytes(_SYLLABLE_SAMPLES)
    samples = array("h")
    for position in range(_SYLLABLE_SAMPLES):
        phase = position % period
        triangle = abs(4 * phase - 2 * period) - period  # from -period to +period
        samples.append(loudness * triangle // period + breath[position] - 128)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()
