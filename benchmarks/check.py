"""Did the tool fetch the right bytes? Asked after the clock has stopped, of every file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.corpus import Entry

PREFIX = "recording-"


def complaint(out: Path, expected: Iterable[Entry]) -> str:
    """What is wrong with the files in ``out``, in a few words; empty when nothing is.

    Each expected recording must be there with exactly its bytes (SHA-256), and no other
    recording may be. Files that are not recordings (checksum lists, catalogs) are left alone.
    """
    entries = {f"{PREFIX}{entry.call_id}.wav": entry for entry in expected}
    with os.scandir(out) as listing:
        present = {item.name for item in listing if item.name.startswith(PREFIX)}
    missing = entries.keys() - present
    surplus = present - entries.keys()
    shared = sorted(entries.keys() & present)
    with ThreadPoolExecutor(max_workers=2) as pool:
        right = pool.map(lambda name: _is_right(out / name, entries[name]), shared)
        altered = sum(not each for each in right)
    counts = (
        (len(missing), "missing"),
        (altered, "with wrong bytes"),
        (len(surplus), "unexpected"),
    )
    return ", ".join(f"{count} {what}" for count, what in counts if count)


def _is_right(path: Path, entry: Entry) -> bool:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
