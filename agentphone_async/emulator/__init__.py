"""The AgentPhone calls API on loopback, with deterministic audio and scripted faults.

There is no sandbox of the real service and every real call costs money; this is where
clients are tried out. ``Emulator`` is the server; ``VirtualClock`` lets a test decide what
time it is; ``audio_bytes`` recomputes any generated recording.
"""

from __future__ import annotations

from agentphone_async.emulator.audio import audio_bytes, audio_size, call_seconds
from agentphone_async.emulator.clock import Clock, SystemClock, VirtualClock
from agentphone_async.emulator.factories import CallFields
from agentphone_async.emulator.faults import Fault, FaultEvent
from agentphone_async.emulator.faults.damage import damaged_wave
from agentphone_async.emulator.faults.fault import FaultFields
from agentphone_async.emulator.faults.language import parse_fault
from agentphone_async.emulator.models import (
    CallLife,
    EmulatedAgent,
    EmulatedCall,
    EmulatedNumber,
    WebhookDelivery,
)
from agentphone_async.emulator.request_log import LoggedRequest, RequestLog
from agentphone_async.emulator.server import Emulator
from agentphone_async.emulator.settings import Options, Settings
from agentphone_async.emulator.threaded import EmulatorThread

__all__ = [
    "CallFields",
    "CallLife",
    "Clock",
    "EmulatedAgent",
    "EmulatedCall",
    "EmulatedNumber",
    "Emulator",
    "EmulatorThread",
    "Fault",
    "FaultEvent",
    "FaultFields",
    "LoggedRequest",
    "Options",
    "RequestLog",
    "Settings",
    "SystemClock",
    "VirtualClock",
    "WebhookDelivery",
    "audio_bytes",
    "audio_size",
    "call_seconds",
    "damaged_wave",
    "parse_fault",
]
