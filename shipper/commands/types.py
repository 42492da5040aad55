"""`shipper types`: what the type codes of events mean."""

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from shipper.shape.event_types import EventType


@click.command()
@click.argument("pattern", default="")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def types(pattern: str, *, as_json: bool) -> None:
    """The types of events: code, category, outcome and name.

    PATTERN is a code, or a part of codes, names or categories in any case; * stands for anything. A type that is not
    listed is delivered like any other, in the category "other".
    """
    import json

    from shipper.commands.shown import visible

    found = _matching(pattern)
    if as_json:
        for each in found:
            click.echo(json.dumps(each._asdict()))
    elif found:
        _print_table(found)
    else:
        click.echo(f"no type that is known fits {visible(pattern[:80])}")


def _matching(pattern: str) -> list["EventType"]:
    from shipper.shape.event_types import EVENT_TYPES, event_type

    # Many codes are so short that they are parts of nearly all names.
    named = event_type(pattern)
    if named.name:
        return [named]
    wanted = pattern.lower() if "*" in pattern else f"*{pattern.lower()}*"
    return [each for each in EVENT_TYPES if any(fnmatchcase(text.lower(), wanted) for text in each if text)]


def _print_table(found: list["EventType"]) -> None:
    from rich.table import Table

    from shipper.commands.shown import OUTCOME_STYLES, console

    table = Table("type", "category", "outcome", "name")
    for each in found:
        style = OUTCOME_STYLES[each.outcome or "other"]
        table.add_row(each.code, each.category, each.outcome or "by its result", each.name, style=style)
    console().print(table)
