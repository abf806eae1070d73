"""Link a name to the public place where it is documented, wherever it was imported from."""

from __future__ import annotations

import importlib
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

PUBLIC = ("agentphone_async", "agentphone_async.emulator")


def public_name(target: str) -> str | None:
    """The documented name of something that is named by its home, or in short."""
    parts = target.split(".")
    for place in PUBLIC:
        names = importlib.import_module(place).__all__
        for start, part in enumerate(parts):
            if part in names:
                return ".".join([place, *parts[start:]])
    return None


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Find what Sphinx did not find under the name that was written."""
    if node.get("refdomain") != "py":
        return None
    name = public_name(node["reftarget"])
    if name is None or name == node["reftarget"]:
        return None
    domain: Any = env.get_domain("py")
    found: nodes.reference | None = domain.resolve_xref(
        env, node["refdoc"], app.builder, "obj", name, node, content
    )
    return found


def setup(app: Sphinx) -> dict[str, bool]:
    """Let Sphinx ask us about names that it does not find."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
