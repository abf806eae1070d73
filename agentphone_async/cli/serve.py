"""``agentphone-async serve``: a page on this machine, to find calls and to listen to them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentphone_async.cli.config_file import Section
from agentphone_async.cli.event_loop import on_signals, run
from agentphone_async.cli.exit_codes import DONE
from agentphone_async.cli.options import Command, log_options, option
from agentphone_async.cli.places import archive_folder, catalog_option, refuse_cache
from agentphone_async.cli.showing import Logs

if TYPE_CHECKING:
    from agentphone_async.web.listen import Address
    from agentphone_async.web.serve import Serve


@click.command("serve", cls=Command)
@functools.partial(archive_folder, urls=True)
@catalog_option
@option(Section.WHAT, "--listen", metavar="HOST:PORT", default="127.0.0.1:8090",
        help="Where the page is; on this machine only.")  # fmt: skip
@option(Section.WHAT, "--open", "open_browser", is_flag=True, help="Open it in a browser.")
@log_options
def command(
    *, dest: Path | str, cache: Path | None, listen: str, open_browser: bool, logs: Logs
) -> int:
    """Show the archive DEST, a folder or a bucket, on a page: search calls, read and listen.

    Calls are found by date, number, direction, state, length, and by words that were said. The
    URL that is printed has a token; whoever has it can listen. Nothing in the archive is changed:
    the index search.sqlite3 is made beside the catalog, and may be deleted. Stop with Ctrl-C.

    \b
    agentphone-async serve ~/calls --open
    """
    from agentphone_async.web.listen import Address

    logs.start()
    if isinstance(dest, Path):
        refuse_cache(cache)
    run(_serve(dest, cache, Address.parse(listen), open_browser=open_browser))
    return DONE


async def _serve(
    dest: Path | str, cache: Path | None, address: Address, *, open_browser: bool
) -> None:
    from agentphone_async.web.serve import Serve

    def ready(url: str) -> None:
        click.echo(url)
        if open_browser:
            import webbrowser

            webbrowser.open(url)

    serve = Serve(dest, address) if isinstance(dest, Path) else _of_bucket(dest, cache, address)
    on_signals(serve.stop)
    await serve.run(ready)


def _of_bucket(url: str, cache: Path | None, address: Address) -> Serve:
    from agentphone_async.archive.bucket.store import default_cache
    from agentphone_async.sinks.bucket import Bucket
    from agentphone_async.web.serve import Serve

    bucket = Bucket.from_url(url)
    return Serve(cache or default_cache(bucket.url), address, bucket=bucket)
