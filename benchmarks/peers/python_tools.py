"""What people write or install in Python: the official SDK, parfive, loops around aiohttp."""

from __future__ import annotations

from benchmarks.measure import Command
from benchmarks.peers.interface import Peer, Work, distribution_version, python_program


class OfficialSdk(Peer):
    """``agentphone.AsyncAgentPhone``, ``gather`` under a semaphore, each body to a file."""

    name = "official SDK"
    skips_absent = True
    slow = True

    def version(self) -> str | None:
        return distribution_version("agentphone", "httpx")

    def command(self, work: Work) -> Command:
        return python_program("official_sdk.py", work)


class Parfive(Peer):
    """parfive's ``Downloader`` without its progress bars, one part a file."""

    name = "parfive"
    slow = True

    def version(self) -> str | None:
        return distribution_version("parfive", "aiohttp")

    def command(self, work: Work) -> Command:
        return python_program("parfive_list.py", work)


class NaiveAiohttp(Peer):
    """The loop that everybody writes first: ``gather``, ``read()``, ``write_bytes``."""

    name = "naive aiohttp"
    skips_absent = True
    slow = True

    def version(self) -> str | None:
        return distribution_version("aiohttp")

    def command(self, work: Work) -> Command:
        return python_program("naive_aiohttp.py", work)


class Prototype(Peer):
    """What is possible without any verification: uvloop, workers, one thread hop a file."""

    name = "prototype without verification"
    skips_absent = True

    def version(self) -> str | None:
        return distribution_version("aiohttp", "uvloop")

    def command(self, work: Work) -> Command:
        return python_program("prototype.py", work)
