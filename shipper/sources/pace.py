"""How fast a tenant may be asked: its rate limit's headers, read against its own clock.

Auth0 docs, rate limit policy: a token bucket shared by all readers of the tenant; `x-ratelimit-reset` is the second at
which *one more* request is allowed, not when the bucket is full.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

LONGEST_WAIT_SECS = 60.0
"""A header may be wrong by years."""
RESERVE = 5
"""One in so many requests of the bucket stays for the tenant's other readers."""


class ServerClock:
    """The tenant's time, from its `Date` headers; ours until the first one came. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._clock, self._wall = clock, wall
        self._ahead: float | None = None
        self._date = ""

    def read(self, headers: Mapping[str, str]) -> None:
        """Takes the time from an answer's headers; one without a readable date changes nothing."""
        date = headers.get("Date", "")
        # The first answer of a second knows it best, and there may be many.
        if date == self._date:
            return
        try:
            moment = parsedate_to_datetime(date)
        except (ValueError, OverflowError):
            return
        self._date = date
        # "-0000" is read as a time without a zone, which would be taken for this machine's own.
        self._ahead = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - self._clock()

    def now(self) -> int:
        """Milliseconds since 1970 UTC, never ahead of the server: its header is cut to whole seconds."""
        return int((self._wall() if self._ahead is None else self._clock() + self._ahead) * 1000)


def until_next_token(headers: Mapping[str, str], now: int) -> float | None:
    """Seconds until one more request is allowed, 0 to 60; None where the headers don't say."""
    reset = _number(headers.get("x-ratelimit-reset"))
    return None if reset is None else min(max(reset - now / 1000, 0.0), LONGEST_WAIT_SECS)


def pause_secs(headers: Mapping[str, str], now: int) -> float:
    """Seconds to wait after a good answer, so that a fifth of the bucket stays for others."""
    limit, remaining = burst_size(headers), remaining_requests(headers)
    if limit is None or remaining is None or remaining > limit // RESERVE:
        return 0.0
    # Below the reserve others are at it too, and a reset that is past already would let us take their token.
    at_least = 1.0 if remaining < limit // RESERVE else 0.0
    return max(at_least, until_next_token(headers, now) or 0.0)


def burst_size(headers: Mapping[str, str]) -> int | None:
    """How many requests the bucket holds when it is full."""
    return _number(headers.get("x-ratelimit-limit"))


def remaining_requests(headers: Mapping[str, str]) -> int | None:
    """What the last answer said is left in the bucket."""
    return _number(headers.get("x-ratelimit-remaining"))


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 16 else None
