"""What a run shows: to people, to logs, to programs, or only what went wrong."""

from __future__ import annotations

import io
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from agentphone_async import AlreadyArchived, Archived, Failed, NoRecording, NotReadyYet, Recording
from agentphone_async.cli import display as display_module
from agentphone_async.cli.display import Json, Lines, Live, Quiet
from agentphone_async.cli.showing import Showing
from agentphone_async.cli.summary import Summary
from agentphone_async.errors import NotAudioError


def archived(name="a", *, size=1000, suspect=None):
    path = Path("dest") / f"recording-{name}.wav"
    recording = Recording(
        f"call_{name}", path, size, "0" * 64, "audio/wav", 1.5, 8000, 1, 1, 0.1, suspect
    )
    return Archived(f"call_{name}", recording)


def failed(reason="not audio", name="f"):
    return Failed(f"call_{name}", NotAudioError(reason))


EACH = [
    archived(),
    archived("b", size=500),
    NoRecording("call_n"),
    NotReadyYet("call_y"),
    AlreadyArchived("call_t", Path("dest/recording-t.wav")),
    failed(),
]


@pytest.fixture
def clock(monkeypatch):
    made = SimpleNamespace(now=1000.0)
    made.monotonic = lambda: made.now
    monkeypatch.setattr(display_module, "time", made)
    return made


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Makes standard error a terminal; to be called, since pytest puts its own there first."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")

    def make():
        made = Terminal()
        monkeypatch.setattr(sys, "stderr", made)
        return made

    return make


class TestTally:
    def test_counts_are_told_alike_to_people_and_programs(self):
        summary = Summary(listed=6, seconds=2.0)
        for outcome in EACH:
            summary.add(outcome)
        assert summary.settled == 6
        assert summary.as_event() == {
            "event": "summary", "listed": 6, "archived": 2, "no_recording": 1, "not_ready": 1,
            "already_archived": 1, "failed": 1, "left": 0, "bytes": 1500, "seconds": 2.0,
            "unread": 0, "retries": 0, "pauses": 0, "paused_seconds": 0.0,
        }  # fmt: skip
        assert summary.as_sentence() == (
            "2 archived, 1 already there, 1 without a recording, 1 not ready yet, 1 failed: "
            "1.5 kB in 2.0 s (750 B/s)"
        )

    def test_what_has_no_outcome_is_left(self):
        summary = Summary(listed=5)
        summary.add(archived())
        assert summary.left == summary.as_event()["left"] == 4

    def test_nothing_at_all_is_told_as_such(self):
        assert Summary().as_sentence() == "0 archived: 0 B in 0.0 s (0 B/s)"


class TestChoice:
    @pytest.mark.parametrize(
        ("options", "kind"),
        [
            ({"as_json": True}, Json),
            ({"as_json": True, "quiet": True}, Json),
            ({"quiet": True}, Quiet),
            ({}, Lines),
        ],
    )
    def test_without_a_terminal(self, options, kind):
        assert type(Showing(**options).display()) is kind

    @pytest.mark.parametrize("as_json", [False, True])
    def test_less_and_more_at_once_cannot_be(self, as_json):
        with pytest.raises(click.UsageError, match="exclude each other"):
            Showing(as_json=as_json, quiet=True, verbose=1)

    def test_a_terminal_gets_a_live_line(self, terminal):
        terminal()
        made = Showing().display()
        made.close()
        assert type(made) is Live


class TestQuiet:
    def test_only_failures_and_suspects_are_told(self, capsys):
        display = Quiet(Summary())
        for outcome in [*EACH, archived("s", suspect="too short")]:
            display.settled(outcome)
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err == "failed: not audio\nsuspect: recording-s.wav: too short\n"

    def test_the_same_failure_is_told_once_and_many_not_all(self, capsys):
        display = Quiet(Summary())
        for _ in range(100):
            display.settled(failed("down"))
        for number in range(100):
            display.settled(failed(f"reason {number}"))
        told = capsys.readouterr().err.splitlines()
        assert told[0] == "failed: down"
        assert len(told) == display_module.MOST_FAILURES_SHOWN + 1
        assert "--verbose" in told[-1]
        assert display.summary.counts["failed"] == 200

    def test_verbose_tells_them_all(self, capsys):
        display = Quiet(Summary(), verbose=True)
        for _ in range(50):
            display.settled(failed("down"))
        assert capsys.readouterr().err.count("failed: down") == 50

    @pytest.mark.parametrize("kind", [Quiet, Lines])
    def test_a_note_is_one_harmless_line(self, kind, capsys):
        kind(Summary()).note("pausing\n\x1b]0;owned\x07" + "x" * 5000)
        told = capsys.readouterr().err
        assert told.startswith("pausing\\n\\x1b]0;owned\\x07xxx")
        assert told.count("\n") == 1
        assert len(told) < 1100

    def test_the_end_is_silent(self, capsys):
        Quiet(Summary()).conclude()
        assert capsys.readouterr() == ("", "")


class TestLines:
    def test_one_line_every_ten_seconds(self, clock, capsys):
        display = Lines(Summary())
        display.listed(1200)
        for _ in range(300):
            display.bytes(100_000)
            display.settled(archived())
            clock.now += 0.1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2
        assert lines[0] == "100 of 1,200 calls, 10.1 MB, 1.0 MB/s"

    def test_verbose_names_each_call(self, clock, capsys):
        display = Lines(Summary(), verbose=True)
        for outcome in EACH:
            display.settled(outcome)
        assert capsys.readouterr().err.splitlines() == [
            "archived: dest/recording-a.wav (1.0 kB)",
            "archived: dest/recording-b.wav (500 B)",
            "no recording: call_n",
            "not ready: call_y",
            "already archived: call_t",
            "failed: not audio",
        ]


