"""What can go wrong on purpose: as a value, as a line of text, and what becomes of an answer."""

from __future__ import annotations

from agentphone_async.emulator.faults.book import FaultBook, FaultEvent
from agentphone_async.emulator.faults.fault import Fault, FaultFields
from agentphone_async.emulator.faults.language import parse_fault, parse_seconds, parse_size

__all__ = [
    "Fault",
    "FaultBook",
    "FaultEvent",
    "FaultFields",
    "parse_fault",
    "parse_seconds",
    "parse_size",
]
