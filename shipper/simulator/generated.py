"""Made events: any of a million is rendered from its number alone, so a page costs the same wherever it lies.

A tenant's day is one cycle of event types (`cycle.py`) that is repeated with other people, sessions and times.
Auth0's log_id: 900, the time of indexing to the microsecond, zeros and a sequence: 56 digits in all.
"""

from __future__ import annotations

import bisect
import random
from collections import OrderedDict
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b

from shipper.simulator.cycle import Cycle
from shipper.simulator.options import Options
from shipper.simulator.people import People

__all__ = ["MAX_DELAY_SECS", "Generated"]

MAX_DELAY_SECS = 5.4
_MICRO = 1_000_000
_FIRST_SEQUENCE = 1_223_372_036_854_775_807
_PAGES_KEPT = 32
_FLOWS_KEPT = 20_000
_ODD = 2_654_435_761


class Generated:
    """`count` events (0: no end): a backlog spread evenly over `history_secs` before `started`, then the rest
    at `rate` a second. Ids rise with the number; dates lie 0.01 to 5.4 s before, so they do not."""

    def __init__(self, options: Options, started: float) -> None:
        self._count = options.count
        self._rate = options.rate
        self._backlog = options.backlog if options.rate else options.count
        if options.count:
            self._backlog = min(self._backlog, options.count)
        self._start = int(started * _MICRO)
        self._history = int(options.history_secs * _MICRO)
        self._seed = options.seed.to_bytes(8, "big", signed=True)
        self._cycle = _cycle(options.seed, options.domain)
        self._people = _people(options.seed)
        self._flows: dict[tuple[int, int], tuple[bytes, ...]] = {}
        self._seconds: dict[int, tuple[bytes, bytes]] = {}
        self._pages: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        chance = random.Random(options.seed)  # noqa: S311 - the same each time is the point
        self._delays = [_delay(chance) for _ in range(4096)]
        self._noise = chance.randbytes(16_384).hex().encode()

    def shown(self, now: float) -> int:
        """How many events exist at `now` (unix seconds)."""
        micro = int(now * _MICRO)
        if not self._rate:
            return self._count
        # Two early: the jitter moves an event by less than one step, and some share the time of the one before.
        number = self._backlog + max(0, int((now - self._start / _MICRO) * self._rate) - 2)
        while self._time(number) <= micro:
            number += 1
        return min(number, self._count) if self._count else number

    def retained(self, cutoff: float, shown: int) -> int:
        """The index of the first event that was indexed at `cutoff` or later."""
        return bisect.bisect_left(range(shown), int(cutoff * _MICRO), key=self._time)

    def after(self, position: str, shown: int) -> int:
        """The index of the first event behind `position`, which need not be one of ours."""
        if len(position) == 56 and position.isdecimal():
            number = int(position[-19:]) - _FIRST_SEQUENCE
            if 0 <= number < shown and self.position(number) == position:
                return number + 1
        return bisect.bisect_right(range(shown), position, key=self.position)

    def position(self, index: int) -> str:
        """The event's log_id."""
        return self._log_id(index, self._time(index)).decode()

    def raw(self, index: int) -> bytes:
        """The event's compact JSON."""
        turn, place = divmod(index, len(self._cycle.slots))
        flow, form, pick = self._cycle.slots[place]
        actor = self._flows.get((turn, flow)) or self._actor(turn, flow)
        time = self._time(index)
        noise = (index * 7_919) % 32_700
        event = (
            self._date(time - self._delays[(index * _ODD >> 9) & 4095]),
            self._log_id(index, time),
            self._noise[noise : noise + 20] + b"%012x" % (index & 0xFFFFFFFFFFFF),
            self._noise[noise + 24 : noise + 56],
            b"%d" % (17 + (index * _ODD >> 13) % 1_900),
            b"%d" % (time // 1_000),
        )
        return form % pick(actor + event)

    def join(self, first: int, end: int) -> bytes:
        """The events from `first` to before `end`, as one JSON array; the last pages are kept."""
        page = self._pages.get((first, end))
        if page is None:
            page = b"[" + b",".join([self.raw(index) for index in range(first, end)]) + b"]"
            self._pages[(first, end)] = page
            if len(self._pages) > _PAGES_KEPT:
                self._pages.popitem(last=False)
        return page

    def date(self, index: int) -> float:
        """The event's own date in unix seconds, to the millisecond as it is printed."""
        return (self._time(index) - self._delays[(index * _ODD >> 9) & 4095]) // 1_000 / 1_000

    def dated_from(self, since: float, shown: int, /) -> tuple[range, range]:
        """Indexes that may have a date not before `since`, and those behind them that surely do."""
        sure = self.retained(since + MAX_DELAY_SECS, shown)
        return range(self.retained(since, shown), sure), range(sure, shown)

    def by_date(self, among: range, results: int, newest: bool, /) -> range:
        """Indexes among which the first `results` by date are."""
        if len(among) <= results:
            return among
        if newest:
            edge = self._time(among[-results]) - int(MAX_DELAY_SECS * _MICRO)
            return range(bisect.bisect_left(among, edge, key=self._time) + among.start, among.stop)
        edge = self._time(among[results]) + int(MAX_DELAY_SECS * _MICRO)
        return range(among.start, bisect.bisect_right(among, edge, key=self._time) + among.start)

    def _time(self, index: int) -> int:
        # Every ninth is indexed in the same microsecond as the one before it: its time is no key.
        number = index - 1 if index % 9 == 4 else index
        jitter = (number * _ODD >> 17) % 900
        if index < self._backlog:
            step = self._history / self._backlog
            return self._start - self._history + self._history * number // self._backlog + int(step * jitter / 1_000)
        number = max(number, self._backlog) - self._backlog
        return self._start + int((number + jitter / 1_000) * _MICRO / self._rate)

    def _log_id(self, index: int, time: int) -> bytes:
        second, micro = divmod(time, _MICRO)
        return b"900%b%06d00000000000000%d" % (self._second(second)[0], micro, _FIRST_SEQUENCE + index)

    def _date(self, time: int) -> bytes:
        second, micro = divmod(time, _MICRO)
        return b"%b%03dZ" % (self._second(second)[1], micro // 1_000)

    def _second(self, second: int) -> tuple[bytes, bytes]:
        found = self._seconds.get(second)
        if found is None:
            if len(self._seconds) > 10_000:
                self._seconds.clear()
            when = datetime.fromtimestamp(second, UTC)
            found = (f"{when:%Y%m%d%H%M%S}".encode(), f"{when:%Y-%m-%dT%H:%M:%S}.".encode())
            self._seconds[second] = found
        return found

    def _actor(self, turn: int, flow: int) -> tuple[bytes, ...]:
        if len(self._flows) > _FLOWS_KEPT:
            self._flows.clear()
        drawn = blake2b(b"%d:%d" % (turn, flow), digest_size=40, key=self._seed).digest()
        actor = self._flows[(turn, flow)] = self._people.in_session(drawn)
        return actor


# Tests start many tenants of one seed, and both take a while to make and never change.
_cycle = lru_cache(maxsize=4)(Cycle)
_people = lru_cache(maxsize=4)(People)


def _delay(chance: random.Random) -> int:
    """Microseconds from an event's date to its indexing; recorded tenants: 0.011 to 5.43 s, median above 3 s."""
    secs = chance.triangular(0.011, MAX_DELAY_SECS, 3.6) if chance.random() < 0.85 else chance.uniform(0.011, 0.4)
    return int(secs * _MICRO)
