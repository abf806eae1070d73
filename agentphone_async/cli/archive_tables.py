"""Calls of an archive as a table for people that may be of any length."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentphone_async.protocol.display import printable

_WIDE = 1000  # when a program reads, nothing is folded
_LONGEST = 1024


class LongTable:
    """A table that is printed in parts, as rows come.

    Args:
        columns: headings, each with the width of its column; None for the last one, which takes
            what is left.
    """

    def __init__(self, columns: Sequence[tuple[str, int | None]]) -> None:
        width = None if sys.stdout.isatty() else _WIDE
        self._console = Console(width=width, highlight=False)
        self._columns = columns
        self._begun = False

    def print(self, rows: Iterable[Sequence[str | None]]) -> None:
        """Print some rows; the headings only above the first ones. Text is made harmless here."""
        table = Table(
            box=box.SIMPLE_HEAD if not self._begun else None,
            show_header=not self._begun,
            pad_edge=False,
            padding=(0, 1),
            show_edge=False,
        )
        self._begun = True
        for heading, width in self._columns:
            # An id that is cut is of no use; it is folded where the terminal is too narrow.
            table.add_column(heading, width=width, overflow="fold", no_wrap=width is not None)
        for row in rows:
            table.add_row(*(Text(printable(value, _LONGEST) if value else "-") for value in row))
        self._console.print(table)
