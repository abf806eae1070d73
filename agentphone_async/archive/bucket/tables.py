"""Which tables of the catalog are kept in manifests, and which of two rows is the better one.

The choice is by the rows alone, never by when they were seen: so all orders of merging give the
same catalog. A row with a file beats one without, whatever their times: a machine that did not
know of the file may have failed to fetch it again. What was erased beats both.
"""

from __future__ import annotations

from dataclasses import dataclass

NEVER = "0001-01-01T00:00:00.000000Z"
"""When a call was seen last that stands in for one of which only the id is known."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Attributes:
        name: in the catalog.
        key: its primary key.
        stamp: the moment of a row, in SQL; ``{}`` stands for the table's name and a dot.
        order: what makes a row win, in SQL, the first difference deciding.
        earliest: a column that keeps the earliest value of all.
        deletable: whether single rows are deleted. Calls and recordings go by erasure alone, which
            tombstones tell.
        staged: whether rows lie by their keys, and so are gathered before they are merged.
    """

    name: str
    key: tuple[str, ...]
    stamp: str
    order: tuple[str, ...]
    earliest: str | None = None
    deletable: bool = False
    staged: bool = True


TABLES = (
    Table(
        "runs",
        ("id",),
        "coalesce({}finished, {}started)",
        (
            "{}finished IS NOT NULL",
            "{}started",
            "coalesce({}finished, '')",
            "coalesce({}counts, '')",
        ),
    ),
    Table("calls", ("id",), "{}last_seen", ("{}last_seen", "{}raw"), "first_seen", staged=False),
    Table(
        "recordings",
        ("call_id", "version"),
        "{}updated",
        (
            "{}state = 'erased'",
            "{}path IS NOT NULL",
            "{}updated",
            "{}attempts",
            "{}state",
            "coalesce({}sha256, '')",
            "coalesce({}path, '')",
            "coalesce({}etag, '')",
            "coalesce({}last_error, '')",
            "coalesce({}run, 0)",
        ),
        "created",
    ),
    Table(
        "sidecars",
        ("call_id", "kind"),
        "{}updated",
        ("{}updated", "{}sha256", "{}path", "{}size"),
        deletable=True,
    ),
    Table("pending", ("call_id", "kind"), "{}since", ("{}since",), deletable=True),
    Table(
        "accepted",
        ("path",),
        "{}accepted",
        ("{}accepted", "{}kind", "{}sha256", "{}call_id"),
        deletable=True,
    ),
    Table(
        "erased", ("hash",), "{}erased", ("coalesce({}bytes, -1)", "{}erased", "{}reason"), "erased"
    ),
)
"""In the order in which they are written: what others refer to first."""

BY_NAME = {table.name: table for table in TABLES}
