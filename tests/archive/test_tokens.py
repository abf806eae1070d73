"""Addresses that carry a token: used, and kept nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.archive import Archive
from agentphone_async.archive.options import RunOptions
from agentphone_async.emulator import Emulator


@pytest.mark.parametrize("how", ["token", "other-host", "relative"])
async def test_a_token_of_a_recordings_address_is_stored_nowhere(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, how: str
):
    call = emulator.add_call(duration=0.1)
    emulator.fail(recording_url=how)
    report = await Archive(tmp_path).run(client, options=RunOptions(metadata=True))
    assert report.archived == 1
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert emulator.expected_audio(call.id) in files
    assert any(b"recordingUrl" in content for content in files)
    assert not any(b"token=" in content or b"Signature=" in content for content in files)