class TestJson:
    def test_each_event_is_one_line_of_ascii(self, capsys):
        display = Json(Summary())
        for outcome in [*EACH, NoRecording("\x1b[31m\u202e\udcff\n"), failed("\u2028é\x9b")]:
            display.settled(outcome)
        display.conclude()
        said = capsys.readouterr()
        assert said.err == ""
        assert said.out.isascii()
        events = [json.loads(line) for line in said.out.split("\n")[:-1]]
        assert [event["event"] for event in events] == [
            "archived", "archived", "no_recording", "not_ready", "already_archived", "failed",
            "no_recording", "failed", "summary",
        ]  # fmt: skip
        assert all(line.isprintable() for line in said.out.split("\n"))
        assert events[6]["call_id"] == "\x1b[31m\u202e\udcff\n"


class TestLive:
    def test_it_draws_at_most_five_times_a_second(self, clock, terminal, monkeypatch):
        terminal()
        display = Live(Summary())
        drawn = []
        monkeypatch.setattr(display._progress, "update", lambda *_, **facts: drawn.append(facts))
        display.listed(1000)
        for _ in range(1000):
            display.bytes(1000)
            display.settled(archived())
            clock.now += 0.01
        display.close()
        assert 45 <= len(drawn) <= 50
        assert drawn[-1]["total"] == 1000
        assert drawn[-1]["rate"].endswith("kB/s")

    def test_failures_stand_above_it_and_harmless(self, clock, terminal):
        screen = terminal()
        display = Live(Summary(), verbose=True)
        display.settled(failed("[bold]evil[/bold] \x1b]0;title\x07 \u202e"))
        display.settled(NoRecording("\x1b[2Jcall"))
        display.close()
        shown = screen.getvalue()
        assert "[bold]evil[/bold]" in shown
        assert "\x1b]0;" not in shown
        assert "\x07" not in shown
        assert "\u202e" not in shown
        assert "no recording: \\x1b[2Jcall" in shown

    @pytest.mark.parametrize(
        ("columns", "calls", "is_whole"),
        [(40, 12_345, False), (59, 1_234_567, False), (60, 1_234_567, True), (80, 1_234_567, True)],
    )
    def test_the_counts_are_never_cut(self, columns, calls, is_whole, clock, terminal, monkeypatch):
        monkeypatch.setenv("COLUMNS", str(columns))
        screen = terminal()
        display = Live(Summary())
        display.listed(calls)
        display.bytes(123_456_789)
        clock.now += 1
        display.settled(archived())
        display._progress.refresh()
        display.close()
        shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
        assert f"1/{calls} calls 123.5 MB 123.5 MB/s" in shown
        assert ("-:--:--" in screen.getvalue()) == ("━" in screen.getvalue()) == is_whole

    def test_a_terminal_may_become_narrow(self, clock, terminal):
        screen = terminal()
        display = Live(Summary())
        display._console.width = 40
        clock.now += 1
        display.listed(12_345)
        screen.truncate(0)
        display._progress.refresh()
        display.close()
        assert "━" not in screen.getvalue()

    def test_nothing_of_it_stays(self, clock, terminal):
        screen = terminal()
        display = Live(Summary())
        display.listed(5)
        display.close()
        display.close()
        assert screen.getvalue().rstrip("\n").endswith(("\x1b[2K", "\x1b[?25h"))


class TestNotes:
    def call(self, **fields):
        from agentphone_async.models import Call

        return Call.from_json({"id": "c", **fields})

    def test_why_recordings_are_not_ready(self):
        ended = datetime.now(UTC).replace(hour=3, minute=12, second=0, microsecond=0)
        calls = [
            *(self.call(status="completed", endedAt=(ended - timedelta(minutes=n)).isoformat())
              for n in range(31)),
            *(self.call(status="no-answer") for _ in range(3)),
            self.call(status="in-progress"),
        ]  # fmt: skip
        summary = Summary(listed=36, unread=12)
        summary.add(NotReadyYet("call_x"))
        for call in calls:
            summary.add(NotReadyYet("call_y", call))
        until = (ended + timedelta(hours=24)).astimezone()
        today = until.date() == datetime.now().astimezone().date()
        when = until.strftime("%H:%M" if today else "%Y-%m-%d %H:%M")
        assert summary.notes() == [
            (
                f"36 not ready yet: 31 may still appear until {when}, 1 call is in progress, "
                "3 calls were never connected"
            ),
            "12 ids were not read; run it again to continue",
        ]

    @pytest.mark.parametrize(
        ("left", "unread", "line"),
        [
            (1, 0, "1 call is left; run it again to continue"),
            (2, 1, "2 calls are left, 1 id was not read; run it again to continue"),
            (0, None, "standard input was not read to its end; run it again to continue"),
        ],
    )
    def test_what_is_left(self, left, unread, line):
        assert Summary(listed=left, unread=unread).notes() == [line]

    def test_retries_and_pauses(self):
        summary = Summary()
        summary.effort.retries, summary.effort.pauses, summary.effort.paused_seconds = 1, 2, 90.0
        assert summary.notes() == ["1 retry, 2 pauses of 90 s in all"]


def test_json_names_the_class_that_can_be_imported(capsys):
    class InnerError(NotAudioError):
        """Nobody's business."""

    Json(Summary()).settled(Failed("c", InnerError("x")))
    assert json.loads(capsys.readouterr().out)["error"] == "NotAudioError"
