"""``agentphone-async emulate``: the AgentPhone API on loopback, until it is interrupted."""

from __future__ import annotations

import asyncio
import os
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentphone_async.cli.config_file import Section
from agentphone_async.cli.event_loop import on_signals, run
from agentphone_async.cli.options import Command, option
from agentphone_async.cli.param_types import Bandwidth, File, Finite, Folder, Seconds, Whole

if TYPE_CHECKING:
    from ssl import SSLContext

    from agentphone_async.emulator import Emulator
    from agentphone_async.emulator.faults.fault import Fault
    from agentphone_async.emulator.settings import Options


def _faults(
    _context: click.Context, _option: click.Parameter, rules: tuple[str, ...]
) -> tuple[Fault, ...]:
    from agentphone_async.emulator.faults.language import parse_fault

    faults = []
    for rule in rules:
        try:
            faults.append(parse_fault(rule))
        except ValueError as error:
            raise click.BadParameter(f"{rule!r}: {error}") from error
    return tuple(faults)


def _day(_context: click.Context, _option: click.Parameter, text: str | None) -> date | None:
    from agentphone_async.archive.selection import load_zone, parse_day

    try:
        return None if text is None else parse_day(text, datetime.now(load_zone(None)).date())
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


_FILE = File(exists=True, dir_okay=False)
_FOLDER = Folder(exists=True, file_okay=False)
_RATE = Finite(1e-3, 1e6)


@click.command("emulate", cls=Command, short_help="Serve an emulated AgentPhone API on loopback.")
@option(Section.CONNECTION, "--host", default="127.0.0.1", metavar="HOST",
              help="Address to listen on. Beyond loopback only with --allow-remote.")  # fmt: skip
@option(Section.CONNECTION, "--allow-remote", is_flag=True,
              help="Let other machines and containers in.")  # fmt: skip
@option(Section.CONNECTION, "--port", type=Whole(0, 65535), default=0,
              help="Port to listen on; 0 takes a free one.")  # fmt: skip
@option(Section.WHAT, "--calls", type=Whole(min=0), default=800,
              help="How many calls the day has.")  # fmt: skip
@option(Section.WHAT, "--seed", type=int, default=1,
              help="Ids, audio, transcripts and the dice of faults follow from it.")  # fmt: skip
@option(Section.WHAT, "--day", callback=_day, metavar="DAY",
              help="The day of the calls, in the local zone: YYYY-MM-DD, today, or yesterday.  "
                   "[default: yesterday]")  # fmt: skip
@option(Section.WHAT, "--seconds", type=Seconds(0.001, 24 * 3600), default="60s",
              help="Half of the calls are shorter than this.")  # fmt: skip
@option(Section.WHAT, "--spread", type=Finite(0, 3), default=1.0,
              help="Sigma of the logarithm of their lengths; 0 for equal ones.")  # fmt: skip
@option(Section.WHAT, "--recordings", metavar="DIR", type=_FOLDER,
              help="Serve the WAV files below this folder: one call for each.")  # fmt: skip
@option(Section.WHAT, "--fault", "faults", metavar="RULE", callback=_faults, multiple=True,
              help="Like route=recording,status=503,times=3. May be repeated.")  # fmt: skip
@option(Section.WHAT, "--new-calls", type=_RATE, metavar="N",
              help="Calls a minute that begin while it runs, and end.")  # fmt: skip
@option(Section.WHAT, "--not-ready-status", type=Whole(200, 599), default=404,
              help="What recordings answer that are still to come, like 202 or 425.")  # fmt: skip
@option(Section.WHAT, "--webhook", metavar="URL",
              help="Send a signed agent.call_ended event there when a call ends.")  # fmt: skip
@option(Section.WHAT, "--webhook-secret", metavar="SECRET", default="whsec_emulator",
              help="What events are signed with.")  # fmt: skip
@option(Section.WHAT, "--webhook-backlog", is_flag=True,
              help="Send events for the calls of the day, too, at once.")  # fmt: skip
