"""Times as they are typed."""

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _Base = click.ParamType[int]
else:
    _Base = click.ParamType


_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}


def seconds_of(age: str) -> int | None:
    """An age like 30d, 12h, 0s in seconds; None where it is none."""
    found = re.fullmatch(r"([0-9]{1,6})([dhms])", age)
    return int(found[1]) * _UNITS[found[2]] if found else None


class Moment(_Base):
    """A time with its zone, as milliseconds since 1970 UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Fails with one line where it is none."""
        if isinstance(value, int):
            return value
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail("must be a time like 2026-11-01T00:00:00Z", param, ctx)
        if at.tzinfo is None:
            self.fail("must say its time zone: add Z for UTC, or an offset like +01:00", param, ctx)
        return int(at.timestamp() * 1000)
