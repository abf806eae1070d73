"""Rows on standard output: a table for people, TSV, JSON lines, or ids alone.

Ids and paths stand last in a row, and are never cut: what is copied from a terminal works. Where
it is narrow, whole columns are left out, the least important ones first. What comes from the
network is made harmless.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import click

from agentphone_async.protocol.display import printable
from agentphone_async.quantities import counted, size_text

if TYPE_CHECKING:
    from agentphone_async.models import Call

Row = TypeVar("Row")
Format = Literal["table", "tsv", "json", "ids"]

LONGEST = 4096
"""Characters of an id or a path that are shown."""

ALWAYS = 1000
"""The rank of a column that is never left out."""

_UNBOUNDED = 10_000
_AT_ONCE = 100
_GAP = "  "


def moment(at: datetime | None) -> str | None:
    """Date and time in the machine's zone."""
    return None if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float | None) -> str:
    """``4:05``, or ``1:02:03``; a dash for an unknown one."""
    if seconds is None or not 0 <= seconds < 1e9:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


_SHOWN: dict[str, tuple[int, Callable[[Any], str | None]]] = {
    "moment": (16, lambda at: at.astimezone().strftime("%Y-%m-%d %H:%M")),
    "duration": (8, duration),
    "size": (9, size_text),
    "number": (9, lambda value: f"{value:,}"),
    "decimal": (8, lambda value: f"{value:,.1f}" if value < 100 else f"{value:,.0f}"),
    "text": (0, str),
}


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column.

    Attributes:
        name: the heading of the table; TSV adds the unit.
        value: takes the value from a row: text, a number, a moment, or None.
        kind: how people read it.
        width: characters that it takes at most; longer ones are cut. 0 for the last column, which
            is never cut.
        rank: the lower, the earlier the column is left out where it is narrow.
        unit: of the number in TSV, such as ``bytes``.
        right: whether its cells end at one line, as those of numbers do.
        in_table: whether people see it.
        in_tsv: whether TSV has it.
    """

    name: str
    value: Callable[[Row], Any]
    kind: Literal["moment", "duration", "size", "number", "decimal", "text"] = "text"
    width: int = 0
    rank: int = 0
    unit: str | None = None
    right: bool = False
    in_table: bool = True
    in_tsv: bool = True

    @property
    def is_right(self) -> bool:
        """Whether its cells end at one line."""
        return self.right or self.kind in {"duration", "size", "number", "decimal"}

    @property
    def columns(self) -> int:
        """How wide it is."""
        return self.width or _SHOWN[self.kind][0]

    def shown(self, row: Row) -> str:
        """The cell for people."""
        value = self.value(row)
        text = None if value is None else _SHOWN[self.kind][1](value)
        return printable(text, LONGEST) if text else "-"

    def plain(self, row: Row) -> str:
        """The cell for programs: times in UTC, numbers without separators, nothing for None."""
        value = self.value(row)
        if value is None:
            return ""
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return printable(str(value), LONGEST)


def call_columns(call_of: Callable[[Row], Call]) -> list[Column[Row]]:
    """Of the call in a row: when it was, which way, between whom, and how long."""
    length: Column[Row] = Column(
        "length", lambda row: call_of(row).duration_seconds, "duration", rank=40, unit="seconds"
    )
    return [
        Column("started", lambda row: call_of(row).started_at, "moment", rank=50),
        Column("direction", lambda row: call_of(row).direction, width=9, rank=0),
        Column("from", lambda row: call_of(row).from_number, width=16, rank=30),
        Column("to", lambda row: call_of(row).to_number, width=16, rank=20),
        length,
    ]


class Rows(Generic[Row]):
    """Prints rows as they come.

    Args:
        columns: the last one for people is the id or the path.
        output: the format; None for a table on a terminal, and TSV elsewhere.
        ids: takes a row's call id.
        as_json: takes what JSON shows of a row.
    """

    def __init__(
        self,
        columns: Sequence[Column[Row]],
        output: str | None,
        *,
        ids: Callable[[Row], str],
        as_json: Callable[[Row], Any],
    ) -> None:
        self.output = format_of(output)
        self.count = 0
        self._all = [each for each in columns if each.in_tsv]
        self._fitting = [each for each in columns if each.in_table]
        self._ids = ids
        self._as_json = as_json
        self._refused = 0

    def print(self, rows: Iterable[Row]) -> None:
        """Print some rows; the headings only above the first ones."""
        found = list(rows)
        if not found:
            return
        lines = self._heading(found) if not self.count else []
        self.count += len(found)
        match self.output:
            case "json":  # escaped to ASCII: a terminal sees no control character
                lines += [json.dumps(self._as_json(row)) for row in found]
            case "ids":
                lines += self._harmless(map(self._ids, found))
            case "tsv":
                lines += ["\t".join(each.plain(row) for each in self._all) for row in found]
            case _:
                lines += [self._line([each.shown(row) for each in self._fitting]) for row in found]
        if lines:
            click.echo("\n".join(lines))

    async def print_all(self, rows: AsyncIterator[Row]) -> None:
        """Print rows as they come, a hundred at a time; before an error what came until then."""
        waiting: list[Row] = []
        try:
            async for row in rows:
                waiting.append(row)
                if len(waiting) == _AT_ONCE:
                    self.print(waiting)
                    waiting.clear()
        finally:
            self.print(waiting)

    def finish(self, nothing: str) -> None:
        """Say on standard error that there were no rows, or that some could not be printed."""
        if not self.count:
            click.echo(nothing, err=True)
        if self._refused:
            click.echo(
                f"{counted(self._refused, 'id')} with control characters left out; "
                "-o json has them",
                err=True,
            )

    def _heading(self, rows: Sequence[Row]) -> list[str]:
        if self.output == "tsv":
            return ["\t".join("_".join(filter(None, (c.name, c.unit))) for c in self._all)]
        if self.output != "table":
            return []
        last = max(width_of(self._fitting[-1].shown(row)) for row in rows)
        self._fitting = fitting(self._fitting, last, terminal_width())
        if len(self._fitting) == 1:
            return []
        names = [each.name for each in self._fitting]
        return [self._line(names), self._line(["─" * len(name) for name in names])]

    def _line(self, cells: Sequence[str]) -> str:
        parts = [
            padded(cell, column.columns, right=column.is_right)
            for column, cell in zip(self._fitting[:-1], cells, strict=False)
        ]
        return _GAP.join([*parts, cells[-1]]).rstrip()

    def _harmless(self, ids: Iterable[str]) -> list[str]:
        given = list(ids)
        sound = [each for each in given if each.isprintable() and each]
        self._refused += len(given) - len(sound)
        return sound


def fitting(columns: Sequence[Column[Row]], last: int, room: int) -> list[Column[Row]]:
    """The columns for which there is room, beside a last one that is as wide as it is."""
    kept = list(columns)

    def taken() -> int:
        return sum(each.columns + len(_GAP) for each in kept[:-1]) + last

    while taken() > room and (others := [each for each in kept[:-1] if each.rank < ALWAYS]):
        kept.remove(min(others, key=lambda each: each.rank))
    return kept


def format_of(output: str | None) -> str:
    """The format that was asked for; else a table on a terminal, and TSV elsewhere."""
    return output or ("table" if sys.stdout.isatty() else "tsv")


def terminal_width() -> int:
    """Columns of the terminal; very many where there is none, unless ``COLUMNS`` says."""
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS"):
        return _UNBOUNDED
    return shutil.get_terminal_size().columns


def width_of(text: str) -> int:
    """How many columns a terminal uses for it."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(each) in "WF" for each in text)
    return len(text) + wide - sum(unicodedata.combining(each) > 0 for each in text)


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Exactly so wide; a longer text ends in ``…``."""
    if width_of(text) > width:
        while width_of(text) >= width:
            text = text[:-1]
        text += "…"
    space = " " * (width - width_of(text))
    return space + text if right else text + space


def sheet(fields: Iterable[tuple[str, str | None]], output: str | None) -> None:
    """Print one thing, a line for each of its fields."""
    shown = [(name, printable(value, 10_000) if value else "-") for name, value in fields]
    plain = format_of(output) == "tsv"
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        click.echo(f"{name}\t{value}" if plain else f"{name:{width}}{_GAP}{value}")


def turn_line(at: datetime | None, role: str | None, content: str | None) -> str:
    """One line for what one side said; the time of day is local."""
    clock = at.astimezone().strftime("%H:%M:%S") if at is not None else "--:--:--"
    return f"{clock}  {printable(role or '?', 20):5}  {printable(content or '', 10_000)}"
