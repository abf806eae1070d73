"""Code blocks of a Markdown page, with what a comment right above each says about it.

``<!-- not run: reason -->``  it cannot be run here
``<!-- file: name -->``       it is the content of a file, which later blocks use
``<!-- exit: 1 -->``          its last command ends with this status
``<!-- needs: module -->``    it is run where this module is installed
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("README.md"), *(ROOT / "docs").rglob("*.md")])
SHELL = {"console", "sh"}
RUN = {"python", *SHELL}
SETUP = re.compile(r"(sudo |apt|pip install|python3? -m venv|git clone|\. )")

_FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|:{3,})(?P<info>.*)")
_NOTE = re.compile(r"<!-- (?P<key>not run|file|exit|needs): (?P<value>.+) -->")


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def runs(self) -> bool:
        return self.language in RUN and "not run" not in self.notes and not self.is_setup

    @property
    def is_setup(self) -> bool:
        """Installs something: CI does that, in environments of its own."""
        return self.language in SHELL and any(
            SETUP.match(command.line) for command in self.commands
        )

    @property
    def commands(self) -> list[Command]:
        """The lines behind ``$``, or all of a script, each with the output that is shown for it."""
        text = self.text
        if self.language == "sh":
            text = re.sub(r"^(?=[^#\s])", "$ ", text, flags=re.MULTILINE)
            text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
        return commands_of(text)


@dataclass(frozen=True)
class Command:
    line: str
    output: str


def blocks_of(page: Path) -> list[Block]:
    found: list[Block] = []
    notes: dict[str, str] = {}
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        if note := _NOTE.fullmatch(line.strip()):
            notes[note["key"]] = note["value"]
        elif (fence := _FENCE.fullmatch(line)) is not None:
            body: list[str] = []
            for _, inner in lines:
                if inner.strip() == fence["fence"]:
                    break
                body.append(inner)
            language = fence["info"].strip()
            if not language.startswith("{"):
                text = textwrap.dedent("\n".join(body)) + "\n"
                found.append(Block(page, number, language, text, notes))
            notes = {}
        elif line.strip():
            assert not notes, f"{page}:{number}: a note that stands above no code block"
    return found


def commands_of(text: str) -> list[Command]:
    """The lines behind ``$``, each with the output that is shown for it."""
    commands: list[Command] = []
    line, output, continues = "", [], False
    for each in text.splitlines():
        if continues or each.startswith("$ "):
            if not continues and line:
                commands.append(Command(line, "\n".join(output)))
            line = f"{line}\n{each}" if continues else each[2:]
            output, continues = [], each.endswith("\\")
        else:
            output.append(each)
    return [*commands, Command(line, "\n".join(output))]
