"""System calls that fail, and what is written meanwhile."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

from agentphone_async import Audio
from agentphone_async.sinks import disk
from agentphone_async.sinks.interface import Body, Target

WAV = Audio("audio/wav")


CONTENT = b"0123456789" * 1000


def target(name="recording-a"):
    return Target(PurePosixPath("day"), name)


def bodies(count):
    chunks = [CONTENT[:4000], CONTENT[4000:4001], CONTENT[4001:]]
    return [Body(target(f"recording-{n}"), chunks, len(CONTENT), WAV) for n in range(count)]


def failing(monkeypatch, name, number, *, on_call=1, when=lambda *_: True):
    """Let ``os.<name>`` fail from its ``on_call``-th concerned call on; returns the count."""
    real = getattr(os, name)
    calls = []

    def fake(*args, **kwargs):
        if when(*args):
            calls.append(args)
            if len(calls) >= on_call:
                if name == "close":
                    real(*args)
                raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    monkeypatch.setattr(disk.os, name, fake)
    return calls


def is_part(path, *_):
    return str(path).endswith(".part")


def is_folder(path, *_):
    return str(path).endswith("day")
