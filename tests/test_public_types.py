"""What public signatures name can be imported: from the package, the emulator, or somebody else's."""

from __future__ import annotations

import ast
import collections.abc
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import agentphone_async
from agentphone_async import emulator

HOMES = (agentphone_async, emulator)
PUBLIC = {name: getattr(home, name) for home in HOMES for name in home.__all__}
SEAMS = {
    # Where the package's own rooms meet; outsiders have no use for them, and the reference none.
    "Archive.__init__": {"Files"},
    "Archive.files": {"Files"},
    "AsyncAgentPhone.downloader": {"Downloader", "Place"},
    "AsyncAgentPhone.fetcher": {"Fetcher"},
    "AsyncAgentPhone.place": {"Place"},
    "LocalSink.__init__": {"Disk", "FilePool"},
    "Selection.wants": {"DatedCall"},
    "Template": {"_Date", "_Id", "_Text", "_Value"},
    "Template.__init__": {"_Date", "_Id", "_Text", "_Value"},
}
TYPES_OF_SEAMS = {"Asked"}  # of AgentPhoneError.about, which every error inherits


@cache
def imports_for_type_checkers(module: Any) -> dict[str, Any]:
    """The names that a module imports for annotations alone."""
    tree = ast.parse(inspect.getsource(module))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {
        alias.asname or alias.name: getattr(import_module(str(node.module)), alias.name)
        for node in imports
        for alias in node.names
    }


def named_in(hint: Any) -> Iterator[Any]:
    """The classes that an annotation is made of."""
    origin = get_origin(hint)
    if isinstance(hint, list):
        for each in hint:
            yield from named_in(each)
    elif origin is Annotated:
        yield from named_in(get_args(hint)[0])
    elif origin is not None and origin is not Literal:
        if origin not in {Union, UnionType}:
            yield origin
        yield from named_in(list(get_args(hint)))
    elif not isinstance(hint, TypeVar):
        yield hint


def annotated(name: str) -> Iterator[tuple[str, Any]]:
    """A public thing and, of a class, its public members; those of ours that have annotations."""
    thing = PUBLIC[name]
    if inspect.isfunction(thing):
        yield name, thing
    if not inspect.isclass(thing):
        return
    for each in thing.__mro__:
        if not each.__module__.startswith("agentphone_async"):
            continue
        if inspect.get_annotations(each):
            yield name, each
        for member, value in list(vars(each).items()):  # pydantic may add to them
            function = getattr(value, "fget", None) or getattr(value, "__func__", value)
            shown = not member.startswith("_") or member == "__init__"
            if shown and inspect.isfunction(function) and function.__module__ == each.__module__:
                yield f"{name}.{member}", function


def internal(owner: Any) -> set[str]:
    module = sys.modules[owner.__module__]
    names = vars(collections.abc) | vars(module) | imports_for_type_checkers(module)
    hints = get_type_hints(owner, names, dict(names))
    public = {id(value) for value in PUBLIC.values()}
    return {
        each.__name__
        for hint in hints.values()
        for each in named_in(hint)
        if getattr(each, "__module__", "").startswith("agentphone_async") and id(each) not in public
    }


def test_no_public_signature_names_what_is_internal():
    for name in sorted(PUBLIC):
        for where, owner in annotated(name):
            assert internal(owner) - TYPES_OF_SEAMS <= SEAMS.get(where, set()), where
