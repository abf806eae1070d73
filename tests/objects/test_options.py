"""What the options of ``archive`` say reaches the workers, be they processes or a cluster's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import click
import pytest

from agentphone_async import dask
from agentphone_async.archive.bucket.archive import BucketArchive
from agentphone_async.archive.bucket.work import Worker
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.report import Report
from agentphone_async.cli import archive, cluster, shards
from agentphone_async.cli.main import cli

SAID = {
    "--metadata": (),
    "--transcripts": (),
    "--template": ("{call_id}",),
    "--grace": ("3h",),
    "--min-age": ("2m",),
    "--wait": ("7s",),
    "--recheck": (),
    "--probe-all": (),
    "--refresh": (),
    "--transfers": ("3",),
    "--max-transfer": ("9M",),
    "--max-duration": ("90s",),
    "--max-file-size": ("8M",),
    "--tpslimit": ("11",),
    "--bwlimit": ("2M",),
    "--retries": ("4",),
    "--retry-time": ("33s",),
    "--max-wait": ("44s",),
    "--base-url": ("http://127.0.0.1:9",),
    "--sub-account": ("sub_1",),
    "--allow-http": (),
    "--allow-overwrite": (),
    "--fsync": ("off",),
}
"""Options that mean something on every machine."""

WHOLE_RUNS = {
    "--full-list": (),
    "--full-list-every": ("3d",),
    "--wait-lock": ("5s",),
    "--mode": ("group",),
    "--no-mtime": (),
    "--hash-ids": (),
    "--min-free-space": ("1M",),
    "--tz": ("Europe/Berlin",),
}
"""Options of a run that a shard has no use for, or takes from its plan."""

SELECTING = {"--date", "--since", "--until", "--status", "--direction"}
HERE = {"--catalog", "--dask", "--api-key-file", "--quiet", "--progress", "--no-progress", "-o",
        "--output", "--log-level", "--log-file", "--json", "--verbose", "--config", "--dest"}  # fmt: skip
REFUSED = {
    "--dry-run": (), "--exec": ("true",), "--exec-jobs": None, "--proxy": ("http://p:1",),
    "--header": ("a: b",), "--ca-file": (__file__,),
}  # fmt: skip
URL = "memory://options/x"


def words(*some: dict[str, tuple[str, ...]]) -> list[str]:
    return [word for one in some for name, value in one.items() for word in (name, *value)]


def names(command: click.Command) -> set[str]:
    return {
        max(param.opts, key=len)
        for param in command.params
        if isinstance(param, click.Option) and not param.hidden
    }


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What was passed on, by who got it."""
    told: dict[str, Any] = {}

    async def run(self: Any, client: Any, selection: Any, options: Any, **_: Any) -> Report:
        told["run"] = options, client.settings, selection, self.bucket.allow_overwrite
        return Report(complete=True)

    async def work(self: Any, client: Any, name: Any, part: Any, options: Any, **_: Any) -> Report:
        told["work"] = options, client.settings, self.bucket.allow_overwrite
        return Report(complete=True)

    def on_cluster(_: Any, dest: str, selection: Any, options: Any, **more: Any) -> Report:
        told["dask"] = options, selection, more
        return Report(complete=True)

    @contextmanager
    def no_client(*_: Any) -> Iterator[None]:
        yield

    monkeypatch.setenv("AGENTPHONE_API_KEY", "sk_test_1")
    monkeypatch.setattr(BucketArchive, "run", run)
    monkeypatch.setattr(Worker, "work", work)
    monkeypatch.setattr(dask, "archive", on_cluster)
    monkeypatch.setattr(cluster, "_client", no_client)
    return told


def test_every_option_is_passed_on_or_refused(said):
    pytest.importorskip("distributed")
    ours = set(SAID) | set(WHOLE_RUNS) | SELECTING | HERE | set(REFUSED)
    assert names(archive.command) - ours == set()
    assert set(SAID) <= names(shards.work)
    command = ["archive", URL, "--since", "2026-11-01", "--status", "completed"]
    command += words(SAID, WHOLE_RUNS)
    assert cli.main([*command, "--quiet"], standalone_mode=False) == 0
    assert cli.main([*command, "--quiet", "--dask", "local"], standalone_mode=False) == 0
    options, settings, selection, careless = said["run"]
    there, chosen, more = said["dask"]
    assert options != RunOptions()
    assert (there, chosen) == (options, selection)
    assert (more["rate"], more["base_url"]) == (settings.tpslimit, settings.base_url)
    worker = more["worker"]
    assert (worker.retry, worker.sub_account) == (settings.retry, settings.sub_account)
    assert (worker.bwlimit, worker.allow_http) == (settings.bwlimit, settings.allow_http)
    assert more["allow_overwrite"] is careless is True

    assert cli.main(["archive", "work", URL, *words(SAID), "--quiet"], standalone_mode=False) == 0
    there, at_work, careless = said["work"]
    of_whole_runs = {
        name: getattr(options, name)
        for name in (
            "full_list",
            "full_list_every",
            "wait_lock",
            "mode",
            "mtime",
            "hash_ids",
            "zone",
        )
    }
    limits = replace(there.limits, min_free_space=options.limits.min_free_space)
    assert replace(there, limits=limits, **of_whole_runs) == options
    assert at_work == settings
    assert careless


@pytest.mark.parametrize("option", [name for name, value in REFUSED.items() if value is not None])
def test_what_cannot_reach_a_cluster_is_refused(said, option):
    pytest.importorskip("distributed")
    with pytest.raises(click.UsageError, match=option):
        cli.main(
            ["archive", URL, "--date", "today", "--dask", "local", option, *REFUSED[option]],
            standalone_mode=False,
        )
    assert said == {}


@pytest.mark.parametrize("command", [["archive", "plan"], ["archive", "--dask", "local"]])
def test_shards_do_not_go_on_from_the_last_run(said, command):
    with pytest.raises(click.UsageError, match="--since last"):
        cli.main([*command, URL, "--since", "last"], standalone_mode=False)
    assert said == {}
