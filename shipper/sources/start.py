"""Where reading begins the first time: earliest, latest, a time, or a log_id.

A position in Auth0's log is a log_id, and need not belong to an event: `from` is a comparison. So a time becomes the
id that an event indexed then would have: `900`, YYYYMMDDhhmmss in UTC, 39 zeros. (The layout was read off recorded
events; Elastic's Auth0 integration starts the same way in production.)
"""

import re
from datetime import UTC, datetime
from functools import lru_cache

_LOG_ID = re.compile(r"[0-9]{56}|[0-9a-f]{24}")
FIRST_YEAR, LAST_YEAR = 1970, 9998
"""Beyond these an offset or a margin leaves what a date can hold."""
_LATEST_MS = 253_402_300_799_000


def check_start(value: str, *, log_ids: bool = True) -> str:
    """The setting itself, once it is known to be understood. Raises ValueError with what is wrong.

    log_ids: whether the source's ids have an order, so that one of them can be a place to start behind.
    """
    if value in ("earliest", "latest") or (log_ids and is_log_id(value)):
        return value
    try:
        # Some digits of a log_id can be read as a date.
        datetime.fromisoformat("" if is_log_id(value) else value)
    except ValueError:
        choice = '"earliest", "latest", a time like 2026-11-01T00:00:00Z, or a log_id of 56 digits'
        if not log_ids:
            choice = '"earliest", "latest", or a time like 2026-11-01T00:00:00Z'
        raise ValueError(f"must be {choice}") from None
    time_in(value)
    return value


def time_in(text: str) -> int:
    """Milliseconds since 1970 UTC of a time that says its zone. Raises ValueError with what is wrong."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("must say its time zone: add Z for UTC, or an offset like +01:00")
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"must be a time from {FIRST_YEAR} to {LAST_YEAR}")
    return int(moment.timestamp() * 1000)


EARLIEST = "900" + "19700101000000" + "0" * 39
"""A position before every event that any retention can hold."""


def is_log_id(value: str) -> bool:
    """Whether this is a position in Auth0's log: 56 digits, or 24 hexadecimal ones as before 2020."""
    return _LOG_ID.fullmatch(value) is not None


def synthetic_id(at_ms: int) -> str:
    """The log_id of an event indexed at this moment (milliseconds since 1970 UTC, cut to seconds).

    A time that no log_id can hold, as from an absurd `Date` header, becomes the nearest that one can.
    """
    moment = datetime.fromtimestamp(min(max(at_ms, 0), _LATEST_MS) // 1000, UTC)
    return f"900{moment:%Y%m%d%H%M%S}{'0' * 39}"


def embedded_time(log_id: str) -> int | None:
    """Milliseconds since 1970 UTC at which Auth0 indexed the event, by its log_id; None where it says nothing."""
    if len(log_id) != 56 or not (log_id.isascii() and log_id.isdigit()):
        return None
    day, clock = _day_ms(log_id[:11]), int(log_id[11:20])
    hour, minute, second = clock // 10_000_000, clock // 100_000 % 100, clock // 1000 % 100
    if day is None or hour > 23 or minute > 59 or second > 59:
        return None
    return day + ((hour * 60 + minute) * 60 + second) * 1000 + clock % 1000


@lru_cache(maxsize=64)
def _day_ms(prefix: str) -> int | None:
    """Remembered, since a page's events share their day, and a date is slow to work out."""
    if not prefix.startswith("900"):
        return None
    try:
        return int(datetime(int(prefix[3:7]), int(prefix[7:9]), int(prefix[9:]), tzinfo=UTC).timestamp()) * 1000
    except ValueError:
        return None
