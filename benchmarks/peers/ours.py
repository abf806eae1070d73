"""agentphone-async itself, as its command line; every file verified, hashed and renamed."""

from __future__ import annotations

import functools
import subprocess

from benchmarks.measure import Command
from benchmarks.peers.interface import Peer, Work, program, program_version

PROGRAM = "agentphone-async"


@functools.cache
def fetch_help() -> str:
    """What ``agentphone-async fetch --help`` says; empty when it is not installed."""
    path = program(PROGRAM)
    if path is None:
        return ""
    done = subprocess.run([path, "fetch", "--help"], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


class Ours(Peer):
    """``agentphone-async fetch --from-file``: length, type, WAVE structure and SHA-256 checked.

    ``transfers`` replaces the number given to all tools ("auto").
    """

    skips_absent = True

    def __init__(self, *, transfers: str | None = None) -> None:
        self.transfers = transfers
        variant = [f"--transfers {transfers}"] if transfers else []
        self.name = " ".join([PROGRAM, *variant])

    def version(self) -> str | None:
        offered = fetch_help()
        if not offered or (self.transfers == "auto" and "auto" not in offered):
            return None
        return program_version(PROGRAM, "--version")

    def command(self, work: Work) -> Command:
        argv = [
            program(PROGRAM) or PROGRAM,
            "fetch",
            "--from-file",
            str(work.ids_file),
            "--dest",
            str(work.out),
            "--transfers",
            self.transfers or str(work.transfers),
            "--quiet",
            "--base-url",
            work.base_url,
        ]
        return Command(argv, env=work.environment())
