"""llms.txt and llms-full.txt: every page is in them, and nothing of Sphinx is left."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from tests.docs.blocks import ROOT


def test_every_page_is_in_both(tmp_path):
    pytest.importorskip("sphinx")
    spec = importlib.util.spec_from_file_location("llms", ROOT / "docs" / "_ext" / "llms.py")
    llms = importlib.util.module_from_spec(spec)
    sys.modules["llms"] = llms
    spec.loader.exec_module(llms)
    llms.write(ROOT / "docs", tmp_path)
    short, full = ((tmp_path / name).read_text() for name in ("llms.txt", "llms-full.txt"))
    pages = sorted(path for path in (ROOT / "docs").rglob("*.md") if path.name != "index.md")
    for page in pages:
        where = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert f"]({where})" in short, f"{where} is not in the contents"
        assert page.read_text(encoding="utf-8").partition("\n")[0] in full
    assert short.startswith("# agentphone-async\n\n> ")
    assert "{eval-rst}" not in full
    assert "<!--" not in full
