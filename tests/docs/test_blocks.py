"""Every code block of the README and of the documentation does what the page says."""

from __future__ import annotations

import configparser
import importlib.util
import json
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, ROOT, Block, blocks_of
from tests.docs.stage import Stage, assert_shown, environment_of

BLOCKS = {page: blocks_of(page) for page in PAGES}
MOST_NOT_RUN = 12
"""Most of these need a bucket, a cluster or a key of somebody's own."""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(block.runs for block in BLOCKS[page])], ids=name_of
)
def test_code_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    left_out = []
    with Stage(tmp_path) as stage:
        for name, value in environment_of(stage).items():
            monkeypatch.setenv(name, value)
        for block in BLOCKS[page]:
            needed = block.notes.get("needs")
            if needed and importlib.util.find_spec(needed) is None:
                left_out.append(f"{block.where} needs {needed}")
            elif block.runs or "file" in block.notes:
                stage.run(block)
    if left_out:
        pytest.skip(f"the other blocks ran: {', '.join(left_out)}")


def all_blocks() -> list[Block]:
    return [block for blocks in BLOCKS.values() for block in blocks]


def test_what_is_not_run_is_rare_and_has_a_reason():
    # what installs something is run by the gate, in environments of its own
    not_run = [block for block in all_blocks() if "not run" in block.notes and not block.is_setup]
    assert len(not_run) <= MOST_NOT_RUN, [block.where for block in not_run]
    for block in not_run:
        assert len(block.notes["not run"].split()) >= 2, block.where
    assert sum(block.runs for block in all_blocks()) > 4 * len(not_run)


def test_every_block_says_its_language():
    for block in all_blocks():
        assert block.language, f"{block.where}: write text if it is none"


def test_data_is_well_formed():
    for block in all_blocks():
        if block.language == "json":
            try:
                json.loads(block.text)  # one document, or else one a line
            except json.JSONDecodeError:
                for line in block.text.splitlines():
                    json.loads(line)
        elif block.language == "ini":
            parser = configparser.ConfigParser(
                strict=False, interpolation=None
            )  # systemd repeats keys
            parser.read_string(block.text)
            assert parser.sections(), block.where


def test_blocks_are_found_with_their_notes(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "text\n\n<!-- exit: 1 -->\n```console\n$ a \\\n  b\nout\n\nput\n$ c\n```\n\n"
        "1. item\n\n   ```python\n   x = 1\n   ```\n\n```{note}\nno code\n```\n"
        "```sh\n# why\na \\\n  b\nc\n```\n```sh\npip install x && y\n```\n"
    )
    console, python, script, setup = blocks_of(page)
    assert console.notes == {"exit": "1"}
    assert [(command.line, command.output) for command in console.commands] == [
        ("a \\\n  b", "out\n\nput"),
        ("c", ""),
    ]
    assert [command.line for command in script.commands] == ["a \\\n  b", "c"]
    assert script.runs
    assert not setup.runs
    assert (python.text, python.line, python.notes) == ("x = 1\n", 15, {})


def test_a_note_above_no_block_is_an_error(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: a reason -->\n\ntext\n")
    with pytest.raises(AssertionError, match="above no code block"):
        blocks_of(page)


def test_shown_output_is_compared():
    assert_shown("12 archived: ... in ... s", "12 archived: 2 MB in 0.3 s\n", "")
    assert_shown("", "anything", "")
    with pytest.raises(AssertionError, match="13 archived"):
        assert_shown("12 archived: ...", "13 archived: 2 MB", "")


def test_a_block_that_fails_is_noticed(tmp_path):
    page = ROOT / "docs" / "index.md"
    with Stage(tmp_path) as stage:
        with pytest.raises(AssertionError, match="ended with 3"):
            stage.run(Block(page, 1, "console", "$ (exit 3)\n"))
        with pytest.raises(AssertionError, match="the page shows"):
            stage.run(Block(page, 1, "console", "$ echo one\ntwo\n"))
        with pytest.raises(ZeroDivisionError):
            stage.run(Block(page, 1, "python", "import asyncio\nawait asyncio.sleep(0)\n1 / 0\n"))
        stage.run(Block(page, 1, "console", "$ (exit 3)\n", {"exit": "3"}))
        stage.run(Block(page, 1, "console", "$ export A=1\n"))
        stage.run(Block(page, 1, "console", "$ echo $A\n1\n"))
