"""What was said on a call: a small script, dealt out from seed and call id."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from datetime import datetime

from agentphone_async.emulator.models import EmulatedCall, Turn

_AGENT = (
    "Hello, you are speaking with the assistant. How can I help?",
    "Certainly, let me look that up for you.",
    "I have found your booking. Would Tuesday at two suit you?",
    "Thank you. You will get a confirmation by message.",
    "May I have your postcode, please?",
    "Is there anything else that I can do?",
)
_USER = (
    "Hi, I would like to move my appointment.",
    "Yes, that would be fine.",
    "Could you say that again, please?",
    "It is about the invoice of last month.",
    "No, that was all. Thank you very much!",
    "Grüße aus Zürich, do you hear me well?",
)
_SENTIMENTS = ("Positive", "Neutral", "Neutral", "Negative")
_SECONDS_A_TURN = 6.0
_MOST_TURNS = 40


def turns_of(call: EmulatedCall, seed: int) -> Sequence[Turn]:
    """All turns of a call from its beginning to its end, in order of time."""
    if call.turns is not None:
        return call.turns
    count, step = _rhythm(call)
    first = _first_line(call, seed)
    return tuple(_turn(position, step, first) for position in range(count))


def turns_so_far(call: EmulatedCall, seed: int, now: datetime) -> Sequence[Turn]:
    """The turns that were spoken until now."""
    turns = turns_of(call, seed)
    if call.settled:
        return turns
    talked = (now - call.started_at).total_seconds() - call.answered_after
    talked = min(talked, call.seconds if call.seconds is not None else 0.0)
    return [turn for turn in turns if turn[0] <= talked]


def last_words(call: EmulatedCall, seed: int, now: datetime) -> str | None:
    """What was said last; None if nothing was. Cheap, since lists ask it for every row."""
    if call.settled and call.turns is None:
        count, step = _rhythm(call)
        return _turn(count - 1, step, _first_line(call, seed))[2] if count else None
    spoken = turns_so_far(call, seed, now)
    return spoken[-1][2] if spoken else None


def verdict(call: EmulatedCall, seed: int) -> tuple[str | None, str | None, bool]:
    """A call's summary and the caller's sentiment, as its event has them, and its success."""
    turns = turns_of(call, seed)
    if not turns:
        return None, None, False
    line = _first_line(call, seed)
    asked = next((said for _, role, said in turns if role == "user"), turns[0][2])
    sentiment = _SENTIMENTS[line % len(_SENTIMENTS)]
    summary = f"The caller said: {asked} The call had {len(turns)} turns."
    return summary, sentiment, call.outcome == "completed" and sentiment != "Negative"


def _rhythm(call: EmulatedCall) -> tuple[int, float]:
    """How many turns are generated for a call, and the seconds from one to the next."""
    if call.seconds is None:
        return 0, 0.0
    # A call without an end talks on until the script is over.
    seconds = _MOST_TURNS * _SECONDS_A_TURN if math.isinf(call.seconds) else call.seconds
    count = min(_MOST_TURNS, max(1, int(seconds / _SECONDS_A_TURN)))
    return count, seconds / count


def _first_line(call: EmulatedCall, seed: int) -> int:
    return zlib.crc32(f"{seed}/{call.id}".encode("utf-8", "surrogatepass"))


def _turn(position: int, step: float, first: int) -> Turn:
    role, script = ("user", _USER) if position % 2 else ("agent", _AGENT)
    # 31 and the six lines of a script have no common factor, so that all are heard.
    line = (first >> position % 16) + 31 * (position // 2)
    return round(position * step, 3), role, script[line % len(script)]
