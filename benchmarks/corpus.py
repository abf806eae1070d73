"""Recordings to serve: real PCM WAVE files, reproducible from a seed, kept between runs.

The samples are noise, so that nobody gains by compressing, and every file is different, so that
a tool that swaps two of them is found out.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.stopping import BenchError

FORMAT = 1
SAMPLE_RATE_HZ = 8000
BYTES_PER_SAMPLE = 2
HEADER_BYTES = 44


@dataclass(frozen=True, slots=True)
class CorpusSpec:
    """What to build: ``count`` files of ``size`` bytes on average (each within ±10 %)."""

    name: str
    count: int
    size: int
    seed: int

    @property
    def folder_name(self) -> str:
        return f"{self.name}-{self.count}x{self.size}-seed{self.seed}-v{FORMAT}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One recording: its call id, its length in bytes, the SHA-256 of all of them in hex."""

    call_id: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus on disk; entry ``x`` lies at ``folder / (x.call_id + ".wav")``."""

    spec: CorpusSpec
    folder: Path
    entries: tuple[Entry, ...]

    @property
    def total_bytes(self) -> int:
        return sum(entry.size for entry in self.entries)

    @property
    def call_ids(self) -> tuple[str, ...]:
        return tuple(entry.call_id for entry in self.entries)


def call_id(spec: CorpusSpec, index: int) -> str:
    """An opaque id like the service's; its prefix tells the server which corpus it is of."""
    digest = hashlib.sha256(f"{spec.seed}:{spec.name}:{index}".encode()).hexdigest()
    return f"call_{spec.name}_{digest[:20]}"


def absent_ids(count: int) -> Iterator[str]:
    """Ids that the server answers with 404, one after another (never all in memory)."""
    return (f"call_absent_{index:020x}" for index in range(count))


def wave_bytes(spec: CorpusSpec, index: int) -> bytes:
    """The whole file: a 44-byte header and 16-bit mono PCM at 8 kHz. Same spec, same bytes."""
    rng = random.Random(f"{spec.seed}:{spec.name}:{index}")
    wanted = round(spec.size * rng.uniform(0.9, 1.1)) - HEADER_BYTES
    data_size = max(wanted // BYTES_PER_SAMPLE, 1) * BYTES_PER_SAMPLE
    return wave_header(data_size) + rng.randbytes(data_size)


def wave_header(data_size: int) -> bytes:
    """The canonical 44-byte RIFF/WAVE header for ``data_size`` bytes of samples."""
    byte_rate = SAMPLE_RATE_HZ * BYTES_PER_SAMPLE
    return b"".join(
        (
            b"RIFF" + (36 + data_size).to_bytes(4, "little") + b"WAVE",
            b"fmt " + (16).to_bytes(4, "little"),
            (1).to_bytes(2, "little") + (1).to_bytes(2, "little"),
            SAMPLE_RATE_HZ.to_bytes(4, "little") + byte_rate.to_bytes(4, "little"),
            BYTES_PER_SAMPLE.to_bytes(2, "little") + (16).to_bytes(2, "little"),
            b"data" + data_size.to_bytes(4, "little"),
        )
    )


def build(spec: CorpusSpec, cache: Path) -> Corpus:
    """Return the corpus, from the cache when it is whole there, else written again.

    The manifest is written last, so that a build that was cut off is never taken for a whole one.
    """
    folder = cache / spec.folder_name
    cached = _load(spec, folder)
    if cached is not None:
        return cached
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with ThreadPoolExecutor(max_workers=2) as pool:
        entries = tuple(pool.map(lambda index: _write(spec, folder, index), range(spec.count)))
    _manifest(folder).write_text(json.dumps([asdict(entry) for entry in entries]))
    return Corpus(spec, folder, entries)


def _write(spec: CorpusSpec, folder: Path, index: int) -> Entry:
    name = call_id(spec, index)
    content = wave_bytes(spec, index)
    (folder / f"{name}.wav").write_bytes(content)
    return Entry(name, len(content), hashlib.sha256(content).hexdigest())


def _manifest(folder: Path) -> Path:
    return folder / "manifest.json"


def _load(spec: CorpusSpec, folder: Path) -> Corpus | None:
    try:
        entries = tuple(Entry(**row) for row in json.loads(_manifest(folder).read_text()))
        sizes = {item.name: item.stat().st_size for item in os.scandir(folder)}
    except (OSError, ValueError, TypeError):
        return None
    whole = len(entries) == spec.count and all(
        sizes.get(f"{entry.call_id}.wav") == entry.size for entry in entries
    )
    return Corpus(spec, folder, entries) if whole else None


def cache_folder(chosen: Path | None = None) -> Path:
    """A private folder for corpora and results in flight: in memory when there is /dev/shm.

    Raises BenchError when it cannot be made, or when somebody else owns it.
    """
    memory = Path("/dev/shm")
    base = memory if memory.is_dir() and os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    folder = chosen or base / f"agentphone-async-bench-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise BenchError(f"cannot use the cache folder {folder}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise BenchError(f"the cache folder {folder} is not a folder of yours; choose with --cache")
    return folder


def require_space(folder: Path, needed: int) -> None:
    """Raise BenchError when ``folder`` has fewer than ``needed`` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BenchError(
            f"{folder} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed; "
            "choose another place with --cache"
        )
