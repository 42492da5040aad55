"""`shipper get`: one event, as its source still has it."""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shipper.commands import config_option, fail, run_async, settings_of, sources_of
from shipper.exit_status import OK, UNDONE, USAGE

if TYPE_CHECKING:
    from shipper.sources import SourceConfig

_ID = re.compile(r"[0-9A-Za-z_-]{1,128}")


@click.command()
@click.argument("log_id", metavar="LOG_ID")
@config_option
@click.option("--source", default="", help="The source that has it [else the only one].")
def get(log_id: str, config_file: Path | None, source: str) -> None:
    """One event, asked of its source by its id. It is personal data.

    A tenant that is busy or fails is asked again for some seconds.

    On a terminal it is laid out, with control characters escaped; elsewhere its bytes are as the source sent them.
    """
    if not _ID.fullmatch(log_id):
        fail(USAGE, "LOG_ID: letters, digits, - and _ only: as in an event's log_id, or Logto's id")
    settings = settings_of(config_file)
    chosen = sources_of(settings, source)
    if len(chosen) != 1:
        fail(USAGE, f"say which source has it: --source {' | '.join(chosen) or 'NAME'}")
    ((name, config),) = chosen.items()
    run_async(lambda: print_event(name, config, log_id, laid_out=sys.stdout.isatty()))


async def print_event(
    name: str,
    config: "SourceConfig",
    log_id: str,
    *,
    laid_out: bool,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> int:
    """The event on stdout, or why not on stderr. Returns the exit status."""
    from shipper.commands import shown
    from shipper.commands.spoken import Spoken
    from shipper.reasons import WHAT_TO_DO
    from shipper.sources.kinds import kind_of
    from shipper.sources.trouble import Trouble

    try:
        raw = await kind_of(config).event(name, log_id, Spoken(name), sleep=sleep)
    except Trouble as trouble:
        note, do = trouble.note, WHAT_TO_DO[trouble.reason]
        if trouble.reason == "not_found":
            note = "there is no such event, or no longer"
            do = (
                f"Check the id; the event may be older than the retention (retention_days = {config.retention_days:g})."
            )
        click.echo(f"shipper: {name}: {trouble.reason}: {note}. {do}", err=True)
        return UNDONE
    if laid_out:
        for line in shown.laid_out(raw):
            click.echo(line)
    else:
        sys.stdout.buffer.write(raw + b"\n")
        sys.stdout.buffer.flush()
    return OK
