"""aria2c with an input file: one connection a file, as many files at once as asked for."""

from __future__ import annotations

from agentphone_async.bench.programs import aria2_argv
from benchmarks.measure import Command
from benchmarks.peers.interface import Peer, Work, program, program_version


class Aria2(Peer):
    """``aria2c -i``; preallocation, splitting and the console are off, which is its fastest."""

    name = "aria2c"

    def version(self) -> str | None:
        return program_version("aria2c", "--version")

    def command(self, work: Work) -> Command:
        rows = (
            f"{work.url(call_id)}\n out=recording-{call_id}.wav\n" for call_id in work.call_ids()
        )
        listed = work.write_list("aria2.txt", rows)
        argv = [program("aria2c") or "aria2c", *aria2_argv(listed, work.out, work.transfers)[1:]]
        argv.append(f"--ca-certificate={work.ca_file}")
        return Command(argv, env=work.environment())
