"""The unit and the image of the guide hold as far as they can be tried here."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess

import pytest

from agentphone_async.cli.watch import command
from tests.docs.blocks import ROOT, blocks_of

GUIDE = {
    block.notes["file"]: block.text
    for block in blocks_of(ROOT / "docs" / "howto" / "watch.md")
    if "file" in block.notes
}


def parsed(words):
    """The options of `watch`, from the words behind its name; whether they are known is checked."""
    context = command.make_context("watch", list(words), resilient_parsing=True)
    known = {name for option in command.params for name in option.opts}
    assert {word for word in words if word.startswith("-")} <= known
    return context.params


def test_the_unit_starts_watch_and_waits_for_it():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read_string(GUIDE["agentphone-watch.service"])
    service = unit["Service"]
    assert service["Type"] == "notify"
    program, name, *words = shlex.split(service["ExecStart"])
    assert (program.rpartition("/")[2], name) == ("agentphone-async", "watch")
    assert str(parsed(words)["folder"]) == f"/var/lib/{service['StateDirectory']}"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    text = GUIDE["agentphone-watch.service"]
    unit = tmp_path / "agentphone-watch.service"
    unit.write_text(text.replace("/usr/local/bin/agentphone-async", shutil.which("true")))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert [line for line in done.stderr.splitlines() if unit.name in line] == []


def test_the_image_starts_watch_as_a_user_of_its_own():
    text = GUIDE["Dockerfile"].replace("\\\n", " ")
    steps = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    known = {
        "FROM",
        "RUN",
        "USER",
        "VOLUME",
        "EXPOSE",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    }
    assert {step for step, _ in steps} <= known
    said = dict(steps)
    program, name, *words = [*json.loads(said["ENTRYPOINT"]), *json.loads(said["CMD"])]
    assert (program, name) == ("agentphone-async", "watch")
    options = parsed(words)
    assert (options["listen"], options["behind_proxy"]) == ("0.0.0.0:8080", True)
    assert said["USER"] != "root"
    compile(json.loads(re.sub(r"^CMD ", "", said["HEALTHCHECK"]))[2], "HEALTHCHECK", "exec")
