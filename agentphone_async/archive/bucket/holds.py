"""Holds in the bucket: which calls are not to be erased, on whatever machine somebody tries.

``_catalog/held/<hash>`` is one object a call, named by the keyed hash of its id, with
the id inside.
"""

from __future__ import annotations

from collections.abc import Iterable

from agentphone_async.archive.bucket.store import Store
from agentphone_async.sinks.erased import id_hash

HELD = "_catalog/held"


def held(store: Store) -> list[str]:
    """The ids of all calls that are held, those first that have been for the longest."""
    heads = sorted(store.bucket.list(HELD), key=lambda head: (head.modified, head.path))
    return [store.bucket.read(head.path).decode("utf-8", "surrogatepass") for head in heads]


def hold(store: Store, call_ids: Iterable[str], *, release: bool = False) -> int:
    """Hold calls, or release them; how many changed their state."""
    changed = 0
    for call_id in dict.fromkeys(call_ids):
        name = f"{HELD}/{id_hash(call_id, store.key)}"
        if release:
            changed += store.bucket.remove(name) if store.bucket.head(name) else False
        else:
            body = call_id.encode("utf-8", "surrogatepass")
            changed += store.bucket.create_now(name, body, {"Content-Type": "text/plain"})
    return changed
