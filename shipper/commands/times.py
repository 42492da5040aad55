"""Times as they are typed."""

import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    _Base = click.ParamType[int]
    _RangeBase = click.ParamType["Bound"]
else:
    _Base = _RangeBase = click.ParamType


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


class Bound(NamedTuple):
    """An end of a range of time, in milliseconds since 1970 UTC, and the words in which it was typed."""

    at_ms: int
    text: str


class BoundType(_RangeBase):
    """A time with its zone, an age like 24h before now, or `earliest`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Bound:
        """Fails with one line where it is none of these."""
        if isinstance(value, Bound):
            return value
        age = seconds_of(value)
        if value == "earliest":
            return Bound(0, value)
        at = int((time.time() - age) * 1000) if age is not None else Moment().convert(value, param, ctx)
        return Bound(at, value)
