"""Runs the tools in alternation, and checks what each of them brought."""

from __future__ import annotations

import math
import os
import random
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.check import complaint
from benchmarks.corpus import Corpus, absent_ids
from benchmarks.measure import Measured, run
from benchmarks.peers import Peer, Work
from benchmarks.profiles import Column, Profile
from benchmarks.results import ColumnFacts, Point, Sample, Verdict
from benchmarks.server import Server


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and with what the runs happen. ``say`` gets one line after each run."""

    server: Server
    corpora: dict[str, Corpus]
    profile: Profile
    home: Path
    timeout_seconds: float
    say: Callable[[str], None]

    def facts(self, column: Column) -> ColumnFacts:
        if column.content == "absent":
            return ColumnFacts(column.name, self.profile.absent_count, 0, column.transfers)
        corpus = self.corpora[column.content]
        return ColumnFacts(column.name, len(corpus.entries), corpus.total_bytes, column.transfers)

    def work(self, column: Column, *, transfers: int | None = None, absent: int = 0) -> Work:
        """An empty destination, an empty scratch folder and the list of ids."""
        shutil.rmtree(self.home, ignore_errors=True)
        scratch, out = self.home / "scratch", self.home / "out"
        scratch.mkdir(parents=True)
        out.mkdir()
        ids: Iterable[str] = absent_ids(absent or self.profile.absent_count)
        if column.content != "absent":
            ids = self.corpora[column.content].call_ids
        work = Work(
            base_url=self.server.base_url(column.tls),
            ids_file=scratch / "ids.txt",
            out=out,
            scratch=scratch,
            transfers=transfers or column.transfers,
            ca_file=self.server.ca_file,
        )
        work.write_list("ids.txt", (f"{call_id}\n" for call_id in ids))
        return work

    def measure(self, peer: Peer, column: Column, work: Work) -> tuple[Measured, Verdict, str]:
        """One run from start to exit, then (clock stopped) the check of every byte of it."""
        measured = run(peer.command(work), work.scratch, timeout_seconds=self.timeout_seconds)
        absent = column.content == "absent"
        expected = () if absent else self.corpora[column.content].entries
        wrong = complaint(work.out, expected)
        shutil.rmtree(self.home, ignore_errors=True)
        good_exits = peer.absent_exit_codes if absent else {0}
        if measured.exit_code not in good_exits:
            return measured, "failed", failure(measured, wrong)
        return measured, ("wrong" if wrong else "ok"), wrong

    def command_line(self, peer: Peer, column: Column) -> str:
        """How ``peer`` is called, for the report: places and ports replaced by names."""
        work = self.work(column)
        text = anonymous(shlex.join(peer.command(work).argv), work)
        shutil.rmtree(self.home, ignore_errors=True)
        return text


def anonymous(command_line: str, work: Work) -> str:
    """The command line without this machine's folders and ports."""
    named = {
        str(work.scratch): "$SCRATCH",
        str(work.out): "$OUT",
        work.base_url: "$BASE_URL",
        str(work.ca_file): "$SSL_CERT_FILE",
        sys.executable: "python",
        f"{Path(__file__).resolve().parent.parent}/": "",
    }
    folders = [str(Path(sys.executable).parent), *os.environ.get("PATH", os.defpath).split(":")]
    named |= {f"{folder}/": "" for folder in folders if folder}
    for found, name in sorted(named.items(), key=lambda each: len(each[0]), reverse=True):
        command_line = command_line.replace(found, name)
    return command_line


def failure(measured: Measured, wrong: str) -> str:
    """Why a run counts as failed, in one line."""
    how = "took too long" if measured.exit_code is None else f"exit {measured.exit_code}"
    said = measured.stderr_tail.splitlines()[-1:]
    return "; ".join([how, *([wrong] if wrong else []), *(line[:160] for line in said)])


def takes_part(peer: Peer, column: Column, ids: int, slow_limit: int) -> bool:
    """Whether ``peer`` has a place in ``column``: not everybody passes over ids without audio."""
    if column.content != "absent":
        return True
    return peer.skips_absent and not (peer.slow and ids > slow_limit)


def alternate(
    bench: Bench,
    peers: Sequence[Peer],
    columns: Sequence[Column],
    *,
    seed: int,
    deadline: float | None,
) -> Iterator[Sample]:
    """Every peer in every column, as many rounds as the profile has, each time in another order.

    The rounds are outermost, so that a machine that grows slower does so for everybody. Slow peers
    run in the first one only: what takes five times as long is not told apart by a twentieth.
    ``deadline`` (of ``time.monotonic``) decides whether a round that takes as long as the one
    before is still begun; the first always is.
    """
    rng = random.Random(seed)
    began = math.inf
    for number in range(1, bench.profile.rounds + 1):
        now = time.monotonic()
        if number > 1 and deadline is not None and now + (now - began) > deadline:
            bench.say(f"round {number} and later are left out: the time is up")
            return
        began = now
        for column in columns:
            ids = bench.facts(column).ids
            slow_limit = bench.profile.slow_limit
            order = [
                peer
                for peer in peers
                if takes_part(peer, column, ids, slow_limit) and not (peer.slow and number > 1)
            ]
            rng.shuffle(order)
            for peer in order:
                measured, verdict, note = bench.measure(peer, column, bench.work(column))
                sample = Sample(
                    peer=peer.name,
                    column=column.name,
                    round=number,
                    wall_seconds=measured.wall_seconds,
                    cpu_seconds=measured.cpu_seconds,
                    peak_rss_bytes=measured.peak_rss_bytes,
                    verdict=verdict,
                    note=note,
                )
                bench.say(progress_line(sample))
                yield sample


def progress_line(sample: Sample) -> str:
    """One run, for the person who watches."""
    return (
        f"round {sample.round}  {sample.column:<11} {sample.peer:<34} "
        f"{sample.wall_seconds:8.2f} s  {sample.peak_rss_bytes / 1e6:7.0f} MB  "
        f"{sample.verdict.upper() if sample.verdict != 'ok' else 'ok'} {sample.note}"
    ).rstrip()


def memory_curve(
    bench: Bench, peers: Sequence[Peer], column: Column, counts: Sequence[int]
) -> Iterator[Point]:
    """Peak memory over the number of ids; all of them answer 404, so that only ids count."""
    for count in counts:
        for peer in peers:
            if takes_part(peer, column, count, bench.profile.slow_limit):
                work = bench.work(column, absent=count)
                yield _point(bench, peer, column, work, count)


def transfers_sweep(
    bench: Bench, peers: Sequence[Peer], column: Column, transfers: Sequence[int]
) -> Iterator[Point]:
    """Time over the number of transfers at once."""
    for number in transfers:
        for peer in peers:
            yield _point(bench, peer, column, bench.work(column, transfers=number), number)


def _point(bench: Bench, peer: Peer, column: Column, work: Work, x: int) -> Point:
    measured, verdict, note = bench.measure(peer, column, work)
    bench.say(f"{column.name:<11} {peer.name:<34} at {x:>9,}: {verdict} {note}".rstrip())
    return Point(peer.name, x, measured.wall_seconds, measured.peak_rss_bytes, verdict)
