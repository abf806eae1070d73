"""Write the Python blocks of the README and the documentation as modules, for type checkers.

``python docs/_ext/snippets.py FOLDER`` writes one module for each page. Blocks that use ``await``
outside of a function become the body of one; what a block leaves out with ``...`` stays so.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^( *)```python\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_TEST = re.compile(r"^ *(async )?def test_|^@pytest", re.MULTILINE)


def blocks_of(page: Path) -> list[str]:
    """The Python blocks of a page; those are left out whose functions have no types, as tests."""
    found = _FENCE.findall(page.read_text(encoding="utf-8"))
    blocks = [textwrap.dedent(text) for _, text in found if not _TEST.search(text)]
    return [block for block in blocks if not _untyped(block)]


def _untyped(block: str) -> bool:
    """Whether a function's parameters have no types: then the page is about something else."""
    tree = compile(block, "block", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
    return any(
        argument.annotation is None and argument.arg not in {"self", "cls"}
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for argument in [*node.args.args, *node.args.kwonlyargs]
    )


def module_of(blocks: list[str]) -> str:
    """One module: imports on top, then a function for each block, or its own definitions."""
    parts = ["from __future__ import annotations\n"]
    for number, block in enumerate(blocks):
        code = compile(block, "block", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
        awaits = any(_awaits(statement) for statement in code.body)
        if awaits:
            imports = [node for node in code.body if isinstance(node, ast.Import | ast.ImportFrom)]
            rest = [node for node in code.body if node not in imports]
            parts += [ast.unparse(node) for node in imports]
            body = textwrap.indent("\n".join(ast.unparse(node) for node in rest), "    ")
            parts.append(f"async def block_{number}() -> None:\n{body}")
        else:
            parts.append(block)
    return "\n".join(parts)


def _awaits(statement: ast.stmt) -> bool:
    """Whether it awaits outside of a function of its own."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    waiting = ast.Await | ast.AsyncFor | ast.AsyncWith
    return any(
        isinstance(node, waiting) or (isinstance(node, ast.comprehension) and node.is_async == 1)
        for node in ast.walk(statement)
    )


def main() -> None:
    """Write them all."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        if blocks := blocks_of(page):
            name = "_".join(page.relative_to(ROOT).with_suffix("").parts).replace("-", "_").lower()
            (folder / f"{name}.py").write_text(module_of(blocks), encoding="utf-8")


if __name__ == "__main__":
    main()
