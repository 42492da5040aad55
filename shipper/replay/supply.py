"""Where a replay's events come from: the journal, the source itself, or objects in an archive.

All three hand out the events of a range of time in the order in which the source serves them, some at a time, and
each with a place behind which a later replay can go on.
"""

import asyncio
import time
from base64 import b64decode
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from shipper.ask import Ask
from shipper.event import Event
from shipper.reasons import WHAT_TO_DO
from shipper.sources import SourceConfig
from shipper.sources.kinds import Reread, kind_of
from shipper.sources.patience import patiently
from shipper.sources.selection import ALL, EVER, Selection
from shipper.sources.trouble import Trouble
from shipper.tally import HOUR_MS, Tally

Using = Literal["journal", "source", "archive"]
AT_ONCE = 500
"""Events in one answer of the journal's."""
PAGE_SECS = 0.5
"""Between two pages of the source: the live reader asks the same tenant."""
LONGEST_DETAIL = 300
"""Characters of a service's own words that an operator is shown."""
PATIENCE_SECS = 60.0
"""So long may the source be in trouble before this ends."""
AGAIN = "the same command takes what has them all now"


class SupplyError(Exception):
    """The events can't be had from there; the text says why, in our own words."""


class Portion(msgspec.Struct, frozen=True):
    """Some events, and for each the place to go on behind it."""

    events: Sequence[Event]
    places: Sequence[str]


class Supply(Protocol):
    """One place that events can be had from. using: which."""

    using: Using

    async def lacks(self, since_ms: int, until_ms: int) -> str:
        """Why it has not the whole range; "" where it has. Raises SupplyError where it can't be asked."""

    def events(self, since_ms: int, until_ms: int, after: str = "") -> AsyncGenerator[Portion, None]:
        """The events with since <= time < until, behind a place. Raises SupplyError."""


