"""The options that say where the API is and who asks, the same for every command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentphone_async.cli.options import Function, add_options
from agentphone_async.cli.param_types import File, Seconds

if TYPE_CHECKING:
    from agentphone_async.client import AsyncAgentPhone


@dataclass(frozen=True, slots=True)
class Connection:
    """What the options said."""

    base_url: str | None
    api_key_file: Path | None
    sub_account: str | None
    ca_file: Path | None
    retries: int
    retry_time: float

    def client(self, *, key_needed: bool = True, **more: Any) -> AsyncAgentPhone:
        """A client that is not yet open.

        Raises:
            ConfigurationError: the key is needed and missing, or something cannot work.
        """
        from agentphone_async.client import AsyncAgentPhone
        from agentphone_async.config import RetryPolicy
        from agentphone_async.errors import MissingKeyError

        client = AsyncAgentPhone(
            self._api_key(),
            base_url=self.base_url,
            sub_account=self.sub_account,
            ca_file=None if self.ca_file is None else str(self.ca_file),
            retry=RetryPolicy(attempts=self.retries, total=self.retry_time),
            **more,
        )
        if key_needed and client.settings.api_key is None:
            raise MissingKeyError(
                "no API key; set AGENTPHONE_API_KEY or use --api-key-file FILE (never a flag, "
                "because flags can be read by every user of this machine)"
            )
        return client

    def _api_key(self) -> str | None:
        from agentphone_async.errors import ConfigurationError

        if self.api_key_file is None:
            return None
        try:
            with self.api_key_file.open(encoding="utf-8") as file:
                key = file.read(4096).strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise ConfigurationError(
                f"cannot read the API key from {str(self.api_key_file)!r}: {reason}"
            ) from error
        if not key:
            raise ConfigurationError(f"the API key file {str(self.api_key_file)!r} is empty")
        return key


def connection_options(command: Function) -> Function:
    """Add the options; the command gets them as one ``connection`` argument."""
    import functools

    @functools.wraps(command)
    def with_connection(
        *args: Any,
        base_url: str | None,
        api_key_file: Path | None,
        sub_account: str | None,
        ca_file: Path | None,
        retries: int,
        retry_time: float,
        **kwargs: Any,
    ) -> Any:
        connection = Connection(base_url, api_key_file, sub_account, ca_file, retries, retry_time)
        return command(*args, connection=connection, **kwargs)

    return add_options(
        with_connection,
        click.option(
            "--base-url",
            metavar="URL",
            help="Where the API is.  [default: AGENTPHONE_BASE_URL, https://api.agentphone.ai]",
        ),
        click.option(
            "--api-key-file",
            metavar="FILE",
            type=File(),
            help="Read the API key from a file.  [default: AGENTPHONE_API_KEY]",
        ),
        click.option("--sub-account", metavar="ID", help="Act for a sub-account."),
        click.option(
            "--ca-file",
            metavar="FILE",
            type=File(exists=True, dir_okay=False),
            help="Certificate authorities (PEM) instead of the system's.",
        ),
        click.option(
            "--retries",
            type=click.IntRange(1, 100),
            default=5,
            show_default=True,
            metavar="N",
            help="Attempts per request, where trying again is safe.",
        ),
        click.option(
            "--retry-time",
            type=Seconds(),
            default="2m",
            show_default=True,
            help="How long to go on trying, and to wait out an outage.",
        ),
    )
