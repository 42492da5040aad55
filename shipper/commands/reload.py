"""`shipper reload`: the configuration once more, with the outcome for whoever asked, where SIGHUP only has the log."""

import os
from pathlib import Path

import click

from shipper.commands import config_option, own_settings_of, run_async
from shipper.exit_status import NO_DAEMON, OK, WRONG_CONFIG

WITHIN_SECS = 600.0
"""Writes in hand may take long; a service manager has a limit of its own, and a person has Ctrl-C."""


@click.command()
@config_option
def reload(config_file: Path | None) -> None:
    """Have the daemon read its configuration again, and wait for that; 78 where it refuses."""
    run_async(lambda: _reload(_socket(config_file)))


def _socket(config_file: Path | None) -> Path:
    """Within the daemon's unit it is where systemd says, so that the daemon is told of a file that nobody can read."""
    from shipper.ask import socket_of
    from shipper.desk import SOCKET_NAME

    if runtime := os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]:
        return Path(runtime) / SOCKET_NAME
    return socket_of(own_settings_of(config_file))


async def _reload(path: Path) -> int:
    from shipper.ask import asked, listens

    if not listens(path):
        click.echo(f"shipper: no daemon answers at {path}: is it running?", err=True)
        return NO_DAEMON
    problems = asked(path, "reload", {}, within_secs=WITHIN_SECS)["problems"]
    for line in problems:
        click.echo(f"shipper: reload refused, all goes on as before: {line}", err=True)
    if not problems:
        click.echo("reloaded")
    return WRONG_CONFIG if problems else OK
