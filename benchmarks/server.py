"""A real nginx on loopback that serves corpora as AgentPhone recordings, over http and TLS."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.corpus import Corpus
from benchmarks.stopping import BenchError

START_SECONDS = 10.0
ATTEMPTS = 5

NGINX_CONF = """\
daemon off;
{user}worker_processes {workers};
worker_rlimit_nofile 8192;
pid {home}/nginx.pid;
error_log {home}/error.log error;
events {{ worker_connections 2048; }}
http {{
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  access_log off;
  log_not_found off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  open_file_cache max=4000 inactive=600s;
  open_file_cache_valid 600s;
  server {{
    listen 127.0.0.1:{http_port};
    listen 127.0.0.1:{tls_port} ssl;
    server_name localhost;
    ssl_certificate {home}/server.pem;
    ssl_certificate_key {home}/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:bench:4m;
    types {{ }}
    default_type audio/wav;
    location ~ ^/v1/calls/call_absent_[0-9a-f]+/recording$ {{
      default_type application/json;
      return 404 '{{"error":{{"message":"Recording not found","code":"NOT_FOUND"}}}}';
    }}
{corpora}
  }}
}}
"""

CORPUS_LOCATION = """\
    location ~ ^/v1/calls/(?<id>call_{name}_[0-9a-f]+)/recording$ {{
      alias {folder}/$id.wav;
      add_header Content-Disposition 'attachment; filename="recording-$id.wav"';
    }}"""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: two base URLs, the CA file that its certificate hangs on, its version."""

    http: str
    tls: str
    ca_file: Path
    version: str
    pid: int

    def base_url(self, tls: bool) -> str:
        return self.tls if tls else self.http


def nginx_path() -> str:
    """The nginx to run. Raises BenchError when there is none."""
    path = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        raise BenchError(
            "nginx is needed as the server: install it (Debian: apt install nginx-light)"
        )
    return path


def nginx_version(path: str) -> str:
    done = subprocess.run([path, "-v"], capture_output=True, text=True, check=False)
    return done.stderr.strip().rpartition("/")[2] or "unknown"


def configuration(
    home: Path, corpora: Sequence[Corpus], http_port: int, tls_port: int, workers: int
) -> str:
    """The text of nginx.conf. Everything that nginx writes stays below ``home``."""
    locations = (
        CORPUS_LOCATION.format(name=corpus.spec.name, folder=corpus.folder) for corpus in corpora
    )
    # Started as root, nginx would hand its workers to `nobody`, who may not read a private cache.
    user = f"user {pwd.getpwuid(os.geteuid()).pw_name};\n" if os.geteuid() == 0 else ""
    return NGINX_CONF.format(
        home=home,
        user=user,
        workers=workers,
        http_port=http_port,
        tls_port=tls_port,
        corpora="\n".join(locations),
    )


@contextlib.contextmanager
def serve(corpora: Sequence[Corpus], home: Path, *, workers: int = 2) -> Iterator[Server]:
    """Run nginx on two free loopback ports while the context lasts; ended by its pid.

    Raises BenchError when nginx or trustme is missing, or when nginx does not start.
    """
    path = nginx_path()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    ca_file = _write_certificates(home)
    process, ports = _start(path, corpora, home, workers)
    try:
        yield Server(
            http=f"http://127.0.0.1:{ports[0]}",
            tls=f"https://127.0.0.1:{ports[1]}",
            ca_file=ca_file,
            version=nginx_version(path),
            pid=process.pid,
        )
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _write_certificates(home: Path) -> Path:
    try:
        import trustme  # noqa: PLC0415 - so that its absence is one line, not a traceback
    except ImportError as error:
        raise BenchError("trustme is needed for TLS: pip install trustme") from error
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    ca_file = home / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    certificate.private_key_pem.write_to_path(str(home / "server.key"))
    for index, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(str(home / "server.pem"), append=index > 0)
    return ca_file


def _start(
    path: str, corpora: Sequence[Corpus], home: Path, workers: int
) -> tuple[subprocess.Popen[bytes], tuple[int, int]]:
    # nginx cannot say which port it was given, so free ones are chosen here; somebody may take
    # one in between, hence more than one attempt.
    log = home / "error.log"
    for _ in range(ATTEMPTS):
        ports = _free_ports()
        (home / "nginx.conf").write_text(configuration(home, corpora, *ports, workers))
        log.unlink(missing_ok=True)
        process = subprocess.Popen(
            [path, "-p", str(home), "-c", str(home / "nginx.conf"), "-e", str(log)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if _answers(process, ports[0]):
            return process, ports
        process.kill()
        process.wait()
    reason = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
    raise BenchError(f"nginx did not start: {''.join(reason) or 'it gave no reason'}")


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return process.poll() is None
    return False


def openssl_version() -> str:
    """The OpenSSL of this Python, for the report."""
    return ssl.OPENSSL_VERSION
