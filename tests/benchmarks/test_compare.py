from __future__ import annotations

import re
import shlex

import pytest

from benchmarks import compare
from benchmarks.measure import Measured
from benchmarks.peers import REGISTRY, Work
from benchmarks.profiles import COLUMNS
from benchmarks.rounds import anonymous, failure, takes_part
from benchmarks.server import configuration
from benchmarks.stopping import BenchError, exit_code


def run_compare(monkeypatch, *argv):
    monkeypatch.setattr("sys.argv", ["compare", *argv])
    return exit_code(compare.main)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--profile", "huge"], "unknown profile 'huge'; there are: quick, standard, full"),
        (["--columns", "medium-http"], "unknown column 'medium http'"),
        (["--peers", "wget"], "unknown peer 'wget'"),
        (["--rounds", "0"], "--rounds 0: at least one round is needed"),
        (["--quick", "--full"], "--quick and --full exclude each other"),
    ],
)
def test_a_wrong_option_is_one_clear_line_and_exit_2(monkeypatch, capsys, tmp_path, argv, expected):
    assert run_compare(monkeypatch, *argv, "--out", str(tmp_path)) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1


def test_an_unwritable_results_folder_is_one_clear_line_before_anything_runs(
    monkeypatch, capsys, tmp_path
):
    (tmp_path / "file").write_text("")
    assert run_compare(monkeypatch, "--quick", "--out", str(tmp_path / "file" / "results")) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: cannot write results to ")
    assert said.count("\n") == 1


def work_in(folder):
    ids_file = folder / "ids.txt"
    ids_file.write_text("call_a\ncall_b\n")
    return Work("http://127.0.0.1:1", ids_file, folder / "out", folder, 7, folder / "ca.pem")


def test_ours_always_takes_part():
    assert [peer.name for peer in compare.chosen_peers("aria2c")] == ["agentphone-async", "aria2c"]
    with pytest.raises(BenchError):
        compare.chosen_peers("aria2c,wget")


def test_names_of_peers_and_columns_are_unique():
    assert len({peer.name for peer in REGISTRY}) == len(REGISTRY)
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)


@pytest.mark.parametrize("peer", REGISTRY, ids=lambda peer: peer.name)
def test_every_peer_prepares_its_run_within_its_scratch_folder(tmp_path, peer):
    work = work_in(tmp_path)
    command = peer.command(work)
    listed = [path for path in tmp_path.iterdir() if "call_a" in path.read_text()]
    assert listed
    assert any(str(path) in " ".join(command.argv) or path == command.stdin for path in listed)
    assert "AGENTPHONE_API_KEY" not in command.env
    assert command.env["SSL_CERT_FILE"] == str(work.ca_file)


@pytest.mark.parametrize("peer", REGISTRY, ids=lambda peer: peer.name)
def test_a_published_command_line_shows_no_folder_of_this_machine(tmp_path, peer):
    work = work_in(tmp_path)
    shown = anonymous(shlex.join(peer.command(work).argv), work)
    assert str(tmp_path) not in shown
    assert "127.0.0.1" not in shown
    assert not re.search(r"(^|[ '=])/(?!bin/sh)", shown)


def test_only_those_who_pass_over_absent_recordings_are_asked_for_them():
    absent = next(column for column in COLUMNS if column.content == "absent")
    asked = {peer.name for peer in REGISTRY if takes_part(peer, absent, 50_000, 20_000)}
    assert {"agentphone-async", "curl -Z"} <= asked
    assert not {"aria2c", "rclone", "official SDK"} & asked


def test_a_failure_says_how_it_ended_and_what_was_said_last():
    measured = Measured(1.0, 1.0, 1, 3, "first\nlast words")
    assert failure(measured, "2 missing") == "exit 3; 2 missing; last words"
    assert failure(Measured(1.0, 1.0, 1, None, ""), "") == "took too long"


def test_nginx_writes_nothing_outside_its_own_folder(tmp_path):
    text = configuration(tmp_path, (), 8001, 8002, 1)
    for setting in ("pid", "error_log", "client_body_temp_path", "proxy_temp_path"):
        assert f"{setting} {tmp_path}/" in text
    assert "listen 127.0.0.1:8001;" in text
    assert "listen 127.0.0.1:8002 ssl;" in text
