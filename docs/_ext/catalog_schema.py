"""Show the catalog's tables as SQLite has them after all migrations."""

from __future__ import annotations

import textwrap

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from agentphone_async.archive.catalog.opening import in_memory


class CatalogSchema(Directive):
    """``.. catalog-schema::``."""

    def run(self) -> list[nodes.Node]:
        """One block of SQL, a statement for each table."""
        catalog = in_memory()
        rows = catalog.execute(
            "SELECT sql FROM sqlite_master WHERE type = 'table' AND sql IS NOT NULL ORDER BY rowid"
        )
        text = "\n\n".join(_dedented(sql) + ";" for (sql,) in rows)
        catalog.close()
        return [nodes.literal_block(text, text, language="sql")]


def _dedented(sql: str) -> str:
    first, _, rest = sql.partition("\n")
    return f"{first}\n{textwrap.dedent(rest)}" if rest else first


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known."""
    app.add_directive("catalog-schema", CatalogSchema)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
