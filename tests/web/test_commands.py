"""`watch` and `serve` as commands: how they begin, what they refuse, how they end."""

from __future__ import annotations

import http.client
import signal
import socket
import sqlite3
import time

import pytest

from agentphone_async.emulator import EmulatorThread
from tests.support.commands import Command, ended, process
from tests.web.conftest import SECRET, event, signed


@pytest.fixture
def command(monkeypatch, capsys):
    monkeypatch.setenv("AGENTPHONE_API_KEY", "sk_live_x")
    return Command(monkeypatch, capsys)


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return path


def one_line(ended, code, said):
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err, ended.err
    assert ended.err.count("\n") == 1, ended.err


def test_watch_receives_archives_and_ends_well_on_sigterm(tmp_path, secret_file):
    with EmulatorThread() as emulator:
        call = emulator.add_call(duration=1)
        environment = {
            "AGENTPHONE_API_KEY": emulator.api_key,
            "AGENTPHONE_BASE_URL": emulator.base_url,
        }
        arguments = ("watch", tmp_path / "calls", "--secret-file", secret_file)
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
            process(
                *arguments,
                "--listen",
                "127.0.0.1:0",
                env=environment | {"NOTIFY_SOCKET": str(tmp_path / "notify")},
            ) as running,
        ):
            systemd.bind(str(tmp_path / "notify"))
            line = running.stderr.readline()
            assert "takes webhooks" in line
            systemd.settimeout(10)
            assert systemd.recv(100) == b"READY=1"
            address = line.split()[0].removeprefix("http://")
            sender = http.client.HTTPConnection(address, timeout=10)
            sender.request("POST", "/", event(call.id), signed(event(call.id)))
            assert sender.getresponse().status == 204
            sender.close()
            running.send_signal(signal.SIGTERM)
            result = ended(running)
            assert systemd.recv(100) == b"STOPPING=1"
        assert result.code == 0, result.err
        assert "sk_live" not in result.err
        assert call.id not in result.err
        (recording,) = (tmp_path / "calls").rglob("*.wav")
        assert recording.read_bytes() == emulator.expected_audio(call.id)
        assert len(list((tmp_path / "calls").rglob("event-*.json"))) == 1


def test_watch_refuses_what_cannot_work_in_one_line(command, tmp_path, secret_file):
    dest = tmp_path / "calls"
    one_line(command("watch", dest), 2, "--secret-file")
    one_line(command("watch", dest, "--secret-file", tmp_path / "none"), 2, "no such file")
    secret_file.chmod(0o644)
    one_line(command("watch", dest, "--secret-file", secret_file), 2, "chmod 600")
    secret_file.chmod(0o600)
    this = ("watch", dest, "--secret-file", secret_file)
    one_line(command(*this, "--listen", "0.0.0.0:8080"), 2, "--behind-proxy")
    one_line(command(*this, "--listen", "nowhere"), 2, "HOST:PORT")
    one_line(command(*this, "--poll", "1s"), 2, "--poll")
    one_line(command(*this, "--template", "{"), 2, "template")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        one_line(command(*this, "--listen", taken), 2, "cannot listen on")
    assert not list(dest.glob("*.wav"))


def test_watch_says_when_the_catalog_is_newer_or_the_folder_a_file(command, tmp_path, secret_file):
    this = ("--secret-file", secret_file, "--listen", "127.0.0.1:0")
    one_line(command("watch", secret_file, *this), 4, "in the way")
    newer_catalog(tmp_path)
    one_line(command("watch", tmp_path, *this), 4, "update agentphone-async")


def newer_catalog(folder):
    connection = sqlite3.connect(folder / "catalog.sqlite3")
    connection.execute(f"PRAGMA application_id = {int.from_bytes(b'APac', 'big')}")
    connection.execute("PRAGMA user_version = 999")
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()


def test_watch_ends_with_3_if_the_key_is_refused(command, tmp_path, secret_file, monkeypatch):
    with EmulatorThread() as emulator:
        monkeypatch.setenv("AGENTPHONE_BASE_URL", emulator.base_url)
        began = time.monotonic()
        this = ("--secret-file", secret_file, "--listen", "127.0.0.1:0")
        result = command("watch", tmp_path / "calls", *this)
        assert result.code == 3, result.err
        assert time.monotonic() - began < 10
