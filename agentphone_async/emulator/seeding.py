"""Where the emulator's randomness comes from: a seed and a name, never the clock."""

from __future__ import annotations

import hashlib
import random


def rng(*name: object) -> random.Random:
    """A generator that always yields the same numbers for the same name."""
    # String seeds go through SHA-512, so that neighbouring names give unrelated streams.
    return random.Random("/".join(map(str, name)))  # noqa: S311 - repeatable, not secret


def digest(*name: object, size: int = 12) -> str:
    """``2 * size`` hexadecimal digits that depend on every part of the name."""
    text = "/".join(map(str, name))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def call_id(*name: object) -> str:
    """An opaque call id that says nothing about what it was made from."""
    return f"call_{digest('call', *name)}"


def numeric_id(call_id: str) -> int:
    """A call's id as a number: itself if it is one, else one that follows from it."""
    plain = call_id.isascii() and call_id.isdecimal() and str(int(call_id)) == call_id
    return int(call_id) if plain else int(digest("number", call_id, size=6), 16)
