"""curl --parallel."""

from __future__ import annotations

from pathlib import Path

from agentphone_async.bench.programs import curl_argv
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
        argv = [program("curl") or "curl", *curl_argv(Path("-"), work.transfers)[1:]]
        return Command(argv, stdin=_list(work), env=work.environment())


def _list(work: Work) -> Path:
    rows = (
        f'url = "{work.url(call_id)}"\noutput = "{work.out}/recording-{call_id}.wav"\n'
        for call_id in work.call_ids()
    )
    return work.write_list("curl.config", rows)
