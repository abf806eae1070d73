"""A tool that only downloads, and then a SHA-256 of every file: the same work as ours."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measure import Command
from benchmarks.peers.interface import Peer, Work, program, program_version

AT_ONCE = 2
"""Files that are hashed side by side, where the hasher takes one at a time."""


@dataclass(frozen=True, slots=True)
class Hasher:
    """A program that prints SHA-256 sums: of the files that it is given, or of a whole folder."""

    name: str
    argv: tuple[str, ...]
    ask_version: str
    takes_folder: bool = False


# Debian's sha256sum does not use the processor's SHA instructions; OpenSSL and rclone do.
OPENSSL = Hasher("openssl dgst", ("openssl", "dgst", "-sha256", "-r"), "version")
RCLONE_HASHSUM = Hasher(
    "hashsum", ("rclone", "hashsum", "sha256", "--checkers=2"), "version", takes_folder=True
)


class Hashed(Peer):
    """What ``peer`` does, and then ``hasher`` over all of it into a list beside the files."""

    def __init__(self, peer: Peer, hasher: Hasher) -> None:
        self.peer = peer
        self.hasher = hasher
        self.name = f"{peer.name} + {hasher.name}"

    def version(self) -> str | None:
        said = self.peer.version()
        hasher = program_version(self.hasher.argv[0], self.hasher.ask_version)
        if said is None or hasher is None:
            return None
        return said if said == hasher else f"{said}, {hasher}"

    def command(self, work: Work) -> Command:
        first = self.peer.command(work)
        script = f"{shlex.join(first.argv)} && {self._hashing(work)}"
        return Command(["/bin/sh", "-c", script], stdin=first.stdin, env=first.env)

    def _hashing(self, work: Work) -> str:
        argv: Sequence[str] = (
            program(self.hasher.argv[0]) or self.hasher.argv[0],
            *self.hasher.argv[1:],
        )
        sums = shlex.quote(str(work.scratch / "SHA256SUMS"))
        if self.hasher.takes_folder:
            return f"{shlex.join([*argv, str(work.out)])} > {sums}"
        many = shlex.join(["xargs", "-0", "-n", "20", "-P", str(AT_ONCE), *argv])
        return f"find {shlex.quote(str(work.out))} -name '*.wav' -print0 | {many} > {sums}"
