"""Where in an archive a recording lies: a path made from its call by a template.

    {started:%Y/%m/%d}/recording-{call_id}

The path has no extension; the recording and what lies beside it (``.wav``, ``.mp3``, ``.json``) add
theirs. Whatever the fields hold, every component is safe on every common file system (see
`naming`), has at most 200 bytes, and the path never leaves the folder.

Two calls never get the same path, not even one that differs in case only. That takes more than a
safe name for the id, since ``{status}-{call_id}`` could put ``a-b`` + ``c`` and ``a`` + ``b-c`` in
the same place. So in a component that has the id, other fields must be set apart from it by some
text, and the character that ends such a field is replaced inside it: going inward from both ends,
the fields can be told off one by one until the id remains. Dates need no such care, for their
length is fixed. (A component that is too long ends in a digest of all of it instead.)

A date is strftime, reduced to what is the same on every machine and in every year. The C library's
depends on the locale (``%b``, ``%c``), on the platform (``%e``, ``%-d``), and may pad years before
1000. A name must not, or a second run would look elsewhere.
"""

from __future__ import annotations

import re
import string
import unicodedata
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agentphone_async.protocol.display import printable
from agentphone_async.recordings.naming import DEVICE_NAMES, digest, safe_component

if TYPE_CHECKING:
    from agentphone_async.models import Call

__all__ = ["DEFAULT_TEMPLATE", "FIELDS", "Template", "TemplateError"]

DEFAULT_TEMPLATE = "{started:%Y/%m/%d}/recording-{call_id}"
DEFAULT_DATE = "%Y-%m-%d_%H%M%S"
MAX_TEMPLATE = 500
MAX_COMPONENT = 200

FIELDS = {
    "call_id": "id",
    "started": "started_at",
    "ended": "ended_at",
    "direction": "direction",
    "status": "status",
    "type": "type",
    "from_number": "from_number",
    "to_number": "to_number",
    "phone_number": "phone_number",
    "agent_id": "agent_id",
    "agent_name": "agent_name",
    "duration": "duration_seconds",
}
"""The fields of a template, each with the attribute of a call that fills it."""

_DATES = frozenset({"started", "ended"})
_UNKNOWN = "unknown"
_MAX_VALUE = 60
_MAX_NUMBER = 10**15
_UNSAFE_LITERAL = frozenset('<>:"\\|?*')
_UNSAFE_VALUE = re.compile(r"[^A-Za-z0-9+_-]+")
_DEVICE_INITIALS = frozenset(
    letter for name in DEVICE_NAMES for letter in name[0] + name[0].upper()
)
_BAD_FIRST, _BAD_LAST = "-. ", ". "

_DIRECTIVES = {
    "Y": "{0.year:04}",
    "y": "{0:%y}",
    "m": "{0.month:02}",
    "d": "{0.day:02}",
    "H": "{0.hour:02}",
    "M": "{0.minute:02}",
    "S": "{0.second:02}",
    "f": "{0.microsecond:06}",
    "j": "{0:%j}",
    "G": "{1.year:04}",
    "V": "{1.week:02}",
    "u": "{1.weekday}",
}
"""What each stands for, of a moment (0) and its ISO calendar date (1)."""

_OF_TIME = re.compile("%[HMSf]")
_DATE_PIECES = re.compile(r"%(.)|([-_.,+ T]+)|(.)", re.DOTALL)


def _date_pattern(text: str) -> str:
    """A format such as ``%Y-%m-%d`` as a pattern for `str.format`.

    What it gives has the same length for every moment.

    Raises:
        ValueError: there is no directive in it, or something that is neither a directive of the
            portable ones nor one of ``-_.,+T`` and the space.
    """
    pattern = ""
    for directive, literal, other in _DATE_PIECES.findall(text):
        if other or (directive and directive not in _DIRECTIVES):
            known = " ".join(f"%{name}" for name in _DIRECTIVES)
            wrong = f"%{directive}" if directive else other
            raise ValueError(f"{wrong!a} is not possible here; use {known} and - _ . , + T")
        pattern += _DIRECTIVES[directive] if directive else literal
    if "{" not in pattern:
        raise ValueError("it has a part without any directive such as %Y")
    return pattern


