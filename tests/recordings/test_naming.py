"""Names made from ids are safe everywhere and never meet."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentphone_async.recordings.naming import (
    DEVICE_NAMES,
    MAX_COMPONENT,
    hashed_id,
    recording_name,
    safe_component,
)

HOSTILE = [
    *("", ".", "..", "../../etc/passwd", "/etc/passwd", "C:\\x", "a/b", "a\\b", "\0", "a\0b"),
    *("CON", "con", "nul", "com1", "lpt9", "aux", "con.wav", "a.", "a ", " a", ".hidden", "-rf"),
    *('<>:"|?*', "a\nb", "\x1b[31m", "a\u202eb", "\ud800", "\udfff", "x" * 10_000, "é", "e\u0301"),
    *("call_ABC", "call_abc", "CALL_ABC", "\u017f", "s", "K", "k", "\u212a", "ß", "ss", "ﬁ", "fi"),
    *("call_abc~", "call_abc~" + "a" * 26, "~", "$mft", "desktop.ini", "x" * 128, "x" * 129),
]
ids = (
    st.text(st.characters(), max_size=30)
    | st.text("abAB_-.~/ \0", max_size=6)
    | st.from_regex(r"[a-z0-9_-]{1,30}", fullmatch=True)
    | st.sampled_from(HOSTILE)
)


def folded(name: str) -> str:
    """What the most forgetful file system compares."""
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())


def assert_safe(name: str) -> None:
    assert 0 < len(name.encode("ascii")) <= 255
    assert name.isprintable()
    assert not set(name) & set('<>:"/\\|?*')
    assert name[0] not in "-. "
    assert name[-1] not in ". "
    assert name.partition(".")[0].lower() not in DEVICE_NAMES
    assert PurePosixPath(name).parts == PureWindowsPath(name).parts == (name,)


@given(ids)
def test_every_name_is_safe(call_id: str) -> None:
    name = safe_component(call_id)
    assert_safe(name)
    assert len(name) <= MAX_COMPONENT
    assert safe_component(call_id) == name


@settings(max_examples=200)
@given(st.lists(ids, min_size=2, max_size=8, unique=True))
@example(HOSTILE)
@example(["call_ABC", safe_component("call_ABC"), "call_abc", "CALL_abc"])
def test_names_are_one_to_one_even_when_folded(call_ids: list[str]) -> None:
    assert len({folded(safe_component(call_id)) for call_id in call_ids}) == len(call_ids)


@given(ids)
def test_a_name_used_as_an_id_does_not_meet_its_origin(call_id: str) -> None:
    name = safe_component(call_id)
    if name != call_id:
        assert folded(safe_component(name)) != folded(name)


@given(ids)
def test_variants_of_an_id_stay_apart(call_id: str) -> None:
    variants = {call_id, call_id.upper(), call_id.lower(), call_id.swapcase(), call_id + "\0"}
    variants |= {unicodedata.normalize(form, call_id) for form in ("NFC", "NFD", "NFKC", "NFKD")}
    assert len({folded(safe_component(each)) for each in variants}) == len(variants)


@pytest.mark.parametrize("call_id", ["call_ghi012", "cm3k9x2p0000108l4", "a", "0", "_", "a-b_c"])
def test_ordinary_ids_are_their_own_names(call_id: str) -> None:
    assert safe_component(call_id) == call_id
    assert recording_name(call_id) == f"recording-{call_id}.wav"


def test_other_ids_stay_readable() -> None:
    assert safe_component("call_ABC").startswith("call_ABC~")
    assert safe_component("../../etc/passwd").startswith("_etc_passwd~")
    assert safe_component("con").startswith("con~")


def test_names_never_change_between_releases() -> None:
    """Archives live for years: a changed scheme would fetch everything again."""
    assert safe_component("call_ABC") == "call_ABC~avnxmv3h5yqygoyujd23mqvus4"
    assert safe_component("\ud800") == "_~sgtidomykvp3i5khtal3cjwjjz"
    assert hashed_id("call_ghi012", b"0123456789abcdef") == "h5htvnh5sbkao7l6dtpbi4c3nq2527mb"


@pytest.mark.parametrize(
    ("media_type", "suffix"),
    [
        (None, ".wav"),
        ("audio/wav", ".wav"),
        ("audio/x-wav; rate=8000", ".wav"),
        ("audio/mpeg", ".mp3"),
        ("Audio/MPEG; charset=binary", ".mp3"),
    ],
)
def test_the_extension_follows_the_media_type(media_type: str | None, suffix: str) -> None:
    assert recording_name("call_x", media_type) == "recording-call_x" + suffix


KEY = b"sixteen bytes ok"


@settings(max_examples=60)
@given(st.lists(ids, min_size=2, max_size=5, unique=True))
def test_hashed_ids_are_plain_and_distinct(call_ids: list[str]) -> None:
    names = [hashed_id(call_id, KEY) for call_id in call_ids]
    assert len(set(names)) == len(names)
    for name in names:
        assert len(name) == 32
        assert safe_component(name) == name


def test_a_hashed_id_depends_on_the_key() -> None:
    assert hashed_id("call_x", KEY) != hashed_id("call_x", KEY + b"!")
    with pytest.raises(ValueError, match="at least 16"):
        hashed_id("call_x", b"")
