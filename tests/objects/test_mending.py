"""Archives in buckets are mended, accepted and held as those in folders are."""

from __future__ import annotations

import itertools
import json

import pytest

from agentphone_async.archive.bucket.store import ASIDE, OURS
from agentphone_async.cli.main import cli
from agentphone_async.errors import CatalogError
from agentphone_async.sinks.bucket import Bucket

_numbers = itertools.count()
ALL = ("--since", "1970-01-01", "--quiet")


def command(*arguments: str) -> int:
    code = cli.main(list(arguments), standalone_mode=False)
    return code if isinstance(code, int) else 0


@pytest.fixture
def url(emulator_thread, tmp_path, monkeypatch) -> str:
    monkeypatch.setenv("AGENTPHONE_API_KEY", emulator_thread.api_key)
    monkeypatch.setenv("AGENTPHONE_BASE_URL", emulator_thread.base_url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for number in range(4):
        emulator_thread.add_call(id=f"call_{number}", duration=0.2)
    url = f"memory://mending/{next(_numbers)}"
    assert command("archive", url, *ALL, "--metadata") == 0
    return url


def paths(bucket: Bucket, ending: str = ".wav") -> list[str]:
    return [
        head.path
        for head in bucket.list()
        if not head.path.startswith(OURS) and head.path.endswith(ending)
    ]


def summary(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def break_some(url: str) -> tuple[Bucket, list[str]]:
    """One recording is gone, one and a call's JSON have other bytes."""
    bucket = Bucket.from_url(url)
    first, second, *_ = paths(bucket)
    beside = paths(bucket, ".json")[0]
    bucket.remove(first)
    for path in (second, beside):
        bucket.put_now(path, b"other bytes", {"sha256": "00"}, mode="overwrite")
    return bucket, [first, second, beside]


def test_what_is_bad_in_a_bucket_is_fetched_again_and_kept_aside(
    url, emulator_thread, capsys, tmp_path
):
    assert len(paths(Bucket.from_url(url), ".json")) == 4
    bucket, _ = break_some(url)
    assert command("verify", url, "-o", "json") == 1
    found = summary(capsys)
    assert (found["missing"], found["altered"], found["checked"]) == (1, 2, 8)
    assert command("verify", url, "--repair", "-o", "json") == 0
    found = summary(capsys)
    assert (found["repaired"], found["remaining"]) == (3, 0)
    expected = sorted(emulator_thread.expected_audio(f"call_{n}") for n in range(4))
    assert sorted(map(bucket.read, paths(bucket))) == expected
    assert [bucket.read(head.path) for head in bucket.list(ASIDE)] == [b"other bytes"] * 2
    assert (
        command("verify", url, "--deep", "-o", "json", "--catalog", str(tmp_path / "elsewhere"))
        == 0
    )
    assert summary(capsys)["aside"] == 2
    for number in range(4):  # what is aside is of these calls, too
        assert command("forget", url, f"call_{number}", "--yes", "--quiet") == 0
    assert list(bucket.list(ASIDE)) == []
    assert paths(bucket) == paths(bucket, ".json") == []


def test_what_is_accepted_on_one_machine_is_accepted_on_all(url, capsys, tmp_path):
    bucket, broken = break_some(url)
    ids = [f"call_{number}" for number in range(4)]
    assert command("verify", url, *(f"--accept={one}" for one in ids), "-o", "json") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert command("verify", url, "-o", "json", "--catalog", str(tmp_path / "elsewhere")) == 0
    assert summary(capsys)["accepted"] == 3
    bucket.put_now(broken[1], b"still other", {"sha256": "11"}, mode="overwrite")
    assert command("verify", url, "-o", "json") == 1
    assert summary(capsys)["altered"] == 1
    assert command("forget", url, *ids, "--yes", "--quiet") == 0
    assert command("verify", url, "-o", "json", "--catalog", str(tmp_path / "elsewhere")) == 0
    assert summary(capsys)["accepted"] == 0


def test_what_is_held_on_one_machine_is_erased_on_none(url, capsys, tmp_path):
    assert command("hold", url, "call_1", "call_2", "--quiet") == 0
    assert command("hold", url, "call_1") == 0
    assert "0 calls held" in capsys.readouterr().err
    assert command("hold", url, "--list", "--catalog", str(tmp_path / "elsewhere")) == 0
    assert sorted(capsys.readouterr().out.split()) == ["call_1", "call_2"]
    assert (
        command(
            "forget", url, "call_1", "call_0", "--yes", "--catalog", str(tmp_path / "elsewhere")
        )
        == 1
    )
    told = capsys.readouterr()
    assert "1 held, and left" in told.out
    assert "call_1 is held" in told.err
    assert command("prune", url, "--older-than", "0s", "--yes", "-o", "json") == 0
    found = summary(capsys)
    assert (found["held"], found["calls"], found["sidecars"]) == (2, 1, 1)
    assert len(paths(Bucket.from_url(url))) == 2
    assert command("hold", url, "call_1", "--release", "--quiet") == 0
    assert command("forget", url, "call_1", "--yes", "--quiet") == 0
    assert len(paths(Bucket.from_url(url))) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["hold", "{}", "call_1"],
        ["hold", "{}", "--list"],
        ["verify", "{}"],
        ["verify", "{}", "--repair"],
        ["verify", "{}", "--accept", "call_1"],
        ["ls", "{}"],
        ["export", "{}"],
        ["missing", "{}", "--since", "7d"],
        ["forget", "{}", "call_1", "--yes"],
        ["prune", "{}", "--older-than", "1d", "--yes"],
        ["catalog", "compact", "{}"],
    ],
)
def test_no_archive_is_made_by_looking_for_one(arguments, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    url = f"memory://nothing/{next(_numbers)}"
    with pytest.raises(CatalogError, match="there is no archive in memory://nothing"):
        command(*(text.format(url) for text in arguments))
    assert list(Bucket.from_url(url).list()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_catalog_that_is_named_lies_there(url, tmp_path):
    assert command("ls", url, "--catalog", str(tmp_path / "named"), "-o", "ids") == 0
    assert (tmp_path / "named" / "catalog.sqlite3").exists()
