"""Show the fields of values as people read them.

A pydantic model's signature is full of validators; it is left out, and each field is listed in its
place. Attributes that share a line in a docstring get a line each. A property's first sentence may
have a colon, which napoleon would take for the end of a type.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from pydantic import BaseModel
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject

_SHARED = re.compile(r"(?P<indent> +)(?P<first>\w+), (?P<second>\w+): ")


def _is_model(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, BaseModel)


def signature(
    _app: Sphinx,
    what: str,
    _name: str,
    thing: Any,
    _options: Any,
    given: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """No signature for models, and what there is for everything else."""
    return ("", None) if what == "class" and _is_model(thing) else (given, returns)


def docstring(
    _app: Sphinx, what: str, _name: str, thing: Any, _options: Any, lines: list[str]
) -> None:
    """Give each attribute its own line; runs before napoleon reads the docstring."""
    if what == "property" and lines:
        lines[0] = lines[0].replace(": ", " \N{EN DASH} ")
    if what not in {"class", "exception"}:
        return
    for place in reversed(range(len(lines))):
        if shared := _SHARED.match(lines[place]):
            lines[place] = lines[place].replace(f"{shared['first']}, ", "", 1)
            lines.insert(place, f"{shared['indent']}{shared['first']}: as ``{shared['second']}``.")
    if _is_model(thing):
        _add_fields(thing, lines)


def _add_fields(model: type[BaseModel], lines: list[str]) -> None:
    told = {line.strip().partition(":")[0] for line in lines if line.startswith("    ")}
    missing = [
        f"    {name}: {_on_the_wire(name, field.alias)}."
        for name, field in model.model_fields.items()
        if name not in told
    ]
    while lines and not lines[-1].strip():
        lines.pop()
    if not any(line.strip() == "Attributes:" for line in lines):
        lines += ["", "Attributes:"]
    lines += [*missing, ""]


def _on_the_wire(name: str, alias: str | None) -> str:
    return "as the API says it" if alias in {None, name} else f"``{alias}`` on the wire"


def skip(
    _app: Sphinx, _what: str, name: str, _thing: Any, skipped: bool, _options: Any
) -> bool | None:
    """Leave out what a model has from pydantic."""
    return True if name.startswith("model_") else (skipped or None)


def dashes(_app: Sphinx, document: nodes.document) -> None:
    """Set a dash between a field and its text; elsewhere ``--`` begins an option."""
    for text in list(document.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" \N{EN DASH} "))


def setup(app: Sphinx) -> dict[str, bool]:
    """Come before napoleon, which uses priority 500."""
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-docstring", docstring, priority=400)
    app.connect("autodoc-skip-member", skip)
    app.connect("doctree-read", dashes)
    for kind in PyObject.doc_field_types:
        if kind.name == "variable":
            kind.label = "Attributes"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
