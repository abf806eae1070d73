"""What the wheel carries beside the package: the man page and the completion scripts, made here."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACES = {
    "bash": "share/bash-completion/completions/agentphone-async",
    "zsh": "share/zsh/site-functions/_agentphone-async",
    "fish": "share/fish/vendor_completions.d/agentphone-async.fish",
}


class Hook(BuildHookInterface):  # type: ignore[misc] # hatchling is there when it builds
    """Makes the files from the commands; click is all that they need."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add them to a wheel that is not an editable one."""
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        try:
            from agentphone_async.cli.completion import script  # noqa: PLC0415 - the tree is built
            from agentphone_async.cli.man import page  # noqa: PLC0415
        finally:
            sys.path.remove(self.root)
        self._made = tempfile.TemporaryDirectory(prefix="agentphone-build-")
        shared = build_data.setdefault("shared_data", {})
        shared[self._write("man", page())] = "share/man/man1/agentphone-async.1"
        for shell, place in PLACES.items():
            shared[self._write(shell, script(shell))] = place

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """The wheel is there; what was made is not needed any more."""
        if version != "editable":
            self._made.cleanup()

    def _write(self, name: str, text: str) -> str:
        file = Path(self._made.name) / name
        file.write_text(text, encoding="utf-8")
        return str(file)
