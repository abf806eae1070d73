"""Text from the network is harmless once it has been through `display`."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentphone_async.protocol.display import hint, printable, sample

any_text = st.text(st.characters(), max_size=80)  # characters() includes the surrogates


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("call_ghi012", "call_ghi012"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("a\nb\r\tc\x00", "a\\nb\\r\\tc\\x00"),
        ("\x7f\x9b", "\\x7f\\x9b"),
        ("evil\u202egpj.exe", "evil\\u202egpj.exe"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("line\u2028para\u2029", "line\\u2028para\\u2029"),
        ("lone\ud800", "lone\\ud800"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("hidden\u3164\ufe0f", "hidden\\u3164\\ufe0f"),
        ("Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}\N{LATIN SMALL LETTER SHARP S}e", "Grüße"),
    ],
)
def test_each_kind_of_trouble_becomes_visible(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(any_text, st.integers(0, 120))
@example("\x1b" * 60, 30)
def test_one_encodable_printable_line_within_the_limit(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")
    assert len(shown) <= max(limit, len(f"… ({len(text)} characters)"))


@given(any_text)
def test_what_is_printable_stays_what_it_is(text: str) -> None:
    assert printable(printable(text, 10_000), 10_000) == printable(text, 10_000)


def test_a_long_text_says_how_long_it_was() -> None:
    shown = printable("x" * 10_240, 50)
    assert shown.endswith("… (10240 characters)")
    assert len(shown) == 50


def test_the_cut_never_splits_an_escape() -> None:
    shown = printable("\u202e" * 100, 40)
    assert set(shown.partition("…")[0].split("\\u202e")) == {""}


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", "nothing (0 bytes)"),
        (b"<html>", "'<html>'"),
        (b'{"detail":"no"}\n', '\'{"detail":"no"}\\n\''),
        (b"\xff\x1b[2J", "'\\xff\\x1b[2J'"),
        (b"a" * 200, "'" + "a" * 80 + "…' (200 bytes)"),
        ("é".encode() * 100, "'" + "é" * 40 + "…' (200 bytes)"),
        (b"x" + "é".encode() * 100, "'x" + "é" * 39 + "…' (201 bytes)"),
    ],
)
def test_a_sample_quotes_the_first_bytes(body: bytes, shown: str) -> None:
    assert sample(body) == shown


@given(st.binary(max_size=200), st.integers(1, 100))
def test_a_sample_of_anything_is_one_harmless_line(body: bytes, limit: int) -> None:
    shown = sample(body, limit)
    assert shown.isprintable()
    shown.encode("utf-8")


@settings(max_examples=60)
@given(any_text)
def test_a_hint_never_gives_more_than_half_of_an_id(call_id: str) -> None:
    shown = hint(call_id)
    assert shown.isprintable()
    kept = min(8, len(call_id) // 2)
    assert shown == printable(call_id[:kept]) + "…"


def test_a_hint_is_readable() -> None:
    assert hint("call_ghi012345678") == "call_ghi…"
    assert hint("ab") == "a…"
    assert hint("") == "…"
