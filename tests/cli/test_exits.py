"""Each way to end has its exit code and one harmless line."""

from __future__ import annotations

import errno

import pytest

from agentphone_async import errors
from agentphone_async.archive.selection.error import SelectionError
from agentphone_async.cli import exits
from agentphone_async.cli.exits import explain
from agentphone_async.recordings.template import TemplateError

ENDS = [
    (errors.ArchiveLockedError("held by 7"), exits.LOCKED),
    (errors.CatalogError("torn"), exits.DESTINATION),
    (errors.DestinationError("full"), exits.DESTINATION),
    (errors.ConfigurationError("bad"), exits.USAGE),
    (errors.MissingKeyError("none"), exits.USAGE),
    (errors.InvalidIdError("dots"), exits.USAGE),
    (errors.AuthenticationError("401", status=401), exits.KEY_REFUSED),
    (errors.PermissionDeniedError("403", status=403), exits.KEY_REFUSED),
    (errors.ServerError("500", status=500), exits.SOME_FAILED),
    (errors.ConnectionFailedError("refused"), exits.SOME_FAILED),
    (errors.NotAudioError("html"), exits.SOME_FAILED),
    (FileExistsError("there already"), exits.DESTINATION),
    (SelectionError("no date"), exits.USAGE),
    (TemplateError("no id"), exits.USAGE),
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
    assert explain(error) == (exits.DESTINATION, line)


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), ValueError("x"), OSError(99, "x")])
def test_an_unforeseen_one_is_called_so(error, capsys):
    code, line = explain(error)
    assert code == exits.SOME_FAILED
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
        exits.DONE, exits.SOME_FAILED, exits.USAGE, exits.KEY_REFUSED, exits.DESTINATION,
        exits.LOCKED, exits.INTERRUPTED,
    )  # fmt: skip
    assert codes == (0, 1, 2, 3, 4, 5, 130)
