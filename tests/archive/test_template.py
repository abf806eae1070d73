"""Templates give safe, contained, stable and distinct paths, whatever the calls hold."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath, PureWindowsPath
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from agentphone_async.archive.template import DEFAULT_TEMPLATE, FIELDS, Template, TemplateError
from agentphone_async.recordings.naming import DEVICE_NAMES

BERLIN = ZoneInfo("Europe/Berlin")
CALL: dict[str, Any] = {
    "call_id": "call_ghi012",
    "started": datetime(2026, 11, 21, 23, 30, 5, tzinfo=UTC),
    "ended": datetime(2026, 11, 21, 23, 35, tzinfo=UTC),
    "direction": "inbound",
    "status": "in-progress",
    "from_number": "+15559870000",
    "agent_name": "Jürgen & Söhne",
    "duration": 330.4,
}


def a_call(fields: dict[str, Any]) -> Any:
    """Something like a call, of which these fields of templates are known."""
    return SimpleNamespace(**{name: fields.get(field) for field, name in FIELDS.items()})


def render(template: str, call: dict[str, Any] = CALL, **options: Any) -> str:
    return str(Template.parse(template).render(a_call(call), options.pop("zone", UTC), **options))


@pytest.mark.parametrize(
    ("template", "path"),
    [
        (DEFAULT_TEMPLATE, "2026/11/21/recording-call_ghi012"),
        ("{call_id}", "call_ghi012"),
        ("{started}-{call_id}", "2026-11-21_233005-call_ghi012"),
        ("{started:%G-W%V}/{call_id}", None),
        ("{started:%G %V %u}/{call_id}", "2026 47 6/call_ghi012"),
        ("{started:%j.%y,%f}/{call_id}", "325.26,000000/call_ghi012"),
        ("{status}-{call_id}", "in_progress-call_ghi012"),
        ("{status}_{call_id}", "in-progress_call_ghi012"),
        ("{status}/{call_id}", "in-progress/call_ghi012"),
        ("{call_id}.{duration}", "call_ghi012.330"),
        ("{agent_name}/{from_number}/{call_id}", "Jurgen_Sohne/+15559870000/call_ghi012"),
        ("{to_number}/{agent_id}/{call_id}", "unknown/unknown/call_ghi012"),
        ("{{{call_id}}}", "{call_ghi012}"),
        ("Größe/{call_id}", "Größe/call_ghi012"),
    ],
)
def test_table(template: str, path: str | None) -> None:
    if path is None:
        with pytest.raises(TemplateError, match="'W'"):
            render(template)
    else:
        assert render(template) == path


def test_dates_are_those_of_the_zone() -> None:
    assert render(DEFAULT_TEMPLATE, zone=BERLIN) == "2026/11/22/recording-call_ghi012"


def test_a_missing_date_is_one_unknown_folder() -> None:
    call = {**CALL, "started": None}
    assert render(DEFAULT_TEMPLATE, call) == "unknown/recording-call_ghi012"
    assert render("{started:%Y/%m}-{call_id}", call) == "unknown/unknown-call_ghi012"


def test_another_id_may_stand_for_that_of_a_call() -> None:
    assert render("{status}/{call_id}", call_id="other") == "in-progress/other"


@pytest.mark.parametrize("year", [1, 1970, 2106, 9999])
def test_strange_years_make_folders_of_the_same_shape(year: int) -> None:
    call = {**CALL, "started": datetime(year, 1, 1, tzinfo=UTC)}
    assert render(DEFAULT_TEMPLATE, call).startswith(f"{year:04}/01/01/")
    edge = {**CALL, "started": datetime(9999, 12, 31, 23, 59, tzinfo=UTC)}
    assert render(DEFAULT_TEMPLATE, edge, zone=BERLIN).startswith("unknown/")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), "unknown"),
        (float("inf"), "unknown"),
        (1e300, "unknown"),
        pytest.param(10**5000, "unknown", id="huge"),
        (-1, "unknown"),
        (0, "0"),
        (59.99, "59"),
    ],
)
def test_odd_durations(value: float, shown: str) -> None:
    assert render("{duration}/{call_id}", {**CALL, "duration": value}) == f"{shown}/call_ghi012"


@pytest.mark.parametrize(
    "value", ["..", ".", "-rf", "a/b", "\0", "CON", "con", "x" * 999, "\ud800"]
)
def test_hostile_values_make_safe_folders(value: str) -> None:
    path = render("{status}/{call_id}", {**CALL, "status": value})
    assert_safe(PurePosixPath(path))
    assert path.count("/") == 1


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("", "1 to 500"),
        ("x" * 501, "1 to 500"),
        ("recording", "no {call_id}"),
        ("{started}", "no {call_id}"),
        ("/{call_id}", "absolute"),
        ("\\\\server\\{call_id}", "absolute"),
        ("C:/{call_id}", "':' is not safe"),
        ("a\\{call_id}", "not safe"),
        ("a\n{call_id}", "'\\n' is not safe"),
        ("\u202e{call_id}", "'\\u202e' is not safe"),
        ("../{call_id}", "'..' would leave"),
        ("a/../{call_id}", "'..' would leave"),
        ("./{call_id}", "'.' would leave"),
        ("a//{call_id}", "empty"),
        ("{call_id}/", "empty"),
        (".{call_id}", "may not start"),
        ("-{call_id}", "may not start"),
        ("{call_id}.", "may not start"),
        ("{call_id} ", "may not start"),
        ("a /{call_id}", "may not start"),
        ("{started:.%Y}/{call_id}", "may not start"),
        ("{call}/{call_id}", "no field {call}; use one of call_id, started"),
        ("{}/{call_id}", "no field {}"),
        ("{call_id.x}", "no field {call_id.x}"),
        ("{call_id[0]}", "no field"),
        ("{call_id!r}", "takes no format"),
        ("{call_id:>20}", "takes no format"),
        ("{status:%Y}/{call_id}", "takes no format"),
        ("{call_id", "expected '}'"),
        ("{call_id}}", "Single '}'"),
        ("{started:%b}/{call_id}", "'%b' is not possible"),
        ("{started:%-d}/{call_id}", "'%-' is not possible"),
        ("{started:%Y%}/{call_id}", "'%' is not possible"),
        ("{started:{status}}/{call_id}", "is not possible"),
        ("{started:%Y//%m}/{call_id}", "without any directive"),
        ("{started: }/{call_id}", "without any directive"),
        ("{status}{call_id}", "{status} runs into"),
        ("{call_id}{status}", "{status} runs into"),
        ("{status}{direction}-{call_id}", "{status} runs into"),
        ("{call_id}-{call_id}", "twice"),
    ],
)
def test_a_bad_template_gets_one_clear_line(template: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template.parse(template)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


@settings(max_examples=100)
@given(st.text(st.sampled_from("{}:!/.%Y-a\\ \n\0") | st.characters(), max_size=20))
def test_parsing_raises_nothing_else(text: str) -> None:
    message = ""
    try:
        Template.parse(text)
    except TemplateError as error:
        message = str(error)
    assert message.isprintable()


# ---- properties of what is rendered

values = (
    st.none() | st.text("aAbnuN-_.x/ ", max_size=4) | st.sampled_from(["CON", "nul", "unknown"])
)
names = st.text("aAbn-_~.u", max_size=5)
moments = st.none() | st.datetimes(datetime(2025, 12, 30), datetime(2026, 1, 3)).map(  # noqa: DTZ001 - naive on purpose
    lambda moment: moment.replace(tzinfo=UTC)
)
calls = st.fixed_dictionaries(
    {
        "call_id": names | st.text(st.characters(), max_size=8),
        "started": moments,
        "status": values,
        "agent_name": values | st.text(st.characters(), max_size=8),
        "duration": st.none() | st.floats(),
    }
)
pieces = st.sampled_from(
    [
        *(
            "{status}",
            "{agent_name}",
            "{duration}",
            "{started:%Y}",
            "{started:%d-%m}",
            "{started:%Y/%m}",
        ),
        *("-", "_", "/", ".", "n", "U", "un", "x", "\u017f", "co", "rec-", " "),
    ]
)


def with_id(parts: list[str], place: int) -> str:
    return "".join([*parts[:place], "{call_id}", *parts[place:]])


templates = st.builds(with_id, st.lists(pieces, max_size=5), st.integers(0, 5))


def parsed(text: str) -> Template:
    try:
        return Template.parse(text)
    except TemplateError:
        assume(condition=False)
        raise


def folded(path: PurePosixPath) -> str:
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", str(path)).casefold())


def assert_safe(path: PurePosixPath) -> None:
    assert not path.is_absolute()
    assert PureWindowsPath(path).parts == path.parts
    for part in path.parts:
        assert 0 < len(part.encode()) <= 200
        assert part.isprintable()
        assert not set(part) & set('<>:"/\\|?*')
        assert part[0] not in "-. "
        assert part[-1] not in ". "
        assert part.partition(".")[0].rstrip().casefold() not in DEVICE_NAMES


@settings(max_examples=150)
@given(templates, calls)
def test_every_path_is_safe_and_stays_inside(template: str, call: dict[str, Any]) -> None:
    path = parsed(template).render(a_call(call), BERLIN)
    assert_safe(path)
    assert parsed(template).render(a_call(call), BERLIN) == path


@settings(max_examples=120)
@given(templates, calls, calls)
@example("{status}-{call_id}", {"status": "a", "call_id": "b-c"}, {"status": "a-b", "call_id": "c"})
@example("{call_id}_{status}", {"status": "c", "call_id": "a_b"}, {"status": "b_c", "call_id": "a"})
@example(
    "{status}.{call_id}", {"status": "con", "call_id": "a"}, {"status": "con~", "call_id": "a_"}
)
@example(
    "{status}N{call_id}", {"status": "unknown", "call_id": "a"}, {"status": "u", "call_id": "known"}
)
@example("co{call_id}", {"call_id": "n"}, {"call_id": "n~"})
@example("co{call_id}", {"call_id": "n"}, {"call_id": "n_"})
def test_two_calls_never_meet(template: str, one: dict[str, Any], other: dict[str, Any]) -> None:
    assume(one["call_id"] != other["call_id"])
    understood = parsed(template)
    assert folded(understood.render(a_call(one), UTC)) != folded(
        understood.render(a_call(other), UTC)
    )


@pytest.mark.parametrize("literal", ["y" * 190, "é" * 120])
def test_long_names_are_cut_and_stay_distinct(literal: str) -> None:
    paths = {render(literal + "-{call_id}", {"call_id": f"call_{n:020}"}) for n in range(50)}
    assert len(paths) == 50
    for path in paths:
        assert_safe(PurePosixPath(path))
        assert len(path.encode()) >= 190


def test_paths_never_change_between_releases() -> None:
    call = {**CALL, "call_id": "call_ABC", "started": CALL["started"] + timedelta(days=40)}
    assert render("{started:%Y/%m}/{status}-{call_id}", call) == (
        "2026/12/in_progress-call_ABC~avnxmv3h5yqygoyujd23mqvus4"
    )


def test_every_field_can_be_used() -> None:
    template = "/".join(f"{{{field}}}" for field in FIELDS)
    assert len(Template.parse(template).render(a_call(CALL), UTC).parts) == len(FIELDS)
