"""What a peer is: a name, a version, and a command line that fetches a list of recordings."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Command

PROGRAMS = Path(__file__).parent / "programs"
VERSION_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Work:
    """One run: fetch every id of ``ids_file`` (one a line) from ``base_url``.

    Each recording must end up as ``out / "recording-{call_id}.wav"``. ``scratch`` is an empty
    folder for the tool's own lists and configuration; what a peer writes there is prepared before
    the clock starts. ``ca_file`` is what a TLS certificate must be checked against.
    """

    base_url: str
    ids_file: Path
    out: Path
    scratch: Path
    transfers: int
    ca_file: Path

    def call_ids(self) -> Iterator[str]:
        with self.ids_file.open(encoding="ascii") as lines:
            for line in lines:
                yield line.strip()

    def url(self, call_id: str) -> str:
        return f"{self.base_url}/v1/calls/{call_id}/recording"

    def environment(self) -> dict[str, str]:
        """A clean environment: no proxies, no rc files, no key of the user's; only our CA."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.scratch),
            "LANG": "C.UTF-8",
            "SSL_CERT_FILE": str(self.ca_file),
        }

    def write_list(self, name: str, rows: Iterable[str]) -> Path:
        """Write the tool's own input file into ``scratch`` and return its path."""
        path = self.scratch / name
        with path.open("w", encoding="ascii") as file:
            file.writelines(rows)
        return path


class Peer(ABC):
    """A way to fetch recordings in bulk. Adding one: a class here, a line in the registry."""

    name: str
    """How it is called in tables; unique."""
    skips_absent = False
    """Whether ids that answer 404 are passed over without ending the run or leaving files."""
    absent_exit_codes = frozenset({0})
    """What the tool exits with when every id answered 404."""
    slow = False
    """Whether it is left out of counts so large that it would take minutes."""

    @abstractmethod
    def version(self) -> str | None:
        """The version that is installed, or None when the tool is missing."""

    @abstractmethod
    def command(self, work: Work) -> Command:
        """Prepare the lists and return what to run."""


def program(name: str) -> str | None:
    """The path of an installed program; one that came from PyPI beside this Python is preferred."""
    beside = Path(sys.executable).parent
    return shutil.which(name, path=f"{beside}{os.pathsep}{os.environ.get('PATH', os.defpath)}")


def program_version(name: str, *arguments: str) -> str | None:
    """The first line that the program says about its version, or None when it cannot be run."""
    path = program(name)
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, *arguments], capture_output=True, text=True, timeout=VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def distribution_version(*names: str) -> str | None:
    """``a 1.2, b 3.4`` for installed distributions, or None when one of them is missing."""
    try:
        return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    except importlib.metadata.PackageNotFoundError:
        return None


def python_program(file_name: str, work: Work, *extra: str) -> Command:
    """Run one of the small programs beside us: ``BASE_URL IDS OUT TRANSFERS …``."""
    argv: Sequence[str] = (
        sys.executable,
        str(PROGRAMS / file_name),
        work.base_url,
        str(work.ids_file),
        str(work.out),
        str(work.transfers),
        *extra,
    )
    return Command(argv, env=work.environment())
