"""Tables at every width, and piped: ids and paths are whole, columns give way, nothing is a box."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentphone_async.cli import bench_table, calls, ls, missing, tables
from agentphone_async.cli.tables import Column, Rows, padded, sheet, width_of
from agentphone_async.models import Call
from agentphone_async.quantities import counted

CALLS = [
    Call.from_json(
        {"id": "call_002481773b005621693559a5", "direction": "inbound", "status": "completed",
         "fromNumber": "+15559870000", "toNumber": "+15551230000", "durationSeconds": 3723.4,
         "startedAt": "2026-11-27T10:00:00Z", "recordingAvailable": True},
    ),
    Call.from_json({"id": "cl_1", "status": "no-answer"}),
]  # fmt: skip

SHOWN = {
    40: """\
id
call_002481773b005621693559a5
cl_1""",
    60: """\
started           status       id
───────           ──────       ──
2026-11-27 10:00  completed    call_002481773b005621693559a5
-                 no-answer    cl_1""",
    80: """\
started             length  status       id
───────             ──────  ──────       ──
2026-11-27 10:00   1:02:03  completed    call_002481773b005621693559a5
-                        -  no-answer    cl_1""",
    120: """\
started           from              to                  length  status       id
───────           ────              ──                  ──────  ──────       ──
2026-11-27 10:00  +15559870000      +15551230000       1:02:03  completed    call_002481773b005621693559a5
-                 -                 -                        -  no-answer    cl_1""",
}


def shown(capsys, width, output="table", rows=CALLS):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        patch.setenv("TZ", "UTC")
        printed = Rows(
            calls._columns(), output, ids=lambda call: call.id, as_json=lambda call: call.raw
        )
        printed.print(rows)
    printed.finish("no calls match")
    return capsys.readouterr()


@pytest.mark.parametrize("width", SHOWN)
def test_columns_give_way_and_ids_do_not(width, capsys, utc):
    said = shown(capsys, width).out.rstrip("\n")
    expected = SHOWN[width].removeprefix("id\n") if width == 40 else SHOWN[width]
    assert said == expected
    assert all(width_of(line) <= width for line in said.splitlines())


def test_a_pipe_gets_tab_separated_values_with_units_and_utc(capsys):
    lines = shown(capsys, 80, None).out.splitlines()
    assert lines[0] == "started\tdirection\tfrom\tto\tlength_seconds\tstatus\trecording\tid"
    assert lines[1].split("\t") == [
        "2026-11-27T10:00:00Z", "inbound", "+15559870000", "+15551230000", "3723.4", "completed",
        "yes", "call_002481773b005621693559a5",
    ]  # fmt: skip
    assert lines[2].split("\t")[:6] == ["", "", "", "", "", "no-answer"]


def test_ids_alone_and_those_that_no_line_can_hold(capsys):
    evil = Call.from_json({"id": "a\nb"})
    said = shown(capsys, 80, "ids", [*CALLS, evil])
    assert said.out == "call_002481773b005621693559a5\ncl_1\n"
    assert said.err == "1 id with control characters left out; -o json has them\n"


@pytest.mark.parametrize("output", ["table", "tsv", "json", "ids"])
def test_nothing_is_said_to_be_nothing(output, capsys):
    assert shown(capsys, 80, output, []) == ("", "no calls match\n")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("of", [ls, missing, calls])
def test_every_table_fits_and_keeps_what_is_copied(of, width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    last = "call_002481773b005621693559a5"
    columns = [
        Column(each.name, lambda _, each=each: VALUES[each.kind], each.kind, each.width, each.rank,
               in_table=each.in_table, in_tsv=each.in_tsv)
        for each in of._columns()
    ]  # fmt: skip
    columns[-1] = Column("id", lambda _: last)
    Rows(columns, "table", ids=str, as_json=str).print([0, 1])
    lines = capsys.readouterr().out.splitlines()
    assert all(width_of(line) <= width for line in lines)
    assert all(line.endswith(last) for line in lines[-2:])


VALUES = {"moment": datetime(2026, 1, 1, tzinfo=UTC), "duration": 1e6, "size": 1e15, "number": 10**9,
          "decimal": 1e6, "text": "a text that is longer than any column " * 3}  # fmt: skip


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_table_of_bench_fits(width, monkeypatch, capsys):
    from agentphone_async.bench.figures import PERCENTILES

    times = dict.fromkeys(PERCENTILES, 123.456)
    step = SimpleNamespace(label="16", bytes_per_second=2.5e9, requests_per_second=12345.6,
                           first_byte=times, total=times, cpu_share=0.93, peak_rss=123e6)  # fmt: skip
    monkeypatch.setattr(bench_table, "knee", lambda _: step)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(tables.sys.stdout, "isatty", lambda: True)
    bench_table.show([step])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split()[:2] == ["16", "2,500"]
    assert lines[-1].endswith("<- knee")
    assert all(width_of(line) <= width for line in lines)


@given(st.text(max_size=30), st.integers(1, 20))
def test_a_cell_is_exactly_as_wide_as_its_column(text, width):
    printable = "".join(each for each in text if each.isprintable())
    assert width_of(padded(printable, width)) <= max(width, 1)
    if width_of(printable) <= width:
        assert printable in padded(printable, width)


def test_a_long_cell_ends_in_an_ellipsis_and_a_wide_one_is_measured():
    assert padded("abcdef", 4) == "abc…"
    assert padded("日本語", 8, right=True) == "  日本語"
    assert width_of("日本語e\u0301") == 7


def test_a_sheet_is_a_line_a_field(capsys):
    sheet([("id", "c"), ("status", None)], "table")
    sheet([("id", "c"), ("status", None)], "tsv")
    assert capsys.readouterr().out == "id      c\nstatus  -\nid\tc\nstatus\t-\n"


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "file", "0 files"),
        (1, "file", "1 file"),
        (1000, "entry", "1,000 entries"),
        (2, "day", "2 days"),
    ],
)
def test_one_is_not_many(number, noun, text):
    assert counted(number, noun) == text
