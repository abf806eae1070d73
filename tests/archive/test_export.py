"""The catalog as CSV and JSONL: exact for programs, harmless for spreadsheets and terminals."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.export import COLUMNS, cell, export, export_to
from agentphone_async.emulator import Emulator
from agentphone_async.errors import DestinationError
from tests.support.archives import DAY, archived, fill

HOSTILE = "=cmd|' /C calc'!A0"


@pytest.fixture
async def archive(emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path) -> Path:
    fill(emulator, 2, from_number="+15551230000", agent_name=HOSTILE)
    emulator.add_call(
        id='odd,"id"\n\x1b[31m',
        duration=None,
        agent_name="Zoë",
        recording=False,
        started_at=DAY + timedelta(hours=1),
    )
    folder = tmp_path / "archive"
    await archived(client, folder)
    return folder


async def exported(folder: Path, format_: str, **options: object) -> str:
    async with (
        await Catalog.open(folder, write=False) as catalog,
        aclosing(export(catalog, format_, **options)) as pieces,
    ):
        return "".join([piece async for piece in pieces])


async def test_jsonl_is_exact(client: AsyncAgentPhone, archive: Path):
    text = await exported(archive, "jsonl")
    assert text.isascii()
    assert "\x1b" not in text
    rows = [json.loads(line) for line in text.splitlines()]
    raw = {call.id: call.raw async for call in client.calls.list()}
    assert {row["call_id"]: row["call"] for row in rows} == raw


async def test_csv_is_what_the_csv_module_reads(archive: Path):
    text = await exported(archive, "csv")
    head, *rows = list(csv.reader(io.StringIO(text, newline="")))
    assert tuple(head) == COLUMNS
    assert [len(row) for row in rows] == [len(COLUMNS)] * 3
    first = dict(zip(head, rows[0], strict=True))
    assert (first["call_id"], first["state"]) == ("call_0", "archived")
    assert first["from_number"] == "+15551230000"
    assert first["agent_name"] == "'" + HOSTILE
    assert (first["call_duration"], first["duration"]) == ("0.2", "0.2")
    odd = dict(zip(head, rows[2], strict=True))
    assert odd["call_id"] == 'odd,"id"\\n\\x1b[31m'
    assert (odd["agent_name"], odd["call_duration"], odd["path"]) == ("Zoë", "", "")
    assert "\x1b" not in text
    assert len(text.splitlines()) == 4


async def test_filters_apply(archive: Path):
    assert len((await exported(archive, "jsonl", states=["no_recording"])).splitlines()) == 1


@given(st.text(max_size=20))
def test_no_cell_is_taken_for_a_formula(text: str):
    shown = cell(text)
    assert not shown.startswith(("=", "@", "\t", "\r"))
    if shown.startswith(("+", "-")):
        float(shown)
    assert shown.isprintable()


@pytest.mark.parametrize("value", [None, 0, -1.5, "+1555", "-3", "plain", "'quoted"])
def test_plain_values_stay_as_they_are(value: object):
    assert cell(value) == ("" if value is None else str(value))


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+1+1", "-1-cmd", "+49 30 123", "-"])
def test_formulas_get_an_apostrophe(text: str):
    assert cell(text) == "'" + text


async def test_a_file_appears_whole_private_and_replaces_the_old_one(archive: Path, tmp_path: Path):
    output = tmp_path / "new folder" / "out.jsonl"
    for _ in range(2):
        async with await Catalog.open(archive, write=False) as catalog:
            await export_to(output, export(catalog, "jsonl"))
    assert output.read_text() == await exported(archive, "jsonl")
    assert output.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in output.parent.iterdir()] == [output.name]


async def test_an_export_that_breaks_off_leaves_the_old_file(tmp_path: Path):
    output = tmp_path / "out.csv"
    output.write_text("old")

    async def pieces() -> AsyncGenerator[str]:
        yield "new"
        raise DestinationError("the catalog is damaged")

    with pytest.raises(DestinationError, match="damaged"):
        await export_to(output, pieces())
    assert output.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == [output.name]
