"""Pages of a list as a faulty server writes them: pure functions on their JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

PageDamage = Literal[
    "no-total",
    "wrong-total",
    "endless",
    "empty",
    "repeat",
    "duplicate",
    "null-ids",
    "null-rows",
    "no-data",
    "malformed",
]
"""``total`` missing, or half of the truth; ``hasMore`` always true; no rows but ``hasMore``; the
first page whatever the offset; every row twice; rows whose id is null; rows that are null;
``data`` that is null; JSON that breaks off in the middle."""

Page = dict[str, Any]


def damaged_page(page: Page, damage: PageDamage) -> Page:
    """A page with one thing wrong; ``repeat`` and ``malformed`` happen elsewhere."""
    return _DAMAGES.get(damage, dict)(page)


def _without_total(page: Page) -> Page:
    return {name: value for name, value in page.items() if name != "total"}


_DAMAGES: dict[PageDamage, Callable[[Page], Page]] = {
    "no-total": _without_total,
    "wrong-total": lambda page: page | {"total": page["total"] // 2},
    "endless": lambda page: page | {"hasMore": True},
    "empty": lambda page: page | {"data": [], "hasMore": True},
    "repeat": lambda page: page | {"hasMore": True},
    "duplicate": lambda page: page | {"data": [row for row in page["data"] for _ in range(2)]},
    "null-ids": lambda page: page | {"data": [row | {"id": None} for row in page["data"]]},
    "null-rows": lambda page: page | {"data": [None, *page["data"]]},
    "no-data": lambda page: page | {"data": None},
}
