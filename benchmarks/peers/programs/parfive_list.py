"""Run as a program: BASE_URL IDS OUT TRANSFERS. parfive's Downloader over the whole list."""

from __future__ import annotations

import sys
from pathlib import Path

from parfive import Downloader, SessionConfig  # type: ignore[import-untyped]  # ships none

base_url, ids, out, transfers = sys.argv[1:5]
downloader = Downloader(
    max_conn=int(transfers),
    max_splits=1,
    progress=False,
    config=SessionConfig(file_progress=False),
)
for call_id in Path(ids).read_text().split():
    url = f"{base_url}/v1/calls/{call_id}/recording"
    downloader.enqueue_file(url, path=out, filename=f"recording-{call_id}.wav")
results = downloader.download()
for error in results.errors[:3]:
    print(error.exception, file=sys.stderr)
sys.exit(1 if results.errors else 0)
