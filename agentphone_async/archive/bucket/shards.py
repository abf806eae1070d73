"""A large archive in shards: objects of a fixed number of calls, which any machine can take.

``archive plan`` walks the list once and writes ``_catalog/shards/<plan>/…`` create-only, the plan's
own file last: a plan that is not whole is not there. A worker takes a shard by writing the next
claim of it, which only one can create; while it works it renews its claim, and a claim that is not
renewed for some minutes may be followed by another worker's. Claims only spare work: two workers on
one shard leave the same archive as one.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from agentphone_async.archive.bucket import manifest
from agentphone_async.archive.bucket.identity import identify, no_archive
from agentphone_async.errors import CatalogError, ConfigurationError, DestinationError
from agentphone_async.protocol.display import printable
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.sinks.erased import Tombstones

PLANS = "_catalog/plans"
SHARDS = "_catalog/shards"
DONE = "_catalog/done"
CLAIMS = "_catalog/claims"
LEASE = timedelta(minutes=3)
"""How old a claim may grow without being renewed."""

JSON = {"Content-Type": "application/json"}
_DONE = re.compile(r"\d+\.json")
_ZSTD = {"Content-Type": "application/zstd"}


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan that was written.

    Attributes:
        name: its name.
        shards: how many there are, numbered from 0.
        calls: how many calls they hold.
        created: when it was made, ISO 8601.
        about: what was listed, for people.
    """

    name: str
    shards: int
    calls: int
    created: str
    about: Mapping[str, Any]


class Shards:
    """The shards of one archive; all methods block, and are for threads.

    Args:
        bucket: the archive's prefix.
    """

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.me = secrets.token_hex(8)
        self._mine: dict[tuple[str, int], int] = {}

    # ------------------------------------------------------------ planning

    def write(self, plan: str, number: int, calls: Sequence[bytes]) -> None:
        """Write one shard: the JSON of its calls, as the API listed them."""
        name = _shard(plan, number)
        self.bucket.create_now(name, _packed(calls, name), _ZSTD)

    def finish(self, plan: Plan) -> None:
        """Write the plan itself, after all of its shards."""
        head = {
            "format": manifest.FORMAT,
            "version": manifest.VERSION,
            "shards": plan.shards,
            "calls": plan.calls,
            "created": plan.created,
            "about": dict(plan.about),
        }
        self.bucket.create_now(f"{PLANS}/{plan.name}.json", json.dumps(head).encode(), JSON)

    def plans(self) -> list[str]:
        """The names of all plans, oldest first."""
        paths = (PurePosixPath(head.path) for head in self.bucket.list(PLANS))
        return sorted(path.stem for path in paths if path.match(f"{PLANS}/*.json"))

    def latest(self, name: str | None = None) -> Plan:
        """The plan of this name, or the newest.

        Raises:
            ConfigurationError: there is none.
            CatalogError: it is damaged, or newer than we are; or there is no archive.
        """
        found = [plan for plan in self.plans() if name in {None, plan}]
        if not found:
            if identify(self.bucket, make=False) is None:
                raise no_archive(self.bucket.url)
            shown = "" if name is None else f" {printable(name, 100)}"
            raise ConfigurationError(
                f"there is no plan{shown} in {self.bucket.url}; run "
                "'agentphone-async archive plan' first"
            )
        return self._plan(found[-1])

    def _plan(self, name: str) -> Plan:
        where = f"{self.bucket.url}/{PLANS}/{name}.json"
        try:
            head = json.loads(self.bucket.read(f"{PLANS}/{name}.json"))
            manifest.refuse_newer(int(head["version"]), where)
            shards, calls, about = int(head["shards"]), int(head["calls"]), dict(head["about"])
            return Plan(name, shards, calls, head["created"], about)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise CatalogError(f"{where} is damaged; plan again", filename=where) from None

    # ------------------------------------------------------------ working

    def calls(self, plan: str, number: int) -> Iterator[dict[str, Any]]:
        """The calls of a shard.

        Raises:
            CatalogError: it is damaged, or newer than we are.
        """
        name = _shard(plan, number)
        where = f"{self.bucket.url}/{name}"
        try:
            yield from _unpacked(self.bucket.read(name), where)
        except (ValueError, FileNotFoundError):
            raise CatalogError(
                f"{where} is missing or damaged; plan again", filename=where
            ) from None

    def done(self, plan: str) -> set[int]:
        """The shards that are done."""
        names = (head.path.rpartition("/")[2] for head in self.bucket.list(f"{DONE}/{plan}"))
        return {int(name[:-5]) for name in names if _DONE.fullmatch(name)}

    def is_done(self, plan: str, number: int) -> bool:
        """Whether a shard is done."""
        return self.bucket.head(_done(plan, number)) is not None

    def left(self, plan: str) -> list[int]:
        """The shards that are not done.

        Raises:
            ConfigurationError: there is no such plan.
        """
        done = self.done(plan)
        return [number for number in range(self.latest(plan).shards) if number not in done]

    def finish_shard(self, plan: str, number: int, counts: Mapping[str, int]) -> None:
        """Note that nothing is left to do in a shard."""
        self.bucket.create_now(_done(plan, number), json.dumps(counts).encode(), JSON)

    def claim(self, plan: str, number: int, now: datetime) -> bool:
        """Take a shard, or keep it; False if another worker has it."""
        folder = f"{CLAIMS}/{plan}/{number:06}"
        claims = [
            (int(name), head.modified)
            for head in self.bucket.list(folder)
            if (name := head.path.rpartition("/")[2]).isdecimal()
        ]
        count, made = max(claims, default=(0, now - LEASE))
        if count != self._mine.get((plan, number)) and now - made < LEASE:
            return False
        if not self.bucket.create_now(f"{folder}/{count + 1:06}", self.me.encode(), {}):
            return False  # another one came at the same moment
        self._mine[plan, number] = count + 1
        return True

    def is_fresh(self, plan: str, number: int) -> bool:
        """Whether no worker that died had claimed a shard, as far as its claims tell."""
        return self._mine.get((plan, number), 1) == 1

    def scrub(self, erased: Tombstones) -> None:
        """Write shards that hold erased calls again, without them.

        One that is damaged goes: nobody can do it, and nobody can tell whether it holds them.
        """
        for head in list(self.bucket.list(SHARDS)):
            try:
                calls = _unpacked(self.bucket.read(head.path), f"{self.bucket.url}/{head.path}")
            except ValueError:
                self.bucket.remove(head.path)
                continue
            except FileNotFoundError:
                continue
            kept = [manifest.dump(call) for call in calls if not erased.covers(call["id"])]
            if len(kept) < len(calls):
                data = _packed(kept, head.path)
                self.bucket.put_now(head.path, data, _ZSTD, mode="overwrite")

    def release(self, plan: str, number: int) -> None:
        """Give a shard back, done or not; what cannot be deleted runs out by itself."""
        if self._mine.pop((plan, number), None) is not None:
            for head in list(self.bucket.list(f"{CLAIMS}/{plan}/{number:06}")):
                with suppress(DestinationError):
                    self.bucket.remove(head.path)


