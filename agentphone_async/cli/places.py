"""Archives that lie in a folder or in a bucket, for commands that do not care which."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentphone_async.cli.config_file import COMMANDLINE, Section
from agentphone_async.cli.options import Function, add_options, option
from agentphone_async.cli.param_types import Folder, Place

if TYPE_CHECKING:
    from agentphone_async.archive.bucket.archive import BucketArchive


def archive_folder(command: Function, *, urls: bool = False) -> Function:
    """Add ``DEST``, which ``-d`` and ``--dest`` name, too; the command gets it as ``dest``.

    With ``urls`` it may be a bucket's URL, and is text then.
    """
    kind = Place() if urls else Folder()

    @functools.wraps(command)
    def with_folder(
        *args: Any, dest: Path | str | None, folder: Path | str | None, **kwargs: Any
    ) -> Any:
        context = click.get_current_context()
        if dest is not None and folder is not None:
            if context.get_parameter_source("dest") is COMMANDLINE:
                raise click.UsageError(
                    f"the folder is given twice, as {str(folder)!r} and as {str(dest)!r}; "
                    "leave one out"
                )
            dest = None
        if (chosen := folder or dest) is None:
            raise click.UsageError("say which archive: DEST, or -d DIR")
        return command(*args, dest=chosen, **kwargs)

    return add_options(
        with_folder,
        click.argument("folder", type=kind, required=False, metavar="DEST"),
        option(Section.WHERE, "-d", "--dest", type=kind, metavar="DIR", help="The same as DEST."),
    )


def catalog_option(command: Function) -> Function:
    """Add ``--catalog``: where the cache of an archive in a bucket is; ``cache`` to the command."""
    return add_options(
        command,
        option(
            Section.WHERE,
            "--catalog",
            "cache",
            type=Folder(),
            metavar="DIR",
            help="For a bucket: where its catalog is cached.  [default: the user's cache]",
        ),
    )


overwrite_option = option(
    Section.WHERE,
    "--allow-overwrite",
    is_flag=True,
    config=False,
    help="Use a bucket whose store cannot create objects without overwriting.",
)


def readable_archive(command: Function) -> Function:
    """Add ``DEST``, a folder or a URL; the command gets a folder with a catalog as ``dest``.

    Of an archive in a bucket that is its cache, brought up to date.
    """

    @functools.wraps(command)
    def with_catalog(*args: Any, dest: Path | str, cache: Path | None, **kwargs: Any) -> Any:
        with catalog_of(dest, cache) as folder:
            return command(*args, dest=folder, **kwargs)

    return archive_folder(catalog_option(with_catalog), urls=True)


@contextlib.contextmanager
def catalog_of(dest: Path | str, cache: Path | None) -> Iterator[Path]:
    """A folder with the catalog of an archive, wherever that is."""
    if isinstance(dest, Path):
        refuse_cache(cache)
        yield dest
        return
    from agentphone_async.archive.bucket.store import Store, default_cache
    from agentphone_async.sinks.bucket import Bucket

    bucket = Bucket.from_url(dest)
    store = Store(bucket, cache or default_cache(bucket.url))
    try:
        store.open_existing()
        store.pull()
    finally:
        store.close()
    yield store.cache


def archive_place(command: Function) -> Function:
    """Add ``DEST``, a folder or a URL; the command gets the archive there as ``place``."""
    return archive_folder(given_place(command), urls=True)


def given_place(command: Function) -> Function:
    """The command, which gets the archive at ``dest`` as ``place``; and ``--catalog``."""

    @functools.wraps(command)
    def with_place(*args: Any, dest: Path | str, cache: Path | None, **kwargs: Any) -> Any:
        return command(*args, place=archive_of(dest, cache), **kwargs)

    return catalog_option(with_place)


def archive_of(dest: Path | str, cache: Path | None) -> Path | BucketArchive:
    """An archive's folder; or the archive in the bucket that a URL names."""
    if isinstance(dest, Path):
        refuse_cache(cache)
        return dest
    from agentphone_async.archive.bucket.archive import BucketArchive

    return BucketArchive(dest, cache)


def refuse_cache(cache: Path | None) -> None:
    """``--catalog`` means nothing where the catalog is the archive's own."""
    if cache is not None:
        raise click.UsageError(
            "--catalog is for an archive in a bucket; one in a folder has its catalog inside"
        )
