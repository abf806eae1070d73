"""Dates in file names: strftime, reduced to what is the same on every machine and in every year.

The C library's strftime depends on the locale (``%b``, ``%c``), on the platform (``%e``, ``%-d``),
and pads years before 1000 or not. A name must not, or a second run would look elsewhere. And each
directive here has a fixed width, so that names made of several fields stay one-to-one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

__all__ = ["DateFormat"]

_DIRECTIVES: dict[str, Callable[[datetime], str]] = {
    "Y": lambda moment: f"{moment.year:04}",
    "y": lambda moment: f"{moment.year % 100:02}",
    "m": lambda moment: f"{moment.month:02}",
    "d": lambda moment: f"{moment.day:02}",
    "H": lambda moment: f"{moment.hour:02}",
    "M": lambda moment: f"{moment.minute:02}",
    "S": lambda moment: f"{moment.second:02}",
    "f": lambda moment: f"{moment.microsecond:06}",
    "j": lambda moment: f"{moment.timetuple().tm_yday:03}",
    "G": lambda moment: f"{moment.isocalendar().year:04}",
    "V": lambda moment: f"{moment.isocalendar().week:02}",
    "u": lambda moment: f"{moment.isoweekday()}",
}
_PIECES = re.compile(r"%(.)|([-_.,+ T]+)|(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DateFormat:
    """A format that was understood; make one with `parse`.

    Attributes:
        text: as it was given.
    """

    text: str
    _pieces: tuple[str | Callable[[datetime], str], ...]

    @classmethod
    def parse(cls, text: str) -> DateFormat:
        """Understand a format such as ``%Y-%m-%d``.

        Raises:
            ValueError: there is no directive in it, or something that is neither a directive of
                the portable ones nor one of ``-_.,+T`` and the space.
        """
        pieces: list[str | Callable[[datetime], str]] = []
        for directive, literal, other in _PIECES.findall(text):
            if other or (directive and directive not in _DIRECTIVES):
                known = " ".join(f"%{name}" for name in _DIRECTIVES)
                wrong = f"%{directive}" if directive else other
                raise ValueError(f"{wrong!a} is not possible here; use {known} and - _ . , + T")
            pieces.append(_DIRECTIVES[directive] if directive else literal)
        if not any(map(callable, pieces)):
            raise ValueError("it has a part without any directive such as %Y")
        return cls(text, tuple(pieces))

    def render(self, moment: datetime) -> str:
        """`moment` in this format, in its own zone; the length is the same for every moment."""
        return "".join(piece if isinstance(piece, str) else piece(moment) for piece in self._pieces)
