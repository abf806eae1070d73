"""Write ``llms.txt`` and ``llms-full.txt`` beside the HTML, as the API's own pages have them.

The first lists the pages, each with its title and first sentence; the second is all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sphinx.application import Sphinx

_FENCE = re.compile(r"^(`{3,}|:{3,})\{[^\n]*\n.*?^\1$\n?", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"^<!--.*?-->\n", re.MULTILINE)
_TOCTREE = re.compile(r"```\{toctree\}\n(.*?)```", re.DOTALL)


def pages_of(docs: Path) -> Iterator[tuple[str, Path]]:
    """The caption and the file of every page, in the order of the contents."""
    index = docs / "index.md"
    yield "Start", index
    for tree in _TOCTREE.findall(index.read_text(encoding="utf-8")):
        lines = [line.strip() for line in tree.splitlines() if line.strip()]
        caption = next(line.split(":", 2)[2].strip() for line in lines if ":caption:" in line)
        for line in lines:
            if not line.startswith(":"):
                yield caption, docs / f"{line}.md"


def plain(page: Path) -> str:
    """A page's Markdown without what only Sphinx understands."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return _COMMENT.sub("", text).strip() + "\n"


def summary_of(text: str) -> tuple[str, str]:
    """The title, and the first sentence below it."""
    title = text.partition("\n")[0].lstrip("# ")
    paragraphs = [each for each in text.split("\n\n")[1:] if each[:1].isalpha() or each[:1] == "`"]
    first = " ".join(paragraphs[0].split()) if paragraphs else ""
    return title, re.split(r"(?<=[.:]) ", first)[0].rstrip(":")


def write(docs: Path, out: Path) -> None:
    """Write both files."""
    short, full, last = [], [], ""
    for caption, page in pages_of(docs):
        text = plain(page)
        title, sentence = summary_of(text)
        if caption == "Start":
            short.append(f"# {title}\n\n> {sentence}\n")
        elif caption != last:
            short.append(f"\n## {caption}\n")
        last = caption
        if caption != "Start":
            where = page.relative_to(docs).with_suffix(".html").as_posix()
            short.append(f"- [{title}]({where}){': ' if sentence else ''}{sentence}")
        full.append(text)
    (out / "llms.txt").write_text("\n".join(short) + "\n", encoding="utf-8")
    (out / "llms-full.txt").write_text("\n\n".join(full), encoding="utf-8")


def finished(app: Sphinx, error: Exception | None) -> None:
    """Write them when the pages are there."""
    if error is None and app.builder.format == "html":
        write(Path(app.srcdir), Path(app.outdir))


def setup(app: Sphinx) -> dict[str, bool]:
    """Come at the end."""
    app.connect("build-finished", finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
