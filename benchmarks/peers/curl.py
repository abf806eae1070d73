"""curl --parallel: alone, and with the hashing that an archive needs on top."""

from __future__ import annotations

import shlex
from pathlib import Path

from benchmarks.measure import Command
from benchmarks.peers.interface import Peer, Work, program, program_version


class Curl(Peer):
    """``curl -Z`` as it is: no check of what arrived, files written in place."""

    name = "curl -Z"
    skips_absent = True
    absent_exit_codes = frozenset({22})

    def version(self) -> str | None:
        said = program_version("curl", "--version")
        return None if said is None else " ".join(said.split()[:2])

    def command(self, work: Work) -> Command:
        return Command(_argv(work), stdin=_list(work), env=work.environment())


class CurlAndHash(Curl):
    """``curl -Z``, and then a SHA-256 of every file into a list: the same work as ours.

    ``hasher`` is called with many files at once; ``at_once`` of it run in parallel.
    """

    skips_absent = False

    def __init__(self, name: str, hasher: tuple[str, ...], *, at_once: int = 1) -> None:
        self.name = name
        self.hasher = hasher
        self.at_once = at_once

    def version(self) -> str | None:
        asked = "version" if self.hasher[0] == "openssl" else "--version"
        said, hasher = super().version(), program_version(self.hasher[0], asked)
        return None if said is None or hasher is None else f"{said}, {hasher}"

    def command(self, work: Work) -> Command:
        many = ["xargs", "-0", "-n", "20", "-P", str(self.at_once)]
        one = ["xargs", "-0"]
        hashing = [*(many if self.at_once > 1 else one), *self.hasher]
        script = (
            f"{shlex.join(_argv(work))} && "
            f"find {shlex.quote(str(work.out))} -name '*.wav' -print0 | {shlex.join(hashing)} "
            f"> {shlex.quote(str(work.out / 'SHA256SUMS'))}"
        )
        return Command(["/bin/sh", "-c", script], stdin=_list(work), env=work.environment())


def _list(work: Work) -> Path:
    rows = (
        f'url = "{work.url(call_id)}"\noutput = "{work.out}/recording-{call_id}.wav"\n'
        for call_id in work.call_ids()
    )
    return work.write_list("curl.config", rows)


def _argv(work: Work) -> list[str]:
    quiet = ["--silent", "--no-progress-meter", "--fail"]
    parallel = ["--parallel", "--parallel-max", str(work.transfers)]
    return [program("curl") or "curl", "--disable", *quiet, *parallel, "--config", "-"]
