"""Whether an answer may be believed to be the one to its request."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

QUIET = 0.1
"""Seconds after an answer in which surplus shows, if there is any."""

MOST_NOTED = 1024
"""Contents that are remembered to be recognised as shared."""

REFUSALS = 8
"""Connections whose first answer was the same refusal, before others are believed to be."""

EDGE = 2048
"""Bytes at each end of a body that tell it from others of its size; all of it would cost more CPU
than everything else that is done for a small recording."""


def checksum_of(first: bytes, last: bytes | None = None) -> int:
    """A checksum, not a cryptographic one, of the first and the last `EDGE` bytes of a body."""
    last = first if last is None else last
    return zlib.crc32(last[-EDGE:], zlib.crc32(first[:EDGE]))


class Content(NamedTuple):
    """What an answer was: enough to see that another one is the same again.

    Attributes:
        about: which call was asked for, or which path.
        status: of the answer.
        size: bytes of the body.
        checksum: see `checksum_of`.
    """

    about: str
    status: int
    size: int
    checksum: int


class Shared:
    """What is known of all connections of a pool, and the contents that several calls have.

    The first answer of a connection cannot be another request's. So what some of them bring for
    different calls, such as an announcement or a refusal, is what these have in common, and no sign
    of an answer that came twice.

    Attributes:
        named: some answer has named what was asked for.
        out_of_step: some connection has brought what nobody had asked for.
    """

    def __init__(self) -> None:
        self.named = self.out_of_step = False
        self._met: dict[tuple[int, int, int], tuple[str, int]] = {}

    def __contains__(self, content: Content) -> bool:
        _, times = self._met.get(content[1:], ("", 0))
        if content.status < 400:
            return times >= 2
        return times >= REFUSALS and not self.out_of_step

    def note(self, content: Content) -> None:
        """The first answer of a connection brought this."""
        about, times = self._met.get(content[1:], ("", 0))
        if about != content.about:
            self._met[content[1:]] = content.about, times + 1
        if len(self._met) > MOST_NOTED:
            del self._met[next(iter(self._met))]


class Giver(Protocol):
    """The connection that an answer came over."""

    shared: Shared
    """What is known of all connections of its pool."""

    believed: bool
    """Whether a refusal was believed that came before, too."""

    def has_given(self, trust: Trust, content: Content) -> bool:
        """Whether an earlier answer to another request was the same."""

    def out_of_step(self) -> None:
        """Something came that nobody had asked for."""

    def force_close(self) -> None:
        """Carry no other request."""


def _nobody() -> None:
    """In place of a reference to a connection, where there is none."""


@dataclass(slots=True, eq=False)
class Trust:
    """Whether an answer may be believed to be the one to its request.

    Attributes:
        first: it was the first answer of its connection.
        proved: it is known to be right.
        named: its content names the request.
        repeats: it says no in the same bytes as an earlier answer of the connection to another
            request. That is common, and it is also what an answer that came twice looks like.
        content: what it was; None while it comes, and where it is named.
        ended_at: when its last byte came, in monotonic seconds; until then, when it began.
    """

    first: bool
    proved: bool
    _connection: Callable[[], Giver | None] = _nobody
    named: bool = False
    repeats: bool = False
    content: Content | None = None
    ended_at: float = field(default_factory=time.monotonic)
    _distrusted: bool = False
    _before: Trust | None = None

    @property
    def distrusted(self) -> bool:
        """It may be another request's: ask again. May become true until it is settled."""
        return self._distrusted or (self._before is not None and self._before.distrusted)

    @property
    def unsettled(self) -> float:
        """Seconds until surplus behind it would have shown; 0.0 if it is known to be right."""
        if self.proved or self._distrusted:
            return 0.0
        own = 0.0 if self.first else max(0.0, self.ended_at + QUIET - time.monotonic())
        return own if self._before is None else max(own, self._before.unsettled)

    def prove(self) -> None:
        """Its content names the request."""
        self.named = self.proved = True
        self._distrusted = False
        connection = self._connection()
        if connection is not None:
            connection.shared.named = True

    def follows(self, before: Trust) -> None:
        """It is where the answer ``before`` redirected to, and can be right only if that is."""
        self._before = before
        self.proved = self.proved and before.proved

    def distrust(self) -> None:
        """Something was there that nobody had asked for."""
        if not self.proved:
            self._distrusted = True

    def refuse(self) -> None:
        """It is another request's: use the connection no more."""
        self._distrusted = True
        connection = self._connection()
        if connection is not None:
            connection.out_of_step()

    def came(self, content: Content) -> None:
        """All of it has come, and nothing in it names the request.

        An answer that comes twice, and late, is taken for that of a request under way, and shifts
        all that follow. What gives it away is that it is the same again. A recording seldom is (see
        `Shared`); a refusal may well be, where answers name nobody, and should be asked for once
        more apart.
        """
        self.ended_at = time.monotonic()
        connection = self._connection()
        if self.named or connection is None:
            return
        self.content = content
        if self.first:
            connection.shared.note(content)
            return
        again = connection.has_given(self, content)
        if content.status < 400:
            if connection.believed or (again and content not in connection.shared):
                self.refuse()
        elif again and not connection.shared.named:
            if content in connection.shared:
                connection.believed = True
            else:
                self.repeats = True
                connection.force_close()
