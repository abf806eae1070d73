"""What the guides for newcomers point at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
GUIDES = ("CONTRIBUTING.md", "docs/explanation/pieces.md")
ROOMS = "agentphone_async|tests|docs|benchmarks"


def paths_in(guide: str) -> list[str]:
    text = (TOP / guide).read_text(encoding="utf-8")
    return re.findall(rf"(?<![\w/.])(?:{ROOMS})/[\w./-]*\w/?", text)


@pytest.mark.parametrize("guide", GUIDES)
def test_every_path_that_a_guide_names_exists(guide):
    named = paths_in(guide)
    assert named, f"{guide} names no path"
    assert [path for path in named if not (TOP / path).exists()] == []


def test_the_map_names_every_room():
    text = (TOP / GUIDES[1]).read_text(encoding="utf-8")
    rooms = {
        path.stem
        for path in (TOP / "agentphone_async").iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists())
        and not path.name.startswith("_")
    }
    assert len(rooms) > 12
    assert {room for room in rooms if f"`{room}`" not in text and f"/{room}/" not in text} == set()