@option(Section.LIMITS, "--rate", type=_RATE, metavar="N",
              help="Requests a second; more are answered 429.")  # fmt: skip
@option(Section.LIMITS, "--capacity", type=Whole(min=1), metavar="N",
              help="Requests at once; see --overload.")  # fmt: skip
@option(Section.LIMITS, "--overload", type=click.Choice(["refuse", "slow"]), default="refuse",
              help="What happens beyond --capacity.")  # fmt: skip
@option(Section.SPEED, "--latency", type=Seconds(most=3600), default="0s",
              help="How long every answer takes, like 80ms.")  # fmt: skip
@option(Section.SPEED, "--bandwidth", type=Bandwidth(),
              help="Bytes a second of each connection, like 2M.")  # fmt: skip
@option(Section.SPEED, "--total-bandwidth", type=Bandwidth(),
              help="Bytes a second of all connections together.")  # fmt: skip
@option(Section.CONNECTION, "--api-key-file", type=_FILE, metavar="FILE",
              help="Accept the key in this file, and not the emulator's usual one.")  # fmt: skip
@option(Section.CONNECTION, "--tls-cert", type=_FILE, metavar="FILE",
              help="Serve https with this certificate chain.")  # fmt: skip
@option(Section.CONNECTION, "--tls-key", type=_FILE, metavar="FILE",
              help="Its private key.")  # fmt: skip
def command(
    *,
    faults: tuple[Fault, ...],
    day: date | None,
    rate: float | None,
    api_key_file: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    **same: Any,
) -> None:
    """Serve an emulated AgentPhone API on loopback until SIGINT or SIGTERM.

    The first line on standard output is the base URL; everything else is on standard error.

    The day has as many calls as --calls says, and a few more on the days before and after it,
    so that a date filter has something to leave out.

    With --host 0.0.0.0 and --allow-remote other containers reach it; links in its answers then
    begin with the host that they asked.
    """
    options: Options = {
        **same,  # type: ignore[typeddict-item] # these options have the emulator's own names
        "day": day,
        "zone": None,
        "neighbours": 5 if same["calls"] else 0,
        "rate_limit": rate,
        "tls": _tls(tls_cert, tls_key),
    }
    if api_key_file is not None:
        options["api_key"] = _key(api_key_file)
    emulator = _emulator(options)
    for fault in faults:
        emulator.fail(fault)
    run(_serve(emulator, shown_key=emulator.api_key if api_key_file is None else None))


def _emulator(options: Options) -> Emulator:
    from agentphone_async.emulator import Emulator

    try:
        return Emulator(**options)
    except OSError as error:
        folder = options.get("recordings")
        raise click.BadParameter(
            f"{folder}: {error.strerror or error}", param_hint="--recordings"
        ) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _key(file: Path) -> str:
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{file} cannot be read", param_hint="--api-key-file") from error
    if not key or not key.isprintable() or " " in key:
        raise click.BadParameter(f"{file} holds no key", param_hint="--api-key-file")
    return key


def _tls(certificate: Path | None, key: Path | None) -> SSLContext | None:
    if certificate is None and key is None:
        return None
    if certificate is None:
        raise click.UsageError("--tls-key needs --tls-cert beside it.")
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        message = f"{certificate}: no certificate and key that belong together"
        raise click.BadParameter(message, param_hint="--tls-cert") from error
    return context


async def _serve(emulator: Emulator, shown_key: str | None) -> None:
    try:
        await emulator.start()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise click.BadParameter(
            f"cannot listen on {emulator.settings.host}:{emulator.settings.port}: {reason}",
            param_hint="--port",
        ) from error
    stopped = asyncio.Event()
    on_signals(stopped.set)
    click.echo(emulator.base_url)
    key = f"the key {shown_key}" if shown_key else "the key of --api-key-file"
    click.echo(
        f"{len(emulator.calls)} calls around {emulator.day:%Y-%m-%d}, for {key}. Stop with Ctrl-C.",
        err=True,
    )
    try:
        await stopped.wait()
    finally:
        await emulator.stop()
