"""Faults as values: which requests they hit, and what then goes wrong.

A fault is described by ``Fault`` alone; ``apply_fault`` turns it into a changed answer and
``send`` puts that on the wire. Rules are tried in the order in which they were added;
the first that applies is the only one.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields
from random import Random
from typing import Any, Literal, TypedDict, get_args

from agentphone_async.emulator.errors import ErrorShape
from agentphone_async.emulator.faults.damage import PageDamage, WaveDamage
from agentphone_async.emulator.reply import Framing
from agentphone_async.emulator.routes import ROUTES, Route
from agentphone_async.emulator.seeding import rng

Place = Literal["connection", "headers"]
"""Before the first byte of an answer; in the middle of its headers."""

_CHOICES: tuple[tuple[str, tuple[object, ...]], ...] = (
    ("route", (None, *ROUTES)),
    ("wav", (None, *get_args(WaveDamage))),
    ("page", (None, *get_args(PageDamage))),
    ("framing", get_args(Framing)),
    ("error_shape", (None, *get_args(ErrorShape))),
)
_BOUNDS: tuple[tuple[str, float, float], ...] = (
    ("times", 1, math.inf),
    ("skip", 0, math.inf),
    ("probability", 0, 1),
    ("status", 200, 599),
    ("redirect_status", 300, 399),
    ("gzip_bomb", 0, math.inf),
    ("delay", 0, math.inf),
    ("bandwidth", 1, math.inf),
    ("content_length", 0, math.inf),
    ("after_events", 1, math.inf),
    ("surplus", 0, math.inf),
    ("arrive", 0, math.inf),
    ("vanish", 0, math.inf),
)
_LOGGED = 100_000


@dataclass(frozen=True, slots=True, repr=False)
class Fault:
    """What goes wrong, and for whom. Times are in seconds, sizes in bytes.

    Attributes:
        route: Only requests of this endpoint; None for every one.
        call_id: Only requests with this id in their path.
        times: So often, then never again; None for always.
        skip: Let so many matching requests pass first.
        probability: Hit a matching request with this chance, by the emulator's seeded dice.
        processed: Whether the request is carried out although its answer goes wrong. By
            default it is, except where ``status`` refuses it: a POST that is answered 500
            with ``processed=True`` has placed its call.
        status: Answer this. Below 300 the body stays, otherwise it is an error's.
        error_shape: Which of the error bodies.
        retry_after: Seconds, or any text; ``date:5`` is the HTTP date of five seconds from
            now, ``date:-5`` one in the past.
        body: In place of the real one.
        media_type: ``Content-Type`` in place of the real one.
        headers: Added, or put in the place of those of the same name.
        html: A page of HTML, with status 200 unless ``status`` is given.
        mpeg: ``audio/mpeg`` frames in place of the recording.
        wav: What is unusual about the WAVE file; ``damaged_wave`` recomputes it.
        gzip: Compress the body, whatever the client accepts.
        gzip_bomb: A compressed body that expands to so many zeros.
        redirect: ``same`` host; ``other-host``, which is ``localhost``; ``downgrade`` to http;
            ``loop``; or a URL.
        redirect_status: 301, 302, 303, 307 or 308.
        ignore_range: Answer 200 and everything to a ``Range``.
        shift_range: Answer another range: so many bytes later than asked, and say so.
        content_range: ``Content-Range`` in place of the real one.
        etag: In place of the real one; empty for none, ``new`` for another each time.
        change_recording: The recording becomes another one just before it is sent.
        delay: Silence before the headers; infinite for ever.
        bandwidth: Bytes a second.
        framing: How the end of the body is told: ``length``, ``close`` or ``chunked``.
        content_length: A wrong ``Content-Length``.
        length_off_by: A ``Content-Length`` that is so much too large, or too small.
        truncate: End in good order after so many bytes of the body; with a length, without
            one, or without the last chunk, as ``framing`` says. Negative counts from the
            body's end, here and in the next two.
        reset: Reset the connection after so many bytes of the body, before the answer
            (``connection``), or inside its ``headers``.
        stall: Fall silent there, with the connection open.
        after_events: Count these three from the end of this event of a transcript stream.
        surplus: So many bytes too many after the body.
        endless: The body is repeated for ever.
        hang_up: Close the connection after the answer without having said so.
        arrive: So many new calls begin after a list was answered.
        vanish: So many of the newest calls disappear after it.
        page: What is wrong with a page of a list.
        edit: Changes the JSON of an answer; only from Python.

    Raises:
        ValueError: A value is out of its range, or two exclude each other.
    """

    route: Route | None = None
    _: KW_ONLY
    call_id: str | None = None
    times: int | None = None
    skip: int = 0
    probability: float = 1.0
    processed: bool | None = None
    status: int | None = None
    error_shape: ErrorShape | None = None
    retry_after: float | str | None = None
    body: bytes | str | None = None
    media_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    html: bool = False
    mpeg: bool = False
    wav: WaveDamage | None = None
    gzip: bool = False
    gzip_bomb: int = 0
    redirect: str | None = None
    redirect_status: int = 302
    ignore_range: bool = False
    shift_range: int = 0
    content_range: str | None = None
    etag: str | None = None
    change_recording: bool = False
    delay: float = 0.0
    bandwidth: float | None = None
    framing: Framing = "length"
    content_length: int | None = None
    length_off_by: int = 0
    truncate: int | None = None
    reset: int | Place | None = None
    stall: int | Place | None = None
    after_events: int | None = None
    surplus: int = 0
    endless: bool = False
    hang_up: bool = False
    arrive: int = 0
    vanish: int = 0
    page: PageDamage | None = None
    edit: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_numbers(self)
        if sum(item is not None for item in (self.truncate, self.reset, self.stall)) > 1:
            raise ValueError("truncate, reset and stall exclude each other")

    def __repr__(self) -> str:
        said = (
            f"{item.name}={getattr(self, item.name)!r}"
            for item in fields(self)
            if getattr(self, item.name) not in (item.default, {})
        )
        return f"Fault({', '.join(said)})"

    @property
    def carries_out(self) -> bool:
        """Whether the request is carried out, whatever is answered."""
        if self.processed is not None:
            return self.processed
        return self.status is None or self.status < 300

    def concerns(self, route: Route, call_id: str, query: str) -> bool:
        """Whether a request is one of those that it is for."""
        if self.redirect not in {None, "loop"} and REDIRECTED in query:
            return False
        return self.route in {None, route} and self.call_id in {None, call_id}


def _check_choices(fault: Fault) -> None:
    for name, allowed in _CHOICES:
        value = getattr(fault, name)
        if value not in allowed:
            known = ", ".join(str(item) for item in allowed if item is not None)
            raise ValueError(f"{name} must be one of {known}, not {value!r}")
    for name in ("reset", "stall"):
        place = getattr(fault, name)
        if isinstance(place, str) and place not in get_args(Place):
            raise ValueError(f"{name} must be a number, connection or headers, not {place!r}")


def _check_numbers(fault: Fault) -> None:
    for name, least, most in _BOUNDS:
        value = getattr(fault, name)
        if value is not None and not least <= value <= most:
            span = f"be at least {least:g}" if math.isinf(most) else f"lie in {least:g} to {most:g}"
            raise ValueError(f"{name} must {span}, not {value:g}")


REDIRECTED = "redirected=1"
"""Marks the target of a redirect, so that following it arrives."""


class FaultFields(TypedDict, total=False):
    """The same names and types as keyword arguments; ``Fault`` says what they mean."""

    route: Route | None
    call_id: str | None
    times: int | None
    skip: int
    probability: float
    processed: bool | None
    status: int | None
    error_shape: ErrorShape | None
    retry_after: float | str | None
    body: bytes | str | None
    media_type: str | None
    headers: Mapping[str, str]
    html: bool
    mpeg: bool
    wav: WaveDamage | None
    gzip: bool
    gzip_bomb: int
    redirect: str | None
    redirect_status: int
    ignore_range: bool
    shift_range: int
    content_range: str | None
    etag: str | None
    change_recording: bool
    delay: float
    bandwidth: float | None
    framing: Framing
    content_length: int | None
    length_off_by: int
    truncate: int | None
    reset: int | Place | None
    stall: int | Place | None
    after_events: int | None
    surplus: int
    endless: bool
    hang_up: bool
    arrive: int
    vanish: int
    page: PageDamage | None
    edit: Callable[[Any], Any] | None


@dataclass(frozen=True, slots=True)
class FaultEvent:
    """One line of the fault log: what was done to which request.

    Attributes:
        number: Counts all faults since the start, from 1.
    """

    number: int
    fault: Fault
    route: Route
    call_id: str


@dataclass(slots=True)
class _Rule:
    fault: Fault
    dice: Random
    skipped: int = 0
    fired: int = 0

    def fires(self) -> bool:
        fault = self.fault
        if fault.times is not None and self.fired >= fault.times:
            return False
        if self.skipped < fault.skip:
            self.skipped += 1
            return False
        if fault.probability < 1.0 and self.dice.random() >= fault.probability:
            return False
        self.fired += 1
        return True


class FaultBook:
    """The rules in force, and the log of what they did.

    Args:
        seed: What the dice of ``probability`` follow from.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rules: list[_Rule] = []
        self._added = 0
        self._fired = 0
        self.log: deque[FaultEvent] = deque(maxlen=_LOGGED)

    def add(self, fault: Fault) -> None:
        """Put a rule behind all others."""
        self._added += 1
        self._rules.append(_Rule(fault, rng("fault", self._seed, self._added)))

    def clear(self) -> None:
        """Take all rules away; the log stays."""
        self._rules.clear()

    def strike(self, route: Route, call_id: str, query: str = "") -> FaultEvent | None:
        """What goes wrong with a request, if anything does."""
        for rule in self._rules:
            if rule.fault.concerns(route, call_id, query) and rule.fires():
                self._fired += 1
                event = FaultEvent(self._fired, rule.fault, route, call_id)
                self.log.append(event)
                return event
        return None
