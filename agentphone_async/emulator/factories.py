"""Where calls come from: a day's worth from a seed, one for each file, or a test's few words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from random import Random
from typing import TypedDict

from agentphone_async.emulator.audio import call_seconds
from agentphone_async.emulator.audio_store import FolderRecording
from agentphone_async.emulator.models import EmulatedAgent, EmulatedCall, EmulatedNumber, Turn
from agentphone_async.emulator.seeding import call_id, digest, rng

_NAMES = ("Front desk", "Billing", "After hours")
_FRACTION_WITHOUT_RECORDING = 0.10
_FRACTION_UNANSWERED = 0.06
_UNANSWERED = ("failed", "no-answer", "busy")


@dataclass(frozen=True, slots=True)
class Population:
    """What to generate.

    Attributes:
        calls: How many calls the day has.
        neighbours: How many more on the day before, and again on the day after.
        day: The calendar day, in ``zone``.
        zone: The zone in which the day begins and ends; days of 23 and 25 hours are right.
            None is the machine's own.
        seed: Everything follows from it.
        median: Seconds that half of the calls stay under.
        spread: Sigma of the logarithm of the lengths.
        agents: Who talks.
        numbers: The account's lines.
    """

    calls: int
    neighbours: int
    day: date
    zone: tzinfo | None
    seed: int
    median: float
    spread: float
    agents: Sequence[EmulatedAgent]
    numbers: Sequence[EmulatedNumber]


def agents(seed: int) -> list[EmulatedAgent]:
    """The account's agents."""
    return [EmulatedAgent(f"agt_{digest('agent', seed, name)}", name) for name in _NAMES]


def numbers(seed: int) -> list[EmulatedNumber]:
    """The account's phone numbers."""
    return [
        EmulatedNumber(f"num_{digest('number', seed, last)}", f"+1555123000{last}")
        for last in range(4)
    ]


def day_bounds(day: date, zone: tzinfo | None) -> tuple[datetime, datetime]:
    """The first instant of a calendar day and of the next one, in UTC."""
    return _midnight(day, zone), _midnight(day + timedelta(days=1), zone)


def _midnight(day: date, zone: tzinfo | None) -> datetime:
    # A naive datetime is converted by the machine's own rules, which is what None asks for.
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def yesterday(now: datetime, zone: tzinfo | None) -> date:
    """The calendar day before the one on which ``now`` falls in the zone."""
    return now.astimezone(zone).date() - timedelta(days=1)


def generate(plan: Population, now: datetime) -> Iterator[EmulatedCall]:
    """All generated calls, in no particular order.

    The day has calls on its very first and its very last second, and so have the
    neighbouring days on their side of midnight, so that date filters are put to the test.
    No call starts after ``now``. Of the calls that began in the last minutes some are still
    in progress.
    """
    dice = rng("population", plan.seed)
    days = (
        ("before", plan.day - timedelta(days=1), plan.neighbours),
        ("day", plan.day, plan.calls),
        ("after", plan.day + timedelta(days=1), plan.neighbours),
    )
    for name, day, count in days:
        start, end = day_bounds(day, plan.zone)
        if name != "day" and start >= now:
            continue
        # A day in the future is taken as it is asked for; one that is running ends now.
        moments = _moments(dice, count, start, min(end, now) if start < now else end)
        for position, moment in enumerate(moments):
            yield _call(plan, f"{name}/{position}", moment, now)


def new_call(plan: Population, number: int, now: datetime, recording_delay: float) -> EmulatedCall:
    """A call that begins now: it is talked on at once, ends, and then gets its recording."""
    call = _call(plan, f"new/{number}", now, now)
    if call.outcome == "completed":
        call.recording_delay = recording_delay
    call.settled = False
    return call


def from_folder(
    found: Sequence[FolderRecording],
    day: tuple[datetime, datetime],
    lines: Sequence[EmulatedNumber],
) -> Iterator[EmulatedCall]:
    """One finished call for each file, evenly over the day, the first file newest."""
    start, end = day
    step = (end - start) / (len(found) + 1)
    for position, recording in enumerate(found):
        line = lines[position % len(lines)]
        yield EmulatedCall(
            id=recording.call_id,
            started_at=(end - step * (position + 1)).replace(microsecond=0),
            seconds=recording.seconds,
            to_number=line.phone_number,
            phone_number_id=line.id,
            phone_number=line.phone_number,
        )


def _moments(dice: Random, count: int, start: datetime, end: datetime) -> list[datetime]:
    span = (end - start).total_seconds()
    offsets = [dice.random() * span for _ in range(count)]
    if count > 0:
        offsets[0] = 0.0
    if count > 1:
        offsets[-1] = max(span - 0.25, 0.0)
    return [start + timedelta(milliseconds=int(offset * 1000)) for offset in offsets]


