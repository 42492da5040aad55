"""`shipper replay`."""

from pathlib import Path
from typing import Any

import click

from shipper.commands import config_option, fail, run_async, settings_of, who
from shipper.commands.times import Moment
from shipper.exit_status import USAGE

rate_option = click.option(
    "--rate", default=0.0, type=click.FloatRange(min=0), help="Into a sink: at most so many events a second [no limit]."
)
accept_dead_option = click.option(
    "--accept-dead",
    default=0,
    type=click.IntRange(min=0),
    help="So many events that a sink refuses are right: step over them, and name them in a file.",
)


@click.command()
@config_option
@click.option("--to", required=True, help="The sink that gets them.")
@click.option("--from", "since", required=True, type=Moment(), help="Events of this time or later.")
@click.option("--until", required=True, type=Moment(), help="Events before this time.")
@click.option("--source", default="", help="Only of this source [else all that the sink takes].")
@click.option(
    "--using",
    type=click.Choice(["journal", "source", "archive"]),
    help="Where they come from [else the first of these that has them all].",
)
@click.option("--archive", default="", help="The sink whose bucket is read [else the only one].")
@rate_option
@accept_dead_option
@click.option("--resume", type=click.Path(path_type=Path), help="Where the progress is kept [else in state_dir].")
def replay(config_file: Path | None, since: int, until: int, **typed: Any) -> None:
    """Bring events of some time to a sink once more.

    Lanes go on meanwhile, and keep their places; an archive gets only what it lacks. Interrupted, the same command goes
    on where it was. While no daemon runs, none can start until it ends. Exits with 1 where events were refused, or it
    did not come to its end.
    """
    if since >= until:
        fail(USAGE, "--from must be before --until")
    settings = settings_of(config_file)
    from shipper import logs
    from shipper.ask import operator
    from shipper.replay.session import Request, replay_all

    logs.configure("warning", settings.log.format)

    async def work() -> int:
        async with operator(settings) as ask:
            return await replay_all(settings, ask, Request(since=since, until=until, who=who(), **typed))

    run_async(work)
