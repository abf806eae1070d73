"""JSON answers that say something else than the truth: pure functions of their bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from agentphone_async.emulator.faults.damage import damaged_page
from agentphone_async.emulator.faults.fault import Fault, RecordingLink
from agentphone_async.emulator.seeding import numeric_id

Link = Callable[[RecordingLink, str], str]
"""Where the recording of a call is, in one of the ways of saying it."""


def changes_json(fault: Fault) -> bool:
    """Whether a fault changes what JSON says."""
    said = (fault.page, fault.edit, fault.call_status, fault.recording_available)
    return fault.numeric_ids or any(item is not None for item in (*said, fault.recording_url))


def changed_json(body: bytes, fault: Fault, link: Link) -> bytes:
    """A body with whatever the fault makes of it."""
    if fault.page == "malformed":
        return body[: len(body) // 2]
    content = json.loads(body)
    _change_calls(content, fault, link)
    if fault.page is not None:
        content = damaged_page(content, fault.page)
    if fault.edit is not None:
        content = fault.edit(content)
    return json.dumps(content).encode()


def _change_calls(content: Any, fault: Fault, link: Link) -> None:
    """Let every call in a JSON answer say something else of itself, in place."""
    for call in _calls(content):
        call_id = call["id"]
        if fault.call_status is not None:
            call["status"] = fault.call_status
        if fault.recording_available == "missing":
            call.pop("recordingAvailable", None)
        elif fault.recording_available is not None:
            call["recordingAvailable"] = json.loads(fault.recording_available)
        if fault.recording_url is not None and call.get("recordingUrl") is not None:
            call["recordingUrl"] = link(fault.recording_url, call_id)
        if fault.numeric_ids:
            call["id"] = numeric_id(call_id)
    if fault.numeric_ids and isinstance(content, dict) and "callId" in content:
        content["callId"] = numeric_id(content["callId"])


def _calls(content: Any) -> list[dict[str, Any]]:
    rows = content.get("data", [content]) if isinstance(content, dict) else []
    return [row for row in rows if isinstance(row, dict) and "status" in row and "id" in row]
