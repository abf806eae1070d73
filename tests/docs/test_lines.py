"""Every line of the page on failures is provoked here, as the page shows it, with its exit code."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from agentphone_async.archive.lock import ArchiveLock
from agentphone_async.emulator import EmulatorThread
from tests.docs.blocks import ROOT
from tests.support.archives import DAY as NOON
from tests.support.archives import CommandLine

PAGE = (ROOT / "docs" / "howto" / "troubleshoot.md").read_text(encoding="utf-8")
BUCKETS = PAGE[PAGE.index("\n## A bucket") : PAGE.index("\n## One call failed")]
"""The lines on buckets are provoked by `test_bucket_lines`."""

ROW = re.compile(r"^\| (?:`(?P<line>[^`]+)`) \|", re.MULTILINE)
ONE = "fetch one -d d --retries 0 --retry-time 0s "
LIST = "calls list --retries 0 --retry-time 0s "
DAY = "archive a --date 2026-03-14 "
STEPS: dict[str, tuple[int, str, dict[str, Any]]] = {
    # The line: its exit code, a command, and what the server does to one recording (or the list).
    "… is not a duration; write it like …": (2, DAY + "--grace soon", {}),
    "… is not a size; write it like …": (2, DAY + "--bwlimit fast", {}),
    "… is not a whole number from …": (2, DAY + "--retries many", {}),
    "… is not a number from …": (2, DAY + "--tpslimit many", {}),
    "… is not a date; write …": (2, "archive a --date soon", {}),
    "… is not a point in time; write …": (2, "archive a --since soon", {}),
    "… is not in the calendar; check month and day": (2, "archive a --date 2026-02-30", {}),
    "there is no time zone …": (2, DAY + "--tz Mars/Base", {}),
    "there is no command …": (2, "arhcive a", {}),
    "No such option…": (2, DAY + "--form-file x", {}),
    "Missing option …": (2, "fetch one", {}),
    "say which archive: DEST, or -d DIR": (2, "ls", {}),
    "say which calls: …": (2, "archive a", {}),
    "there is no complete run of this archive, …": (2, "archive none --since last", {}),
    "template …: …": (2, DAY + "--template {foo}", {}),
    "no API key; set AGENTPHONE_API_KEY or use --api-key-file FILE …": (2, LIST + "NOKEY", {}),
    "cannot read the API key from …": (2, LIST + "--api-key-file none", {}),
    "the API key file … is empty": (2, LIST + "--api-key-file empty", {}),
    "base URL … is not encrypted; use https:// …": (2, LIST + "--base-url http://x.example", {}),
    "a header is not 'NAME: VALUE'; …": (2, LIST + "--header x", {}),
    "the proxy is not an http(s) URL; …": (2, LIST + "--proxy x", {}),
    "cannot read …": (2, "fetch -d d --from-file none", {}),
    "there is no call id in …": (2, "fetch -d d --from-file empty", {}),
    "there is no configuration file …": (2, "ls a --config none", {}),
    "… is not TOML: …": (2, "ls a --config torn.toml", {}),
    "…: there is no table …": (2, "ls a --config table.toml", {}),
    "…: … has no key …": (2, "ls a --config key.toml", {}),
    "… holds a secret; …": (2, "ls a --config secret.toml", {}),
    "401 from …; check the API key": (3, LIST + "--api-key-file wrong", {}),
    "403 from …; this key may not do that": (3, LIST, {"route": "list_calls", "status": 403}),
    "403 from …; no API key was sent, so the key is not the reason: look for a proxy or a firewall": (
        1, ONE, {"status": 403},
    ),
    "402 from …; top up the account": (1, LIST, {"route": "list_calls", "status": 402}),
    "404 from …: …": (1, "calls get nobody", {}),
    "422 from …: the request is not valid; …": (1, "calls get a:b", {}),
    "500 from …": (1, "calls list --retries 0", {"route": "list_calls", "status": 500}),
    "for … the host has answered … to every …; it seems to be in maintenance or overloaded: try again later": (
        1, LIST, {"route": "list_calls", "status": 500},
    ),
    "200 from …, but not the JSON that the AgentPhone API speaks: …; check the base URL": (
        1, LIST, {"route": "list_calls", "html": True},
    ),
    "cannot connect to …; check the base URL and the network": (
        1, LIST + "--base-url http://127.0.0.1:9", {},
    ),
    "cannot find …: the name does not resolve; check the base URL and the network": (
        1, LIST + "--base-url https://nowhere.invalid", {},
    ),
    "… closed the connection at …": (1, ONE, {"reset": "connection"}),
    "the answer for … is not audio: …": (1, ONE, {"html": True}),
    "… broke off in the answer to …": (1, ONE, {"truncate": 500}),
    "the recording of … has … bytes or more; the limit is …": (1, DAY + "--max-file-size 100", {}),
    "… is a file; name a folder": (4, "archive empty --date today", {}),
    "there is no archive in …": (4, "ls none", {}),
    "cannot write to …: the disk is full; make room and run again": (4, DAY + "ENOSPC", {}),
    "cannot write to …: no permission; check owner and mode": (4, DAY + "EACCES", {}),
    "another run is at work in …; wait for it to end, or use --wait-lock": (5, DAY + "LOCKED", {}),
}  # fmt: skip
FILES = {
    "empty": "\n",
    "wrong": "sk_test_wrong",
    "torn.toml": "[archive",
    "table.toml": "[archvie]\nretries = 1\n",
    "key.toml": "[archive]\nretrys = 1\n",
    "secret.toml": "[connection]\napi-key = 'x'\n",
}


@pytest.fixture(scope="module")
def server() -> Iterator[EmulatorThread]:
    with EmulatorThread() as running:
        running.add_call(id="one", started_at=NOON, duration=1)
        yield running


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str],
    server: EmulatorThread,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("AGENTPHONE_BASE_URL", server.base_url)
    monkeypatch.setenv("AGENTPHONE_API_KEY", server.api_key)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return CommandLine(capsys)


def test_every_line_of_the_page_is_provoked_and_the_other_way_round():
    assert ROW.findall(PAGE.replace(BUCKETS, "")) == list(STEPS)


@pytest.mark.parametrize("line", STEPS)
def test_the_line_is_as_the_page_shows_it(
    line: str, run: CommandLine, server: EmulatorThread, monkeypatch: pytest.MonkeyPatch
):
    code, command, fault = STEPS[line]
    words = command.split()
    server.clear_faults()
    if fault:
        server.fail(**{"route": "recording"} | fault)
    with ExitStack() as stack:
        if words[-1] == "NOKEY":
            monkeypatch.delenv("AGENTPHONE_API_KEY")
        if words[-1] == "LOCKED":
            Path("a").mkdir()
            stack.enter_context(ArchiveLock(Path("a"))).acquire()
        if words[-1] in ("ENOSPC", "EACCES"):
            failing = Mock(side_effect=OSError(getattr(errno, words[-1]), "so says the disk"))
            monkeypatch.setattr("agentphone_async.sinks.local.write_all", failing)
        ended = run(*(word for word in words if not word.isupper()))
    assert ended.code == code, ended.err
    pattern = re.escape(line).replace("…", ".*")
    assert re.search(rf": {pattern}|^{pattern}", ended.err), ended.err
    assert "Traceback" not in ended.err
