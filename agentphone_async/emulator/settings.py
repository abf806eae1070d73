"""What can be set about an emulator; speeds, limits and shapes may be changed while it runs."""

from __future__ import annotations

import ssl as ssl_module
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, tzinfo
from pathlib import Path
from typing import Literal, TypedDict

from agentphone_async.emulator.clock import Clock, SystemClock
from agentphone_async.emulator.errors import ErrorShape
from agentphone_async.emulator.faults import Fault
from agentphone_async.emulator.models import CallLife
from agentphone_async.emulator.serializers import TranscriptShape

DEFAULT_API_KEY = "sk_test_emulator"
DEFAULT_WEBHOOK_SECRET = "whsec_emulator"  # noqa: S105 - everybody may know it


@dataclass(kw_only=True, slots=True, eq=False)
class Settings:
    """What can be set about an emulator. Times are in seconds, sizes in bytes.

    Attributes:
        calls: How many generated calls the day has.
        seed: Ids, audio, transcripts and the dice of faults follow from it.
        day: The day of the calls; yesterday in ``zone`` by default.
        zone: The zone in which the day begins and ends; None is the machine's own.
        new_calls: Calls a minute that begin while the emulator runs; each is live, ends after
            ``seconds`` or so, and gets its recording.
        neighbours: Calls on the day before, and again on the day after.
        seconds: Half of the generated calls are shorter than this.
        spread: Sigma of the logarithm of their lengths; 0 makes all equally long.
        recordings: A folder of WAV files to serve; then nothing is generated, and there is
            one call of the day for each file.
        api_key: What ``Authorization: Bearer`` must carry.
        sub_accounts: Ids that ``X-Sub-Account-Id`` may name; calls of the main account are
            not visible to them. Adding a call of a sub-account makes it known too.
        host: The address to listen on. Beyond loopback only together with ``allow_remote``.
        allow_remote: Let other machines and containers in; links in answers then begin with the
            ``Host`` that they asked.
        port: On that host; 0 takes a free one.
        tls: Serve https with this context.
        clock: Where time comes from.
        life: How the lives of created calls run.
        heartbeat: Between two comments on a silent transcript stream.
        transcript_shape: Which of the shapes ``/transcript`` answers: ``transcript``, ``data``,
            ``transcripts``, ``list``, ``speakers`` or ``text``.
        stream_ended: False lets a transcript stream end without its last event, ``ended``.
        error_shape: Which of the bodies errors of the API have.
        not_ready_status: What a recording answers that is still to come: 404, or 202, 409, 423,
            425.
        webhook: Where an ``agent.call_ended`` event is sent when a call ends, or is added that is
            over. None sends none.
        webhook_secret: What the events are signed with.
        webhook_delays: Seconds between the attempts to deliver an event; one more attempt than
            these.
        webhook_backlog: Send events for the calls that are over at the start, too.
        faults: What goes wrong from the start; as ``Emulator.fail`` takes it.
        recording_addon: Whether the account pays for recordings. Without, URLs are null and
            recordings answer 404 until ``/credits/recording/enable`` is asked.
        refuse_default_agents: Answer 403 to the user agents that HTTP libraries send when
            nothing else was set, as has been observed.
        latency: Before the headers of every answer.
        bandwidth: Bytes a second of each connection.
        total_bandwidth: Bytes a second of all connections together.
        rate_limit: Requests a second; more are answered 429 with ``Retry-After``.
        capacity: Requests at once; what ``overload`` says happens to more.
        overload: ``refuse`` answers 503; ``slow`` makes every request of an overloaded server
            wait, the more of them the longer.
        keep_requests: How many requests the log keeps in full; 0 keeps counts alone.
        audio_cache: How much generated audio is kept in memory.
    """

    calls: int = 0
    seed: int = 1
    day: date | None = None
    zone: tzinfo | None = UTC
    neighbours: int = 0
    new_calls: float | None = None
    seconds: float = 60.0
    spread: float = 1.0
    recordings: Path | None = None
    api_key: str = field(default=DEFAULT_API_KEY, repr=False)
    sub_accounts: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    allow_remote: bool = False
    port: int = 0
    tls: ssl_module.SSLContext | None = field(default=None, repr=False)
    clock: Clock = field(default_factory=SystemClock, repr=False)
    life: CallLife = field(default_factory=CallLife)
    heartbeat: float = 15.0
    transcript_shape: TranscriptShape = "transcript"
    stream_ended: bool = True
    error_shape: ErrorShape = "error"
    not_ready_status: int = 404
    webhook: str | None = None
    webhook_secret: str = field(default=DEFAULT_WEBHOOK_SECRET, repr=False)
    webhook_delays: Sequence[float] = (1.0, 5.0, 30.0, 300.0, 3600.0)
    webhook_backlog: bool = False
    faults: Sequence[Fault | str] = ()
    recording_addon: bool = True
    refuse_default_agents: bool = False
    latency: float = 0.0
    bandwidth: float | None = None
    total_bandwidth: float | None = None
    rate_limit: float | None = None
    capacity: int | None = None
    overload: Literal["refuse", "slow"] = "refuse"
    keep_requests: int = 10_000
    audio_cache: int = 64 * 1024 * 1024


class Options(TypedDict, total=False):
    """The same names and types as keyword arguments; ``Settings`` says what they mean."""

    calls: int
    seed: int
    day: date | None
    zone: tzinfo | None
    neighbours: int
    new_calls: float | None
    seconds: float
    spread: float
    recordings: Path | None
    api_key: str
    sub_accounts: tuple[str, ...]
    host: str
    allow_remote: bool
    port: int
    tls: ssl_module.SSLContext | None
    clock: Clock
    life: CallLife
    heartbeat: float
    transcript_shape: TranscriptShape
    stream_ended: bool
    error_shape: ErrorShape
    not_ready_status: int
    webhook: str | None
    webhook_secret: str
    webhook_delays: Sequence[float]
    webhook_backlog: bool
    faults: Sequence[Fault | str]
    recording_addon: bool
    refuse_default_agents: bool
    latency: float
    bandwidth: float | None
    total_bandwidth: float | None
    rate_limit: float | None
    capacity: int | None
    overload: Literal["refuse", "slow"]
    keep_requests: int
    audio_cache: int
