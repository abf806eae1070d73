"""The picture: a PNG, or one line that says what is missing."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest

from agentphone_async.bench.figures import Step
from agentphone_async.bench.plot import draw, require_matplotlib
from agentphone_async.errors import ConfigurationError

TIMES = {50: 0.1, 95: 0.2, 99: 0.3}
FULL = [
    Step(1, 1.0, 1_000_000, 3, 3, first_byte=TIMES, total=TIMES),
    Step(8, 1.0, 6_000_000, 18, 18, first_byte=TIMES, total=TIMES),
    Step("auto", 1.0, 5_000_000, 15, 15, settled=7, first_byte=TIMES, total=TIMES),
]
SWEEPS = {"full": FULL, "auto alone": FULL[2:], "nothing arrived": [Step(1, 1.0, 0, 9, 0)]}


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is not installed")
@pytest.mark.parametrize("steps", SWEEPS.values(), ids=SWEEPS)
def test_a_png_is_written(steps, tmp_path):
    path = tmp_path / "goodput.png"
    draw(steps, "a title", path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_without_matplotlib_the_line_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'agentphone-async\[bench\]'"):
        require_matplotlib()
    with pytest.raises(ConfigurationError):
        draw(FULL, "a title", tmp_path / "x.png")
