"""A sweep as JSON, for programs and for comparing two days."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from agentphone_async._version import __version__
from agentphone_async.bench.figures import Step, knee
from agentphone_async.bench.programs import Timed

SCHEMA = 1


def as_json(
    steps: Sequence[Step], about: Mapping[str, Any], compared: Sequence[Timed] = ()
) -> dict[str, Any]:
    """Plain data for ``json.dumps``; no call ids in it.

    Args:
        steps: what was measured.
        about: what it was measured against.
        compared: what other programs, and ours, took for the same recordings.
    """
    found = knee(steps)
    return {
        "schema": SCHEMA,
        "agentphone_async": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        **about,
        "steps": [_step(step) for step in steps],
        "knee": None if found is None else found.transfers,
        "compared": [asdict(each) for each in compared],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "transfers": step.transfers,
        "settled": step.settled,
        "seconds": round(step.seconds, 4),
        "bytes": step.bytes,
        "bytes_per_second": round(step.bytes_per_second),
        "requests": step.requests,
        "requests_per_second": round(step.requests_per_second, 2),
        "recordings": step.recordings,
        "absent": step.absent,
        "failed": step.failed,
        "retried": step.retried,
        "first_byte_seconds": _times(step.first_byte),
        "total_seconds": _times(step.total),
        "cpu_share": round(step.cpu_share, 3),
        "peak_rss_bytes": step.peak_rss,
        "error": None if step.error is None else type(step.error).__name__,
    }


def _times(times: Mapping[int, float]) -> dict[str, float]:
    return {f"p{percent}": round(seconds, 6) for percent, seconds in times.items()}
