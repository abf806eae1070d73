"""Print the lowest allowed version of every direct dependency, as constraints for pip."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]


def main() -> None:
    """One line for each dependency of the package; what only tests need stays as new as it is."""
    for dependency in PROJECT["dependencies"]:
        requirement, _, marker = dependency.partition(";")
        found = re.fullmatch(r"([\w.-]+)>=([\w.]+).*", requirement.strip())
        if found is None:
            raise SystemExit(f"{dependency!r} has no lower bound")
        print(f"{found[1]}=={found[2]}{f' ;{marker}' if marker else ''}")


main()