def _packed(calls: Sequence[bytes], name: str) -> bytes:
    head = {"format": manifest.FORMAT, "version": manifest.VERSION, "calls": len(calls)}
    return manifest.pack([manifest.dump(head), *calls], name)


def _unpacked(data: bytes, where: str) -> list[dict[str, Any]]:
    """The calls of a shard.

    Raises:
        ValueError: it is damaged.
        CatalogError: it is newer than we are.
    """
    try:
        with manifest.decompress(data, where) as reader:
            come = iter(partial(manifest.line_of, reader, where), b"")
            first, *lines = map(json.loads, come)
        version, count = int(first["version"]), first["calls"]
        sound = count == len(lines) and all(isinstance(call["id"], str) for call in lines)
    except (CatalogError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(where) from error
    manifest.refuse_newer(version, where)
    if not sound:
        raise ValueError(where)
    return lines


def _shard(plan: str, number: int) -> str:
    return f"{SHARDS}/{plan}/{number:06}.jsonl.zst"


def _done(plan: str, number: int) -> str:
    return f"{DONE}/{plan}/{number:06}.json"


def new_plan_name(now: datetime) -> str:
    """A name that sorts by time, and that nobody else chooses."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def slice_of(total: int, part: tuple[int, int] | None) -> list[int]:
    """The shards of the worker ``i`` of ``n`` (from 1), or all of them."""
    if part is None:
        return list(range(total))
    index, count = part
    return list(range(index - 1, total, count))


def shuffled(numbers: Sequence[int], worker: str) -> list[int]:
    """The same in an order of this worker's own: two that take all seldom meet."""
    return sorted(numbers, key=lambda n: hashlib.sha256(f"{worker}-{n}".encode()).digest())
