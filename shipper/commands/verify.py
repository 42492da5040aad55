"""`shipper verify`."""

from pathlib import Path
from typing import Any

import click

from shipper.commands import config_option, fail, run_async, settings_of, who
from shipper.commands.times import Moment
from shipper.exit_status import USAGE


@click.command()
@config_option
@click.option("--sink", required=True, help="The sink whose destination is looked at.")
@click.option("--from", "since", required=True, type=Moment(), help="From the hour of this time on.")
@click.option("--to", "until", required=True, type=Moment(), help="Up to this time; its hour counts as a whole.")
@click.option("--source", default="", help="Only this source [else all that the sink takes].")
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    help="log_ids that a SIEM exported, one a line: plain, or JSON with log_id, data.log_id or _id.",
)
@click.option("--repair", is_flag=True, help="Write what is missing.")
@click.option("--quick", is_flag=True, help="Believe an object's metadata: read only the hours whose counts differ.")
@click.option("--no-source", is_flag=True, help="Do not read the source itself once more.")
def verify(config_file: Path | None, since: int, until: int, *, no_source: bool, **typed: Any) -> None:
    """Compare what a destination holds with the journal's ledger and with the source, hour by hour.

    Every object is read and compared with its hash. Hours with events on their way are left out. Exits with 1 where
    anything is missing, too much, altered, or there twice.
    """
    if since >= until:
        fail(USAGE, "--from must be before --to")
    settings = settings_of(config_file)
    from shipper import logs
    from shipper.ask import operator
    from shipper.commands.shown import console
    from shipper.verify.session import Request, verify_all

    logs.configure("warning", settings.log.format)
    show = console()

    async def work() -> int:
        async with operator(settings) as ask:
            request = Request(since=since, until=until, who=who(), with_source=not no_source, **typed)
            return await verify_all(settings, ask, request, show)

    run_async(work)
