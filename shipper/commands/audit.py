"""`shipper audit`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shipper.commands import config_option, own_settings_of, run_async
from shipper.exit_status import OK

if TYPE_CHECKING:
    from shipper.config import Settings

AT_ONCE = 1000


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def audit(config_file: Path | None, *, as_json: bool) -> None:
    """Who did what, and every start and reload with its version: oldest first."""
    settings = own_settings_of(config_file, say=not as_json)
    run_async(lambda: _audit(settings, as_json=as_json))


async def _audit(settings: "Settings", *, as_json: bool) -> int:
    import json

    from rich.table import Table

    from shipper.ask import operator
    from shipper.commands.shown import console, moment, visible

    lines: list[dict[str, Any]] = []
    async with operator(settings) as ask:
        after = 0
        while found := await ask("audit", {"after": after, "limit": AT_ONCE}):
            after = found[-1]["id"]
            lines += found
    if as_json:
        for line in lines:
            click.echo(visible(json.dumps(line)))
        return OK
    table = Table("when", "who", "what")
    for line in lines:
        table.add_row(moment(line["at"]), visible(line["who"]), visible(line["what"]))
    console().print(table)
    return OK
