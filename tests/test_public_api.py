"""What the package offers, what it costs to import, and that all of it is explained."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import agentphone_async
from agentphone_async import errors

ROOT = Path(agentphone_async.__file__).parent


def for_type_checkers() -> set[str]:
    """The names in the ``if TYPE_CHECKING`` block."""
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {name.name for node in imports for name in node.names}


def test_what_type_checkers_see_is_what_there_is():
    assert for_type_checkers() | {"__version__"} == set(agentphone_async.__all__)
    assert len(agentphone_async.__all__) == len(set(agentphone_async.__all__))
    assert dir(agentphone_async) == sorted(agentphone_async.__all__)


def test_every_name_is_there_and_comes_from_where_type_checkers_think():
    for name in agentphone_async.__all__:
        value = getattr(agentphone_async, name)
        home = getattr(value, "__module__", "agentphone_async")
        assert home.startswith("agentphone_async") or not inspect.isclass(value), name


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        agentphone_async.nothing  # noqa: B018


def test_every_error_is_public():
    own = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert own <= set(agentphone_async.__all__)


def test_every_error_stands_in_the_tree_of_the_docstring():
    for name in vars(errors):
        if name.endswith("Error"):
            assert f" {name} " in f" {errors.__doc__} ".replace("\n", " "), name


def test_every_module_says_what_it_is():
    modules = [
        info.name
        for info in pkgutil.walk_packages([str(ROOT)], "agentphone_async.")
        if not info.ispkg
    ]
    assert len(modules) > 40
    for name in set(modules) - {"agentphone_async._version"}:
        source = (ROOT / Path(*name.split(".")[1:])).with_suffix(".py").read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(source)), name


def imported_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {"aiohttp", "pydantic", "rich", "click", "tenacity", "anyio", "aiofiles", "uvloop", "yarl"}


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("from agentphone_async import AgentPhoneError, RetryPolicy", HEAVY),
        ("from agentphone_async import Call", HEAVY - {"pydantic"}),
        ("from agentphone_async.emulator import Emulator", {"tenacity", "rich", "click"}),
        ("import agentphone_async.pytest_plugin", {"aiohttp", "pydantic", "tenacity", "click"}),
        ("import agentphone_async.cli.fetch, agentphone_async.client", {"pydantic", "rich"}),
        ("import agentphone_async.cli.main", {"aiohttp", "pydantic", "rich", "tenacity", "uvloop"}),
    ],
)
def test_imports_bring_only_what_they_need(statement: str, absent: set[str]):
    assert not absent & imported_by(statement)


def test_types_are_shipped():
    assert (ROOT / "py.typed").exists()


def test_the_version_is_one():
    importlib.import_module("agentphone_async._version")
    assert agentphone_async.__version__[0].isdigit()


def test_no_home_is_told_of_what_is_not_public():
    assert set(agentphone_async._HOME_OF) <= set(agentphone_async.__all__)
