"""How calls look to people: tables and lines, with nothing in them that a terminal would obey."""

from __future__ import annotations

from datetime import datetime

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentphone_async.models import Call, RecordingState
from agentphone_async.protocol.display import printable

_RECORDING = {
    RecordingState.AVAILABLE: "yes",
    RecordingState.UNAVAILABLE: "no",
    RecordingState.CALL_IN_PROGRESS: "call in progress",
    RecordingState.UNKNOWN: "not known",
}


WIDE = 1000
"""Columns for a table that goes into a file or a pipe, where nothing needs to be folded."""


def show(table: Table) -> None:
    """Print a table on standard output."""
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDE
    console.print(table)


def call_table(calls: list[Call]) -> Table:
    """One row a call; times are local."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("started", "direction", "from", "to", "length", "status", "recording", "id"):
        # An id that is cut or wrapped is of no use.
        table.add_column(heading, no_wrap=heading != "recording", overflow="fold")
    for call in calls:
        table.add_row(
            _text(moment(call.started_at)),
            _text(call.direction),
            _text(call.from_number),
            _text(call.to_number),
            _text(duration(call.duration_seconds)),
            _text(call.status),
            _text(_RECORDING[call.recording_state]),
            _text(call.id, 1024),
        )
    return table


def call_sheet(call: Call) -> Table:
    """One line a field, and what was said below."""
    sheet = Table.grid(padding=(0, 2))
    fields = [
        ("id", call.id),
        ("status", call.status),
        ("direction", call.direction),
        ("from", call.from_number),
        ("to", call.to_number),
        ("agent", call.agent_name or call.agent_id),
        ("started", moment(call.started_at)),
        ("ended", moment(call.ended_at)),
        ("length", duration(call.duration_seconds)),
        ("recording", _RECORDING[call.recording_state]),
    ]
    for name, value in fields:
        sheet.add_row(Text(name, style="dim"), _text(value, 1024))
    for exchange in call.transcripts:
        for role, content in (("user", exchange.transcript), ("agent", exchange.response)):
            if content:
                sheet.add_row(Text(role, style="dim"), _text(content, 10_000))
    return sheet


def turn_line(at: datetime | None, role: str | None, content: str | None) -> str:
    """One line for what one side said; the time of day is local."""
    clock = at.astimezone().strftime("%H:%M:%S") if at is not None else "--:--:--"
    return f"{clock}  {printable(role or '?', 20):5}  {printable(content or '', 10_000)}"


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


def _text(value: str | None, limit: int = 200) -> Text:
    return Text(printable(value, limit) if value else "-")