class JournalSupply:
    """The events that the journal still keeps.

    stored: what the source ever brought, by hour. began_ms: the time from which on all of it was read.
    """

    using: Using = "journal"

    def __init__(self, ask: Ask, source: str, stored: Mapping[int, Tally], began_ms: int) -> None:
        self._ask, self._source, self._stored, self._began_ms = ask, source, stored, began_ms
        self._trimmed: int | None = None

    async def lacks(self, since_ms: int, until_ms: int) -> str:
        """The journal keeps the newest events; which ones were there before them, the ledger tells."""
        if since_ms < self._began_ms:
            return f"{self._source} was read only from {moment(self._began_ms)} on"
        answer = await self._answer(since_ms, until_ms, 0, 1)
        self._trimmed = answer["trimmed"]
        whole = answer["whole_from_ms"]
        whole = until_ms if whole is None else min(whole, until_ms)
        if whole <= since_ms or await self._nothing_gone(since_ms, whole):
            return ""
        return (
            "the journal keeps none of it any more" if whole == until_ms else f"the journal begins at {moment(whole)}"
        )

    async def _nothing_gone(self, since_ms: int, whole_ms: int) -> bool:
        """Whether the time before the journal's oldest event had no events."""
        hour = whole_ms // HOUR_MS
        if any(since_ms // HOUR_MS <= one < hour for one in self._stored):
            return False
        if hour not in self._stored:
            return True
        found = (await self._answer(hour * HOUR_MS, (hour + 1) * HOUR_MS, 0, 1))["events"]
        return bool(found) and found[0]["id"] == self._stored[hour].first

    async def events(self, since_ms: int, until_ms: int, after: str = "") -> AsyncGenerator[Portion, None]:
        """In the order of their numbers, which are the places.

        Raises SupplyError where it lets go of some meanwhile.
        """
        number: int | None = int(after or 0)
        while number is not None:
            answer = await self._answer(since_ms, until_ms, number, AT_ONCE)
            if self._trimmed is not None and answer["trimmed"] > max(number, self._trimmed):
                raise SupplyError(f"the journal let go of events of {self._source} before they were read: {AGAIN}")
            found = answer["events"]
            if found:
                events = [Event(e["id"], e["time"], e["date"], e["type"], b64decode(e["raw"])) for e in found]
                yield Portion(events, [str(e["number"]) for e in found])
            number = answer["next"]

    async def _answer(self, since_ms: int, until_ms: int, after: int, limit: int) -> Any:
        question = {"source": self._source, "since_ms": since_ms, "until_ms": until_ms, "after": after, "limit": limit}
        return await self._ask("events", question)


class SourceSupply:
    """What the tenant still keeps, read anew.

    selection: only that of it. page_secs: between two pages. patience_secs: so long may trouble last. log: is told what
    a person should know meanwhile; None for nobody. sleep, wall: seconds, for tests.

    missing, unknown: as of `Reread`, of what was read so far.
    """

    using: Using = "source"

    def __init__(
        self,
        name: str,
        config: SourceConfig,
        *,
        selection: Selection = ALL,
        page_secs: float = PAGE_SECS,
        patience_secs: float = PATIENCE_SECS,
        log: Any = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._name, self._config, self._selection, self._log = name, config, selection, log or _Silent()
        self._page_secs, self._patience_secs, self._sleep, self._wall = page_secs, patience_secs, sleep, wall
        self.missing, self.unknown = 0, False
        self._whole = False

    @property
    def keeps_from_ms(self) -> int:
        """The time from which on the tenant keeps its events, by the configured retention."""
        return int(self._wall() * 1000 - self._config.retention_days * 86_400_000)

    async def lacks(self, since_ms: int, until_ms: int) -> str:
        """Goes by `retention_days`: what is older may be gone."""
        del until_ms
        self._whole = since_ms >= self.keeps_from_ms
        if self._whole:
            return ""
        return f"{self._name} keeps {self._keeps()}"

    def _keeps(self) -> str:
        return f"{self._config.retention_days:g} days: since {moment(self.keeps_from_ms)}"

    async def events(self, since_ms: int, until_ms: int, after: str = "") -> AsyncGenerator[Portion, None]:
        """In the source's order. A place is exact at the end of a portion; within one, some may come again.

        Raises SupplyError, also where what comes next may be gone since it was said that everything is there.
        """
        reached_ms = since_ms
        warned = since_ms <= EVER[0] or bool(after)
        reread = kind_of(self._config).reread(self._name, since_ms, until_ms, after, self._log, self._selection)
        try:
            self.missing, self.unknown = reread.missing, reread.unknown
            while not reread.done:
                portion = await self._next(reread)
                self.missing, self.unknown = reread.missing, reread.unknown
                if reached_ms < self.keeps_from_ms and self._whole:
                    raise SupplyError(f"{self._name} may have let go of events before they were read: {AGAIN}")
                if reached_ms < self.keeps_from_ms and not warned:
                    warned = True
                    self._log.warning("events may be gone", note=f"it keeps {self._keeps()}")
                reached_ms = max([reached_ms, *(event.time for event in portion.events)])
                yield portion
                if not reread.done:
                    await self._sleep(max(reread.pause_secs, self._page_secs))
        finally:
            await reread.close()

    async def _next(self, reread: Reread) -> Portion:
        try:
            return Portion(*await patiently(reread.next, self._patience_secs, self._log, sleep=self._sleep))
        except Trouble as trouble:
            raise SupplyError(f"{self._name}: {_told(trouble)}") from None


def _told(trouble: Trouble) -> str:
    """The trouble in a line for a person, with what to do, unless the service itself says what is wrong."""
    from shipper.commands.shown import visible

    if trouble.detail:
        return f"{trouble.reason}: {trouble.note} ({visible(trouble.detail[:LONGEST_DETAIL])})"
    do = "" if trouble.reason == "refused" else f". {WHAT_TO_DO[trouble.reason]}"
    return f"{trouble.reason}: {trouble.note}{do}"


class _Silent:
    """Takes what would be logged: an operator is told how it ends."""

    def __getattr__(self, _level: str) -> Callable[..., None]:
        return lambda *_words, **_values: None


def moment(at_ms: int) -> str:
    """A time (milliseconds since 1970 UTC) for a person; what no date holds, as the last one that is."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(min(at_ms, EVER[1]) / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
