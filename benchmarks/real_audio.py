"""Real telephone audio through both commands and two real servers, compared byte by byte.

    python -m benchmarks.real_audio /usr/share/asterisk/sounds

The folder's WAV files are served as recordings by the emulator, and by a real nginx that takes the
recordings from the disk and passes the rest of the API on to the emulator. `archive` and `fetch`
must fetch every file byte-identical from both, at 16 transfers.
"""

from __future__ import annotations

import asyncio
import filecmp
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

from agentphone_async.emulator import Emulator

NGINX_CONF = """\
daemon off; pid {home}/nginx.pid; error_log {home}/error.log; worker_processes 2;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; types {{ }} default_type audio/wav;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location ~ ^/v1/calls/(?<id>[A-Za-z0-9_-]+)/recording$ {{ alias {home}/files/$id; }}
    location / {{ proxy_pass {upstream}; proxy_set_header Host $host; }}
  }}
}}
"""


async def run(base_url: str, key: str, *arguments: str) -> dict[str, object]:
    """Run our command; return its summary."""
    environment = {**os.environ, "AGENTPHONE_BASE_URL": base_url, "AGENTPHONE_API_KEY": key}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agentphone_async", *arguments, "--json",
        env=environment, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with exit code {process.returncode}")
    summary: dict[str, object] = json.loads(output.splitlines()[-1])
    return summary


def compare(emulator: Emulator, folder: Path) -> int:
    """Compare every file under ``folder`` with what was served; return how many there are."""
    brought = {path.stem: path for path in folder.rglob("recording-*.wav")}
    for call in emulator.calls:
        source = emulator.source_of(call.id)
        copy = brought.pop(f"recording-{call.id}", None)
        if source is None or copy is None or not filecmp.cmp(source, copy, shallow=False):
            raise SystemExit(f"{copy} is not {source}")
    if brought:
        raise SystemExit(f"nobody served {min(brought)}")
    return len(emulator.calls)


async def start_nginx(home: Path, emulator: Emulator) -> tuple[asyncio.subprocess.Process, str]:
    """A real nginx in front of the emulator, with the recordings from the disk."""
    binary = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if binary is None:
        raise SystemExit("nginx is not installed; try: apt install nginx-light")
    home.chmod(0o755)  # its workers run as another user when we are root
    (home / "files").mkdir()
    for call in emulator.calls:
        (home / "files" / call.id).symlink_to(emulator.source_of(call.id) or "")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = home / "nginx.conf"
    configuration.write_text(
        NGINX_CONF.format(home=home, port=port, upstream=emulator.base_url), encoding="utf-8"
    )
    process = await asyncio.create_subprocess_exec(
        binary, "-c", str(configuration), "-e", str(home / "error.log")
    )
    for _ in range(100):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            break
    return process, f"http://127.0.0.1:{port}"


async def check(name: str, base_url: str, emulator: Emulator, home: Path) -> None:
    """Both commands against one server."""
    ids = home / "ids.txt"
    ids.write_text("".join(f"{call.id}\n" for call in emulator.calls), encoding="utf-8")
    commands = {
        "archive": ["archive", str(home / name / "archive"), "--date", "yesterday"],
        "fetch": ["fetch", "--from-file", str(ids), "--dest", str(home / name / "fetch")],
    }
    for command, arguments in commands.items():
        started = time.monotonic()
        summary = await run(base_url, emulator.api_key, *arguments, "--transfers", "16")
        count = compare(emulator, home / name / command)
        seconds = time.monotonic() - started
        print(f"{name}, {command}: {count} files, {summary['bytes']:,} bytes, all identical, "
              f"{seconds:.1f} s")  # fmt: skip


async def main(recordings: Path) -> None:
    """The emulator first, then nginx."""
    with tempfile.TemporaryDirectory(prefix="agentphone-real-audio-") as folder:
        home = Path(folder)
        async with Emulator(recordings=recordings) as emulator:
            await check("emulator", emulator.base_url, emulator, home)
            nginx, base_url = await start_nginx(home, emulator)
            try:
                await check("nginx", base_url, emulator, home)
            finally:
                nginx.terminate()
                await nginx.wait()


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        raise SystemExit("usage: python -m benchmarks.real_audio FOLDER_OF_WAV_FILES")
    asyncio.run(main(Path(sys.argv[1])))
