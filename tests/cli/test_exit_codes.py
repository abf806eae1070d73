"""Each way to end has its exit code and one harmless line."""

from __future__ import annotations

import errno

import pytest

from agentphone_async import errors
from agentphone_async.archive.selection import SelectionError
from agentphone_async.archive.template import TemplateError
from agentphone_async.cli import exit_codes
from agentphone_async.cli.exit_codes import explain

ENDS = [
    (errors.ArchiveLockedError("held by 7"), exit_codes.LOCKED),
    (errors.CatalogError("torn"), exit_codes.DESTINATION),
    (errors.DestinationError("full"), exit_codes.DESTINATION),
    (errors.ConfigurationError("bad"), exit_codes.USAGE),
    (errors.MissingKeyError("none"), exit_codes.USAGE),
    (errors.InvalidIdError("dots"), exit_codes.USAGE),
    (errors.AuthenticationError("401", status=401), exit_codes.KEY_REFUSED),
    (errors.PermissionDeniedError("403", status=403), exit_codes.KEY_REFUSED),
    (errors.ServerError("500", status=500), exit_codes.SOME_FAILED),
    (errors.ConnectionFailedError("refused"), exit_codes.SOME_FAILED),
    (errors.NotAudioError("html"), exit_codes.SOME_FAILED),
    (FileExistsError("there already"), exit_codes.DESTINATION),
    (SelectionError("no date"), exit_codes.USAGE),
    (TemplateError("no id"), exit_codes.USAGE),
]


@pytest.mark.parametrize(("error", "code"), ENDS, ids=lambda value: type(value).__name__)
def test_foreseen_ends_are_told_in_their_own_words(error, code):
    assert explain(error) == (code, str(error))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device"),
         "cannot write to standard output: no space left on device"),
        (OSError(errno.EIO, "Input/output error", "a.json"), "a.json: input/output error"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "a\nb"), "a\\nb: disk quota exceeded"),
        (OSError(errno.EFBIG, "File too large"),
         "cannot write to standard output: file too large"),
    ],
)  # fmt: skip
def test_a_disk_that_fails_is_no_bug(error, line):
    assert explain(error) == (exit_codes.DESTINATION, line)


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), ValueError("x"), OSError(99, "x")])
def test_an_unforeseen_one_is_called_so(error, capsys):
    code, line = explain(error)
    assert code == exit_codes.SOME_FAILED
    assert line.startswith(f"unexpected {type(error).__name__}: ")
    assert "AGENTPHONE_DEBUG=1" in line
    assert capsys.readouterr().err == ""


def test_its_traceback_is_for_those_who_ask(capsys, monkeypatch):
    monkeypatch.setenv("AGENTPHONE_DEBUG", "1")
    explain(ZeroDivisionError("x"))
    assert "ZeroDivisionError: x" in capsys.readouterr().err


def test_whatever_it_says_is_one_harmless_line():
    _, line = explain(errors.ServerError("\x1b[31mred\nnext" + "x" * 5000, status=500))
    assert line.isprintable()
    assert len(line) <= 1000


def test_the_codes_are_those_that_scripts_rely_on():
    codes = (
        exit_codes.DONE, exit_codes.SOME_FAILED, exit_codes.USAGE, exit_codes.KEY_REFUSED, exit_codes.DESTINATION,
        exit_codes.LOCKED, exit_codes.INTERRUPTED,
    )  # fmt: skip
    assert codes == (0, 1, 2, 3, 4, 5, 130)
