"""What a source says to its log, as lines on stderr for whoever typed the command."""

from typing import Any

import click

GOOD = {"recovered": "goes on again", "first start": "follows its log"}
"""What goes well and does not show by itself."""


class Spoken:
    """Stands where a bound logger of structlog does. source: whose words these are."""

    def __init__(self, source: str) -> None:
        self._source = source

    def info(self, event: str, **_values: Any) -> None:
        """Only what a person waits for."""
        if event in GOOD:
            self._say(GOOD[event], {})

    def warning(self, event: str, **values: Any) -> None:
        """What a person should know."""
        self._say(event, values)

    error = warning

    def _say(self, event: str, values: dict[str, Any]) -> None:
        known = [str(values[name]) for name in ("reason", "note") if values.get(name)]
        do = f". {values['do']}" if values.get("do") else ""
        click.echo(f"shipper: {': '.join([self._source, event, *known])}{do}", err=True)
