"""A run of an archive in a process of its own, for limits that a process has as a whole.

    python -m tests.faults.archiver FOLDER URL KEY [fsize=BYTES] [nofile=NUMBER]

Prints the report's counts as JSON, or the error's class and line.
"""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sys

from agentphone_async import AgentPhoneError, Archive, AsyncAgentPhone

LIMITS = {"fsize": resource.RLIMIT_FSIZE, "nofile": resource.RLIMIT_NOFILE}


async def run(folder: str, url: str, key: str) -> dict[str, object]:
    async with AsyncAgentPhone(key, base_url=url) as client:
        try:
            report = await Archive(folder).run(client)
        except AgentPhoneError as error:
            return {"error": type(error).__name__, "line": str(error)}
        return dict(report.counts())


def main(folder: str, url: str, key: str, *limits: str) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python does itself; a write fails instead
    for limit in limits:
        name, _, value = limit.partition("=")
        resource.setrlimit(LIMITS[name], (int(value), int(value)))
    print(json.dumps(asyncio.run(run(folder, url, key))))


if __name__ == "__main__":
    main(*sys.argv[1:])