@lru_cache(maxsize=1024)  # the calls of a list are of few days
def _of_day(pattern: str, day: date) -> str:
    return pattern.format(day, day.isocalendar())


class TemplateError(ValueError):
    """A template that cannot name files; the message says in one line what to change."""


class _Fields:
    """What one call fills a template with."""

    def __init__(self, call: Call, zone: tzinfo, call_id: str) -> None:
        self.call_id = call_id
        self._call = call
        self._zone = zone
        self._dates: dict[str, datetime | None] = {}

    def value_of(self, field: str) -> object:
        """What the call has there."""
        return getattr(self._call, FIELDS[field])

    def date(self, field: str) -> datetime | None:
        """A moment in the zone, converted once."""
        if field not in self._dates:
            self._dates[field] = _moment(self.value_of(field), self._zone)
        return self._dates[field]


class _Text(NamedTuple):
    """Text of the template's own."""

    text: str

    def of(self, _: _Fields) -> str:
        return self.text


class _Id(NamedTuple):
    """Where the call's id stands."""

    def of(self, fields: _Fields) -> str:
        return safe_component(fields.call_id)


class _Date(NamedTuple):
    """A moment; `continues` if an earlier component holds the first part of the same one."""

    field: str
    format: str
    pattern: str  # the format, for `str.format`
    continues: bool
    daily: bool  # whether it is the same for a whole day

    def of(self, fields: _Fields) -> str:
        moment = fields.date(self.field)
        if moment is None:
            return _UNKNOWN
        if self.daily:
            return _of_day(self.pattern, moment.date())
        return self.pattern.format(moment, moment.isocalendar())


class _Value(NamedTuple):
    """Any other field; `banned` are characters that end it inside a component."""

    field: str
    banned: str = ""

    def of(self, fields: _Fields) -> str:
        return _clean(fields.value_of(self.field), self.banned)


