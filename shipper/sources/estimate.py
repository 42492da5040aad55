"""How much a tenant's log holds, how fast it grows, how long catching up takes: from a few pages, by arithmetic."""

from collections.abc import Sequence

import msgspec

from shipper.sources.chain import TAKE

DAY_SECS = 86_400.0
SHORTEST_SPAN_SECS = 600.0
"""A log that is younger than this says nothing of a whole day."""

_PLANS = {2: (120.0, "Free"), 10: (100.0, "Essentials, Professional"), 50: (960.0, "Enterprise")}
"""Burst, as `x-ratelimit-limit` tells it → reads a minute, which no header tells (Auth0 docs, rate limit policy)."""
_SLOWEST = 100.0


class Sample(msgspec.Struct, frozen=True):
    """A page behind a position: how many events and bytes, and from when to when. Times in ms since 1970."""

    start: int
    end: int
    events: int
    bytes: int


class Limit(msgspec.Struct, frozen=True):
    """How fast the tenant lets itself be read, and why we think so."""

    reads_a_minute: float
    assumed: str

    @property
    def events_a_day(self) -> float:
        """With full pages."""
        return self.reads_a_minute * TAKE * 1440


class Estimate(msgspec.Struct, frozen=True):
    """oldest: ms since 1970. days_to_catch_up: None where more comes in than the limit lets anyone read."""

    oldest: int
    span_days: float
    reads: int
    events_a_day: float
    bytes_a_day: float
    days_to_catch_up: float | None
    limit: Limit


def limit_of(burst: int | None) -> Limit:
    """The tenant's limit by the size of its bucket; None: the tenant doesn't tell."""
    if burst is None:
        return Limit(_SLOWEST, "the tenant tells no limit; it is that of Essentials")
    reads, plans = _PLANS.get(burst, (_SLOWEST, "no plan that we know; it is that of Essentials"))
    return Limit(reads, f"a burst of {burst} is {plans}")


def positions(oldest: int, now: int, count: int) -> list[int]:
    """So many moments that part the time between these two evenly: ms since 1970, whole seconds as positions are."""
    return [(oldest + (now - oldest) * number // (count + 1)) // 1000 * 1000 for number in range(1, count + 1)]


def estimate(samples: Sequence[Sample], *, begin: int, now: int, limit: Limit) -> Estimate | None:
    """samples: by time, the first one at the oldest event. begin: where reading begins, ms since 1970.

    None where there is too little to say anything.
    """
    if not samples or not samples[0].events:
        return None
    oldest = samples[0].start
    span_secs = (now - oldest) / 1000
    if span_secs < SHORTEST_SPAN_SECS:
        return None
    events_a_day = _total(samples, now) * DAY_SECS / span_secs
    size = sum(sample.bytes for sample in samples) / sum(sample.events for sample in samples)
    spare = limit.events_a_day - events_a_day
    backlog = events_a_day * max(0, now - max(begin, oldest)) / 1000 / DAY_SECS
    return Estimate(
        oldest=oldest,
        span_days=span_secs / DAY_SECS,
        reads=len(samples),
        events_a_day=events_a_day,
        bytes_a_day=events_a_day * size,
        days_to_catch_up=backlog / spare if spare > 0 else None,
        limit=limit,
    )


def _total(samples: Sequence[Sample], now: int) -> float:
    total = 0.0
    for at, sample in enumerate(samples):
        later = samples[at + 1 :]
        # A short page is all that there is behind it, unless a later one saw more: it is not promised that pages are
        # full before the end.
        if sample.events < TAKE and not any(other.events and other.end > sample.end for other in later):
            return total + sample.events
        # Else its rate holds until the next one's position.
        upto = later[0].start if later else now
        total += sample.events * (upto - sample.start) / max(sample.end - sample.start, 1)
    return total


def in_words(found: Estimate | None) -> str:
    """One line for a person."""
    if found is None:
        return "how much comes in is unknown: there are no events yet, or for minutes only"
    if found.days_to_catch_up is None:
        catching_up = "never caught up with"
    elif found.days_to_catch_up * 24 < 0.1:
        catching_up = "less than 0.1 hours to catch up"
    else:
        catching_up = f"about {found.days_to_catch_up * 24:,.1f} hours to catch up"
    return (
        f"about {_rounded(found.events_a_day)} events a day, {_size(found.bytes_a_day)} a day "
        f"(from {found.reads} reads over {found.span_days:.1f} days); "
        f"{catching_up} at {found.limit.reads_a_minute:g} reads a minute (assumed: {found.limit.assumed})"
    )


def _rounded(number: float) -> str:
    """To two digits, since more would be a pretence."""
    return f"{float(f'{number:.2g}'):,.0f}"


def _size(size: float) -> str:
    units = ["bytes", "kB", "MB", "GB"]
    while size >= 999.5 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{_rounded(size)} {units[0]}"
