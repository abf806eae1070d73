"""The call of the API's documentation, and whatever may stand in its place."""

from __future__ import annotations

from hypothesis import strategies as st

CALL = {
    "id": "call_ghi012",
    "agentId": "agt_abc123",
    "agentName": None,
    "phoneNumberId": "num_xyz789",
    "phoneNumber": "+15551230000",
    "fromNumber": "+15559870000",
    "toNumber": "+15551230000",
    "direction": "inbound",
    "status": "completed",
    "startedAt": "2025-01-15T14:00:00Z",
    "endedAt": "2025-01-15T14:05:30.250Z",
    "durationSeconds": 330.25,
    "lastTranscriptSnippet": "…",
    "recordingUrl": "https://api.agentphone.ai/v1/calls/call_ghi012/recording",
    "recordingAvailable": True,
    "somethingNew": {"deep": [1, 2]},
}

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