_Part = _Text | _Id | _Date | _Value
_Component = tuple[_Part, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A template that was understood; make one with `parse`.

    Attributes:
        text: as the user wrote it.
    """

    text: str
    _components: tuple[_Component, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Understand a template.

        Fields are those of `FIELDS`. ``started`` and ``ended`` take a strftime format of the
        directives that mean the same on every machine, of which a ``/`` begins a new folder.

        Raises:
            TemplateError: an unknown field or format, no ``{call_id}``, an absolute path, ``..``,
                characters that some file system refuses, or fields that run into the id.
        """
        try:
            return cls(text, tuple(_parse(text)))
        except TemplateError as error:
            raise TemplateError(f"template '{printable(text)}': {error}") from None

    def render(self, call: Call, zone: tzinfo, *, call_id: str | None = None) -> PurePosixPath:
        """The path for a call, relative and without extension.

        Args:
            call: as it was listed.
            zone: in which dates are written.
            call_id: stands in for the call's own id (a hashed one, for instance).

        A missing value becomes ``unknown``; a date that spans folders becomes a single one.
        """
        fields = _Fields(call, zone, call.id if call_id is None else call_id)
        names: list[str] = []
        for component in self._components:
            name = "".join([part.of(fields) for part in component])
            if name == _UNKNOWN and isinstance(component[0], _Date) and component[0].continues:
                continue  # the component before says so already
            names.append(_fit(name))
        return PurePosixPath("/".join(names))


def _parse(text: str) -> list[_Component]:
    if not text or len(text) > MAX_TEMPLATE:
        raise TemplateError(f"it has {len(text)} characters; use 1 to {MAX_TEMPLATE}")
    if text.startswith(("/", "\\")):
        raise TemplateError("it is absolute; paths are made inside the destination: drop the slash")
    try:
        fields = list(string.Formatter().parse(text))
    except ValueError as error:
        raise TemplateError(f"{error}; write '{{{{' and '}}}}' for braces") from None
    components: list[list[_Part]] = [[]]
    for literal, name, spec, conversion in fields:
        _spread(components, [_Text(piece) for piece in _literal(literal).split("/")])
        if name is not None:
            _spread(components, _field(name, spec or "", conversion))
    parts = ([part for part in component if part != _Text("")] for component in components)
    result = [_separate(_checked(component)) for component in parts]
    if not any(_Id() in component for component in result):
        raise TemplateError("it has no {call_id}, so that calls would overwrite each other: add it")
    return result


def _spread(components: list[list[_Part]], pieces: list[_Part]) -> None:
    """Add `pieces` that were separated by slashes: the first here, each other in a new folder."""
    components[-1].append(pieces[0])
    components.extend([piece] for piece in pieces[1:])


def _literal(text: str) -> str:
    for char in text:
        if char in _UNSAFE_LITERAL or not char.isprintable():
            raise TemplateError(f"'{printable(char)}' is not safe in file names: leave it out")
    return text


def _field(name: str, spec: str, conversion: str | None) -> list[_Part]:
    if name not in FIELDS:
        known = ", ".join(FIELDS)
        raise TemplateError(f"there is no field {{{printable(name, 40)}}}; use one of {known}")
    if conversion is not None or (spec and name not in _DATES):
        raise TemplateError(f"{{{name}}} takes no format: write {{{name}}}")
    if name == "call_id":
        return [_Id()]
    if name not in _DATES:
        return [_Value(name)]
    pieces = (spec or DEFAULT_DATE).split("/")
    try:
        return [
            _Date(name, piece, _date_pattern(piece), n > 0, _OF_TIME.search(piece) is None)
            for n, piece in enumerate(pieces)
        ]
    except ValueError as error:
        raise TemplateError(f"{{{name}:{printable(spec, 40)}}}: {error}") from None


def _checked(component: list[_Part]) -> list[_Part]:
    if not component:
        raise TemplateError("it has an empty folder or file name: remove the extra slash")
    first, last = _outline(component[0]), _outline(component[-1])
    if len(component) == 1 and first in (".", ".."):
        raise TemplateError(f"'{first}' would leave the destination: remove it")
    if first[0] in _BAD_FIRST or last[-1] in _BAD_LAST:
        raise TemplateError(
            "a name may not start with '-', '.' or a space, nor end with the latter"
        )
    if component.count(_Id()) > 1:
        raise TemplateError("{call_id} stands twice in one name: once is enough")
    return component


def _outline(part: _Part) -> str:
    match part:
        case _Text(text):
            return text
        case _Date(format=date_format):
            return date_format
        case _:
            return "x"  # values and ids are safe at their edges


def _separate(component: list[_Part]) -> _Component:
    """Note for each value beside the id which character must not occur in it."""
    if _Id() not in component:
        return tuple(component)
    middle = component.index(_Id())
    result = list(component)
    for place, part in enumerate(component):
        if not isinstance(part, _Value):
            continue
        inward = component[place + 1] if place < middle else component[place - 1]
        if not isinstance(inward, _Text):
            raise TemplateError(
                f"{{{part.field}}} runs into the next field: put a '-' between them"
            )
        edge = inward.text[0] if place < middle else inward.text[-1]
        result[place] = _Value(part.field, _folded(edge) + _folded(edge).upper())
    return tuple(result)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())


def _moment(value: object, zone: tzinfo) -> datetime | None:
    if not isinstance(value, datetime):
        return None
    try:
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(zone)
    except (OverflowError, ValueError):  # the first or last hours that a datetime can express
        return None


def _clean(value: object, banned: str) -> str:
    if isinstance(value, int | float):
        value = int(value) if 0 <= value < _MAX_NUMBER else None  # NaN and infinity are not
    substitute = "-" if "_" in banned else "_"
    replaced = dict.fromkeys(map(ord, banned), substitute)
    plain = unicodedata.normalize("NFKD", "" if value is None else str(value)[: 4 * _MAX_VALUE])
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    text = _UNSAFE_VALUE.sub("_", plain)[:_MAX_VALUE].translate(replaced).strip("-")
    return text or _UNKNOWN.translate(replaced)


def _fit(name: str) -> str:
    """Make a component that is safe but for its length or a device's name safe altogether."""
    if len(name) <= MAX_COMPONENT and name.isascii() and name[:1] not in _DEVICE_INITIALS:
        return name
    stem = name.partition(".")[0].rstrip(" ")
    if stem.casefold() in DEVICE_NAMES:
        name = f"{stem}~{name[len(stem) :]}"
    encoded = name.encode()
    if len(encoded) <= MAX_COMPONENT:
        return name
    ending = "~" + digest(name)
    return encoded[: MAX_COMPONENT - len(ending)].decode("utf-8", "ignore") + ending
