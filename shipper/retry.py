"""How long to wait before the next try. Decides, never sleeps."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

LONGEST_RETRY_AFTER_SECS = 300.0
"""A destination may ask for patience, but not stop a lane for a day with one header."""


@dataclass(frozen=True)
class Backoff:
    """Exponential backoff with full jitter: seconds, doubling from `initial` up to `cap`."""

    initial: float = 1.0
    cap: float = 60.0
    draw: Callable[[], float] = random.random

    def delay(self, failures: int, at_least: float = 0.0) -> float:
        """Seconds to wait after so many failures in a row (1 is the first), never less than `at_least`.

        >>> Backoff(initial=1, cap=60, draw=lambda: 1.0).delay(3)
        4.0
        """
        ceiling = min(self.cap, self.initial * 2.0 ** min(failures - 1, 32))
        return max(at_least, ceiling * self.draw())


def retry_after_secs(value: str | None, now: float) -> float | None:
    """Seconds that a `Retry-After` header asks for, from 0 to 300; None where there is none or it can't be read.

    Both forms of RFC 9110 10.2.3 are understood; `now` (seconds since 1970) is what a date is measured against.
    """
    if not value:
        return None
    text = value.strip()
    try:
        secs = float(text) if text.isascii() and text.isdigit() else parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(secs, 0.0), LONGEST_RETRY_AFTER_SECS)
