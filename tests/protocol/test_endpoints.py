from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentphone_async.errors import InvalidIdError
from agentphone_async.protocol import endpoints
from agentphone_async.protocol.endpoints import LONGEST_ID, Request, segment

REFUSED = ["", ".", "..", "...", "x" * (LONGEST_ID + 1)]


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.strip(".")))
def test_any_id_is_exactly_one_segment_and_comes_back_whole(identifier: str):
    encoded = segment(identifier)
    assert set(encoded).isdisjoint("/?#\\ \r\n\0:@[]")
    assert encoded.isascii()
    assert encoded not in {".", ".."}
    assert unquote(encoded) == identifier


def test_lone_surrogates_are_encoded_too():
    assert segment("call_\ud800") == "call_%ED%A0%80"


@pytest.mark.parametrize("identifier", REFUSED)
def test_what_cannot_be_a_segment_is_refused_by_name(identifier: str):
    with pytest.raises(InvalidIdError) as caught:
        endpoints.get_call(identifier)
    assert caught.value.call_id == identifier
    assert len(str(caught.value)) < 200


def test_the_refusal_says_which_kind_of_id():
    with pytest.raises(InvalidIdError, match="number id '' cannot be one"):
        endpoints.list_calls_for_number("", limit=1, offset=0)
    with pytest.raises(InvalidIdError, match="agent id"):
        endpoints.list_agent_calls("..", limit=1, offset=0)


def test_control_characters_in_a_refused_id_do_not_reach_a_terminal():
    with pytest.raises(InvalidIdError) as caught:
        segment("\x1b[2J" * 1000)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("limit", [0, -1, 101, 10**9])
def test_limits_out_of_range_are_refused(limit: int):
    with pytest.raises(ValueError, match=rf"limit is {limit}; a page has 1 to 100 calls"):
        endpoints.list_calls(limit=limit, offset=0)


def test_negative_offsets_are_refused():
    with pytest.raises(ValueError, match="offset is -1"):
        endpoints.list_agent_calls("a", limit=1, offset=-1)


@pytest.mark.parametrize("wait", [9.9, 300.1, 0, -5, float("nan"), float("inf")])
def test_waits_out_of_range_are_refused(wait: float):
    with pytest.raises(ValueError, match="the server waits 10 to 300 s"):
        endpoints.get_call("c", wait=wait)


def test_a_fraction_of_a_second_is_rounded_up_since_the_server_counts_whole_ones():
    request = endpoints.get_call("c", wait=10.5)
    assert request.query == (("wait", "true"), ("timeout", "11"))
    assert request.patience == 11.0


ALL: list[Request] = [
    endpoints.list_calls(limit=1, offset=0),
    endpoints.list_calls_for_number("n", limit=1, offset=0),
    endpoints.list_agent_calls("a", limit=1, offset=0),
    endpoints.get_call("c"),
    endpoints.make_call({}),
    endpoints.create_web_call({}),
    endpoints.end_call("c"),
    endpoints.get_recording("c"),
    endpoints.get_transcript("c"),
    endpoints.stream_transcript("c"),
    endpoints.enable_recording(),
]


@pytest.mark.parametrize("request_", ALL, ids=lambda request: request.name)
def test_only_gets_are_repeatable_and_only_recordings_are_public(request_: Request):
    assert request_.repeatable == (request_.method == "GET")
    assert request_.authenticated == (request_.name != "Get Call Recording")
    assert request_.live == (request_.name == "Stream Call Transcript")
