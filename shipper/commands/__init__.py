"""The commands, a module for each family, and what they share. Nothing heavy is loaded before it is used."""

import asyncio
import errno
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from shipper.exit_status import BUG, IN_USE, IO_FAILED, USAGE, WRONG_CONFIG

if TYPE_CHECKING:
    from shipper.config import Settings
    from shipper.journal import JournalError
    from shipper.sources import SourceConfig

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="The configuration [else $SHIPPER_CONFIG, else /etc/shipper/config.toml].",
)
_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})
yes_option = click.option("--yes", is_flag=True, help="Do it.")


def fail(status: int, *lines: str) -> NoReturn:
    """Ends with a status, after one clear line a problem on stderr."""
    for line in lines:
        click.echo(f"shipper: {line}", err=True)
    raise SystemExit(status)


def stdout_failed(error: OSError) -> int:
    """The exit status for output that nobody takes any more, after a line that says so unless whoever read it has gone.

    Raises the error itself where it is about something else.
    """
    if not isinstance(error, BrokenPipeError):
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise error
        click.echo(f"shipper: stdout: {error.strerror}", err=True)
    # What is left of it must not fail once more at the end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return IO_FAILED


def settings_of(config_file: Path | None, *, say: bool = True) -> "Settings":
    """The settings, or the end of the program with every problem named."""
    from shipper.config import load

    return _loaded(load, config_file, say=say)


def own_settings_of(config_file: Path | None, *, say: bool = True) -> "Settings":
    """The same without sources and sinks, for a command that only talks to the daemon: it needs no secret."""
    from shipper.config import load_own

    return _loaded(load_own, config_file, say=say)


def _loaded(
    load: "Callable[[Path | None, Mapping[str, str]], Settings]", config_file: Path | None, *, say: bool
) -> "Settings":
    from shipper.config import ConfigError

    try:
        settings = load(config_file, os.environ)
    except ConfigError as error:
        fail(WRONG_CONFIG, str(error))
    if say:
        click.echo(f"shipper: using {settings.file}", err=True)
    return settings


def sources_of(settings: "Settings", name: str) -> "dict[str, SourceConfig]":
    """The source of this name, or all that are enabled; the end of the program where there is none."""
    from shipper.commands.shown import visible

    known = settings.sources
    if name and name not in known:
        fail(USAGE, f"--source: there is no source {visible(name[:40])} (there: {', '.join(known) or 'none'})")
    return {name: known[name]} if name else {one: config for one, config in known.items() if config.enabled}


def run_async(work: Callable[[], Coroutine[Any, Any, int]]) -> NoReturn:
    """Runs the coroutine to its exit status, with the journal's errors as one line each, and ends the process."""
    from shipper.app import leave
    from shipper.delivery import place_of
    from shipper.journal import JournalError

    async def to_the_end() -> None:
        try:
            try:
                status = await work()
                sys.stdout.flush()
            except OSError as error:
                status = stdout_failed(error)
        except JournalError as error:
            click.echo(f"shipper: {error}", err=True)
            status = _status_of(error)
        except Exception as error:  # noqa: BLE001  the last line of defence: type and place, never a message
            click.echo(f"shipper: a bug: {place_of(error)}", err=True)
            status = BUG
        leave(status)

    asyncio.run(to_the_end())
    raise SystemExit(BUG)


def _status_of(error: "JournalError") -> int:
    from shipper.journal import JournalInUseError, UnknownNameError, WrongTenantError

    statuses: dict[type[JournalError], int] = {
        JournalInUseError: IN_USE,
        WrongTenantError: WRONG_CONFIG,
        UnknownNameError: USAGE,
    }
    return statuses.get(type(error), IO_FAILED)


def who() -> str:
    """Who types this, for the audit list: the process's user, and who became that one by sudo."""
    import pwd

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"user {os.getuid()}"  # a container's
    former = os.environ.get("SUDO_USER", name)
    return name if former == name else f"{name}, by sudo of {former[:64]}"
