"""Holds in the bucket: which calls are not to be erased, on whatever machine somebody tries.

``_catalog/held/<hash>`` is one object a call, named by the keyed hash of its id, with
the id inside.
"""

from __future__ import annotations

from collections.abc import Iterable

from agentphone_async.archive.bucket.store import Store
from agentphone_async.errors import CatalogError
from agentphone_async.sinks.erased import id_hash

HELD = "_catalog/held"


def held(store: Store) -> list[str]:
    """The ids of all calls that are held, those first that have been for the longest."""
    heads = sorted(store.bucket.list(HELD), key=lambda head: (head.modified, head.path))
    return [_id_in(store, head.path) for head in heads]


def _id_in(store: Store, name: str) -> str:
    try:
        return store.bucket.read(name).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        where = f"{store.bucket.url}/{name}"
        raise CatalogError(
            f"{where} is damaged: it names no call; restore it, or delete it and hold the call",
            filename=where,
        ) from None


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
