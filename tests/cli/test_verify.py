"""``agentphone-async verify``: what it says, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentphone_async.archive.lock import ArchiveLock
from agentphone_async.emulator import EmulatorThread
from tests.support.archives import CommandLine, day_folder, fill, make_archive

FOLDER = day_folder()
GONE = f"{FOLDER}/recording-call_0.wav"
HEADINGS = "found\treason\tresult\tid\tpath\n"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.delenv("AGENTPHONE_API_KEY", raising=False)
    return CommandLine(capsys)


@pytest.fixture
def archive(server: EmulatorThread, tmp_path: Path) -> Path:
    fill(server, 2)
    make_archive(server, tmp_path, metadata=True)
    return tmp_path


def test_a_sound_archive(run: CommandLine, archive: Path):
    ended = run("verify", archive)
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("4 files, ")
    assert ended.err.endswith("all as it should be\n")
    assert run("verify", archive, "--quiet") == type(ended)(0, "", "")


def test_problems_are_named_and_exit_with_1(run: CommandLine, archive: Path):
    (archive / FOLDER / "recording-call_0.wav").unlink()
    (archive / "\x1b[31mred").write_text("")
    ended = run("verify", archive)
    assert ended.code == 1
    assert ended.out.splitlines() == [
        f"missing: {FOLDER}/recording-call_0.wav: gone",
        "unknown: \\x1b[31mred: not in the catalog",
    ]
    assert ended.err.endswith(": 1 missing, 1 unknown\n")
    quiet = run("verify", archive, "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (1, ended.out, "")


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("tsv", f"{HEADINGS}missing\tgone\t\tcall_0\t{GONE}\nunknown\tnot in the catalog\t\t\tx\n"),
        ("ids", "call_0\n"),
        ("table", f"missing: {GONE}: gone\nunknown: x: not in the catalog\n"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_a_row(run: CommandLine, archive: Path, output: str, said: str):
    (archive / FOLDER / "recording-call_0.wav").unlink()
    (archive / "x").write_text("")
    ended = run("verify", archive, "-o", output)
    assert (ended.code, ended.out) == (1, said)
    assert ended.err.endswith(": 1 missing, 1 unknown\n")


def test_json_events(run: CommandLine, archive: Path):
    (archive / FOLDER / "recording-call_0.wav").write_bytes(b"x")
    (archive / "\x1b[31mred").write_text("")
    ended = run("verify", archive, "--json", "--threads", 2)
    assert ended.code == 1
    assert "\x1b" not in ended.out
    altered, unknown, summary = map(json.loads, ended.out.splitlines())
    assert altered["event"] == "altered"
    assert altered["call_id"] == "call_0"
    assert (unknown["event"], unknown["path"]) == ("unknown", "\x1b[31mred")
    assert (summary["event"], summary["checked"], summary["remaining"]) == ("summary", 4, 2)
    assert ended.err == ""


def test_notes_are_no_problems(run: CommandLine, archive: Path):
    (archive / FOLDER).chmod(0o755)
    for number in range(7):
        (archive / f"x.wav.altered-0000000{number}").write_bytes(b"")
    (archive / ".agentphone-00000000-1-00000000-0.part").write_bytes(b"")
    ended = run("verify", archive)
    assert ended.code == 0
    assert f"others than their owner may read {FOLDER} (chmod" in ended.err
    assert "and 2 more" in ended.err
    assert "partial files of a run" in ended.err


def test_repair_needs_no_key(run: CommandLine, archive: Path, server: EmulatorThread):
    path = archive / FOLDER / "recording-call_0.wav"
    path.write_bytes(b"bad")
    (archive / FOLDER / "recording-call_1.json").unlink()
    ended = run("verify", archive, "--repair", "--base-url", server.base_url)
    assert ended.code == 0
    assert "altered: " in ended.out
    assert "; repaired: fetched again; the bad file is kept as " in ended.out
    assert ended.err.splitlines()[-1].endswith("1 missing, 1 altered; 2 repaired, 0 remain")
    assert path.read_bytes() == server.expected_audio("call_0")
    assert run("verify", archive).code == 0


def test_what_cannot_be_repaired_exits_with_1(
    run: CommandLine, archive: Path, server: EmulatorThread
):
    (archive / FOLDER / "recording-call_0.wav").unlink()
    server.remove_call("call_0")
    base = ["--base-url", server.base_url]
    ended = run("verify", archive, "--repair", *base)
    assert ended.code == 1
    assert "not repaired: the server has no recording of this call" in ended.out
    event = json.loads(run("verify", archive, "--repair", "--json", *base).out.splitlines()[0])
    assert event["repaired"] is False


def test_repair_while_a_run_is_at_work(run: CommandLine, archive: Path, server: EmulatorThread):
    with ArchiveLock(archive) as lock:
        lock.acquire()
        ended = run("verify", archive, "--repair", "--base-url", server.base_url)
        assert ended.code == 5
        assert run("verify", archive).code == 0


@pytest.mark.parametrize("more", [[], ["--repair"]])
@pytest.mark.parametrize("what", ["nothing", "empty", "foreign", "text"])
def test_no_archive_is_one_line_and_4(run: CommandLine, tmp_path: Path, what: str, more: list[str]):
    import sqlite3

    dest = tmp_path / "dest"
    if what != "nothing":
        dest.mkdir()
    if what == "foreign":
        with sqlite3.connect(dest / "catalog.sqlite3") as connection:
            connection.execute("CREATE TABLE hers (x)")
        connection.close()
    elif what == "text":
        (dest / "catalog.sqlite3").write_text("hers" * 100)
    before = sorted(dest.iterdir()) if dest.exists() else None
    ended = run("verify", dest, *more)
    assert (ended.code, ended.out) == (4, "")
    assert len(ended.err.splitlines()) == 1
    assert (sorted(dest.iterdir()) if dest.exists() else None) == before


@pytest.mark.parametrize(
    "arguments", [["--threads", "0"], ["--threads", "x"], ["--wait-lock", "10x"]]
)
def test_bad_options_are_one_line_and_2(run: CommandLine, archive: Path, arguments: list[str]):
    ended = run("verify", archive, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.err.splitlines()) == 1


def test_a_damaged_catalog_says_what_to_do(run: CommandLine, archive: Path):
    path = archive / "catalog.sqlite3"
    body = bytearray(path.read_bytes())
    body[4096:] = b"\xff" * (len(body) - 4096)
    path.write_bytes(body)
    ended = run("verify", archive)
    assert ended.code == 4
    assert len(ended.err.splitlines()) == 1
    assert "catalog rebuild" in ended.err


def test_a_line_now_and_then(run: CommandLine, archive: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("agentphone_async.cli.verify._LINE_EVERY", 0.0)
    ended = run("verify", archive)
    assert ended.err.splitlines()[0].startswith("4 files, ")
    assert ended.err.splitlines()[0].endswith(" checked")
