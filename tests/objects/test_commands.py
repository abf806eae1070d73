"""Commands on an archive in a bucket: what they read, and what they say was meant wrongly."""

from __future__ import annotations

import json

import click
import pytest

from agentphone_async.cli.main import cli
from agentphone_async.errors import DestinationError
from agentphone_async.sinks.bucket import Bucket


def command(*arguments: str) -> int:
    code = cli.main(list(arguments), standalone_mode=False)
    return code if isinstance(code, int) else 0


def test_commands_read_an_archive_in_a_bucket(emulator_thread, tmp_path, monkeypatch, capsys):
    for number in range(3):
        emulator_thread.add_call(id=f"call_{number}", duration=0.2)
    monkeypatch.setenv("AGENTPHONE_API_KEY", emulator_thread.api_key)
    monkeypatch.setenv("AGENTPHONE_BASE_URL", emulator_thread.base_url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    url = f"memory://commands/{tmp_path.name}"
    assert command("archive", url, "--since", "1970-01-01", "--quiet") == 0
    assert command("ls", url, "-o", "json") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert command("verify", url, "--deep", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["checked"] == 3
    assert command("missing", url, "--since", "1970-01-01", "-o", "ids") == 0
    assert capsys.readouterr().out == ""
    assert command("export", url) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert command("forget", url, "call_1", "--yes", "--quiet") == 0
    assert command("prune", url, "--older-than", "9999d", "--yes", "--quiet") == 0
    assert command("catalog", "compact", url) == 0
    assert command("archive", "plan", url, "--since", "1970-01-01") == 0
    assert command("archive", "work", url, "--all", "--quiet") == 0
    assert command("verify", url, "--quiet") == 0
    bucket = Bucket.from_url(url)
    name = next(head.path for head in bucket.list() if head.path.endswith(".wav"))
    bucket.remove(name)
    bucket.create_now("note.txt", b"", {})
    capsys.readouterr()
    assert command("verify", url, "-o", "json") == 1
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["missing"], summary["unknown"]) == (1, 1)
    with pytest.raises(DestinationError, match="there is no archive in"):
        command("ls", "memory://commands/empty")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["archive", "work", "folder"], "'folder' is a folder"),
        (["ls", "s3:/b/x"], "'s3:/b/x' is not a URL; write s3://b/x"),
        (["ls", "s3//b/x"], "'s3//b/x' is not a URL; write s3://b/x"),
        (["ls", "s3:key:secret@b/x"], "'s3:b/x' is not a URL; write s3://b/x"),
        (["fetch", "call_1", "-d", "file:x"], "'file:x' is not a URL; write file:///x"),
        (["archive", "gs:b/x", "--date", "today"], "write gs://b/x"),
        (["archive", "work", "s3://b/x", "--shard", "3/2"], "not a part"),
        (["archive", "work", "s3://b/x", "--shard", "1/2", "--all"], "exclude each other"),
        (["archive", "plan", "s3://b/x"], "say which calls"),
        (["archive", "folder", "--date", "today", "--dask", "local"], "a bucket's URL"),
        (["archive", "folder", "--date", "today", "--catalog", "c"], "--catalog is for"),
        (["catalog", "compact", "folder"], "has no manifests"),
        (["hold", "folder", "call_1", "--catalog", "c"], "--catalog is for"),
        (["verify", "s3://b/x", "--repair", "--accept", "call_1"], "exclude each other"),
    ],
)
def test_commands_say_what_was_meant_wrongly(arguments, said):
    with pytest.raises(click.UsageError) as caught:
        command(*arguments)
    assert said in caught.value.format_message()
