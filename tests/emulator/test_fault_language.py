from __future__ import annotations

import dataclasses
import inspect
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentphone_async.emulator import Fault, Settings, parse_fault
from agentphone_async.emulator.faults.fault import FaultFields
from agentphone_async.emulator.faults.language import _READERS, parse_seconds, parse_size
from agentphone_async.emulator.settings import Options


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "route=recording,status=503,times=3,retry_after=2",
            Fault("recording", status=503, times=3, retry_after=2.0),
        ),
        ("status=429, retry-after=date:5", Fault(status=429, retry_after="date:5")),
        ("html", Fault(html=True)),
        ("html=no,gzip=yes", Fault(gzip=True)),
        ("reset=headers", Fault(reset="headers")),
        ("reset=-1,probability=10%", Fault(reset=-1, probability=0.1)),
        ("stall=24k,call_id=call_1", Fault(stall=24 * 1024, call_id="call_1")),
        ("delay=80ms", Fault(delay=0.08)),
        ("delay=inf", Fault(delay=math.inf)),
        ("bandwidth=2M,framing=chunked", Fault(bandwidth=2 * 1024**2, framing="chunked")),
        ("header.X-Foo=bar,header.ETag=", Fault(headers={"X-Foo": "bar", "ETag": ""})),
        ("redirect=https://example.com/a?b=c", Fault(redirect="https://example.com/a?b=c")),
        ("etag=", Fault(etag="")),
        ("content_range=bytes 0-9/10", Fault(content_range="bytes 0-9/10")),
        ("route=list_calls,page=no-total,arrive=2", Fault("list_calls", page="no-total", arrive=2)),
    ],
)
def test_one_line_says_what_a_constructor_says(text, fault):
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it says nothing"),
        (" , ", "it says nothing"),
        ("bogus=1", "unknown key 'bogus'"),
        ("status=abc", "status: 'abc' is not a whole number"),
        ("status", "status: 'true' is not a whole number"),
        ("probability=often", "probability: 'often' is not a probability"),
        ("html=perhaps", "html: 'perhaps' is neither true nor false"),
        ("bandwidth=10x", "bandwidth: '10x' is not a size"),
        ("delay=soon", "delay: 'soon' is not a duration"),
        ("route=recordings", "route must be one of"),
        ("status=500,status=501", "status is given twice"),
        ("truncate=1,reset=2", "exclude each other"),
    ],
)
def test_what_is_not_understood_is_said_in_one_line(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse_fault(text)
    assert "\n" not in str(caught.value)


@settings(max_examples=40)
@given(st.text(st.sampled_from("route=status,503.ms%kM-:_ \n\0é"), max_size=40) | st.text())
def test_any_text_is_a_fault_or_a_value_error(text):
    try:
        assert isinstance(parse_fault(text), Fault)
    except ValueError:
        assert True


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("500", 500),
        ("24k", 24576),
        ("1.5K", 1536),
        ("2M", 2097152),
        ("2MB", 2_000_000),
        ("-1k", -1024),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "k", "1e999", "nan", "--1"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


def test_seconds():
    assert [parse_seconds(text) for text in ("2", "2s", "250ms", "2m", "inf")] == [
        2,
        2,
        0.25,
        120,
        math.inf,
    ]


def test_the_names_are_the_same_everywhere():
    fault = {item.name for item in dataclasses.fields(Fault)}
    assert set(FaultFields.__annotations__) == fault
    assert set(_READERS) == fault - {"headers", "edit"}
    assert set(Options.__annotations__) == {item.name for item in dataclasses.fields(Settings)}
    assert all(f"    {name}:" in inspect.getdoc(Fault) for name in fault)
    said = inspect.getdoc(Settings)  # Python 3.13 strips the indentation of __doc__
    assert all(f"    {item.name}:" in said for item in dataclasses.fields(Settings))