def _call(plan: Population, name: str, moment: datetime, now: datetime) -> EmulatedCall:
    identity = call_id(plan.seed, plan.day, name)
    dice = rng("call", plan.seed, identity)
    seconds = call_seconds(plan.seed, identity, plan.median, plan.spread)
    milliseconds = dice.random() < 0.5
    if not milliseconds:
        moment = moment.replace(microsecond=0)
    line, agent = dice.choice(plan.numbers), dice.choice(plan.agents)
    stranger = f"+1555{dice.randrange(2_000_000, 10_000_000)}"
    inbound = dice.random() < 0.6
    call = EmulatedCall(
        id=identity,
        started_at=moment,
        seconds=seconds,
        direction="inbound" if inbound else "outbound",
        from_number=stranger if inbound else line.phone_number,
        to_number=line.phone_number if inbound else stranger,
        phone_number_id=line.id,
        phone_number=line.phone_number,
        recorded=dice.random() >= _FRACTION_WITHOUT_RECORDING,
        milliseconds=milliseconds,
    )
    if dice.random() < 0.95:  # agentId is nullable
        call.agent_id, call.agent_name = agent.id, dice.choice((agent.name, None))
    if dice.random() < 0.05:
        call.type, call.phone_number_id, call.phone_number = "web", None, None
    if dice.random() < _FRACTION_UNANSWERED:
        call.outcome = dice.choice(_UNANSWERED)
        call.seconds, call.recorded, call.turns = None, False, ()
        call.rings_for = float(dice.randint(1, 30))
    elif moment <= now < moment + timedelta(seconds=seconds):
        call.settled, call.recording_delay = False, 5.0
    return call


_TALKING = ("in-progress", "in_progress", "ongoing")
_LIVE = ("queued", "registered", "ringing", *_TALKING)


class CallFields(TypedDict, total=False):
    """What may be said about a call that is added; everything has a sensible default.

    Attributes:
        id: Any text, even one that the API would never give out.
        status: ``completed`` by default. A live status lasts until the call is ended; any
            other, known or not, is the status of a call that is over.
        started_at: An aware datetime; an hour ago by default, ten seconds for a live call.
        duration: Seconds talked; 60 by default, None for null.
        recording: Whether there is a recording, or will be.
        recording_delay: Seconds from now until the recording can be fetched.
        recording_available: What ``recordingAvailable`` says, if not the truth.
        recording_url: False keeps ``recordingUrl`` null although there is a recording.
        audio: The recording's bytes; generated by default.
        media_type: ``audio/wav`` by default; ``audio/mpeg`` generates MP3 frames.
        transcript: Pairs of role and content, spread over the call; generated by default.
        sub_account: Which sub-account owns it.
        milliseconds: Whether its timestamps are written with milliseconds.
    """

    id: str
    status: str
    started_at: datetime
    duration: float | None
    direction: str
    type: str
    from_number: str
    to_number: str
    agent_id: str | None
    agent_name: str | None
    phone_number_id: str | None
    phone_number: str | None
    recording: bool
    recording_delay: float
    recording_available: bool | None
    recording_url: bool
    audio: bytes
    media_type: str
    transcript: Sequence[tuple[str, str]]
    sub_account: str | None
    milliseconds: bool


def call_from_fields(fields: CallFields, seed: int, ordinal: int, now: datetime) -> EmulatedCall:
    """The call that is meant.

    Args:
        fields: What was said about it.
        seed: The emulator's seed.
        ordinal: Makes its id, if none was given, differ from all others.
        now: The emulator's wall clock.

    Raises:
        ValueError: ``started_at`` is naive.
    """
    status = fields.get("status", "completed")
    live = status in _LIVE
    started = fields.get("started_at", now - timedelta(seconds=10 if live else 3600))
    if started.tzinfo is None:
        raise ValueError(f"started_at must be an aware datetime, and {started} is naive")
    over = status == "completed"
    seconds = fields.get("duration", 60.0 if over else None)
    call = EmulatedCall(
        id=fields.get("id", call_id("added", seed, ordinal)),
        started_at=started.astimezone(UTC),
        seconds=seconds,
        outcome="completed" if live else status,
        agent_id=fields.get("agent_id"),
        agent_name=fields.get("agent_name"),
        phone_number_id=fields.get("phone_number_id"),
        phone_number=fields.get("phone_number"),
        recorded=fields.get("recording", True),
        recording_hint=fields.get("recording_available"),
        recording_link=fields.get("recording_url", True),
        media_type=fields.get("media_type", "audio/wav"),
        audio=fields.get("audio"),
        sub_account=fields.get("sub_account"),
        milliseconds=fields.get("milliseconds", False),
    )
    call.direction = fields.get("direction", call.direction)
    call.type = fields.get("type", call.type)
    call.from_number = fields.get("from_number", call.from_number)
    call.to_number = fields.get("to_number", call.to_number)
    _set_life(call, status, fields.get("recording_delay", 0.0), now)
    if "transcript" in fields:
        call.turns = _spread(fields["transcript"], seconds or 0.0)
    return call


def _set_life(call: EmulatedCall, status: str, recording_delay: float, now: datetime) -> None:
    """Put the call into its state; infinite stays are what keeps a live call alive."""
    if status in _LIVE:
        call.settled, call.recording_delay = False, recording_delay
        if status == "ringing":
            call.rings_for = math.inf
        elif status in _TALKING:
            call.seconds, call.talking_status = math.inf, status
        else:
            call.queued_for, call.first_status = math.inf, status
    elif recording_delay > 0:
        since_end = (now - call.started_at).total_seconds() - call.ends_after
        call.settled, call.recording_delay = False, since_end + recording_delay


def _spread(said: Sequence[tuple[str, str]], seconds: float) -> tuple[Turn, ...]:
    step = seconds / len(said) if said else 0.0
    return tuple(
        (round(position * step, 3), role, content) for position, (role, content) in enumerate(said)
    )
