"""What a tenant's retention may have taken while we were away.

A tenant answers a checkpoint that is older than its log by going on at the oldest event that is left, without a word.
So a gap is told by time: everything is held up to the horizon, and the tenant keeps what is younger than its retention;
where the horizon fell behind that edge, what lies between them can't be had any more, if there was anything.

Whether there was is judged by what comes back first. An event right at the edge shows that the edge goes through living
traffic, so the gap most likely held some, too; after a long silence, or with nothing, it may be empty. Events from
well before the edge show that the tenant keeps them for longer than we were told: then it is asked for its oldest one,
and where that is not behind our checkpoint nothing is missing.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from shipper.journal import SourceHandle
from shipper.reasons import WHAT_TO_DO
from shipper.sources.trouble import stored

AT_THE_EDGE_MS = 3_600_000
"""A retention of days is not kept to the minute; and in living traffic something happens within the hour."""
TOLERANCE_MS = 60_000
"""The durable horizon may be a minute old, and while a gap is being recorded the edge moves on."""


class Gap(msgspec.Struct, frozen=True):
    """From when to when nothing can be had any more (milliseconds since 1970 UTC).

    may_be_empty: nothing shows that there was anything.
    """

    since: int
    until: int
    may_be_empty: bool


def gap_of(horizon: int, edge: int, first: int | None) -> Gap | None:
    """What lies between the horizon and the retention's edge, None where nothing does.

    first: when the first event that came back was indexed, None where none came or it says nothing of it.
    """
    if horizon >= edge - TOLERANCE_MS:
        return None
    until = edge if first is None else min(edge, first)
    if until <= horizon:
        return None
    # A pause after the edge that is as long as the gap says that the gap may be such a pause, too.
    living = first is not None and abs(first - edge) <= min(AT_THE_EDGE_MS, until - horizon)
    return Gap(horizon, until, may_be_empty=not living)


class RetentionWatch:
    """Looks at the first answer after each start and each interruption. now: the tenant's time, in milliseconds."""

    def __init__(self, retention_days: float, now: Callable[[], int], journal: SourceHandle, log: Any) -> None:
        self._retention_days, self._now, self._journal, self._log = retention_days, now, journal, log
        self._due = True
        self._told = False

    def interrupted(self) -> None:
        """There is trouble: the next answer may come late."""
        self._due = True

    async def look(self, first: int | None, *, asked_for_all: bool, whole: Callable[[int], Awaitable[bool]]) -> None:
        """Records the gap before the page behind the checkpoint, if there is one. Raises Trouble.

        first: as in `gap_of`, of this page. asked_for_all: whatever the tenant has is all that was asked for. whole:
        tells whether the tenant still has something from up to our checkpoint, so that what follows is whole; it is
        given the edge of the retention.
        """
        if not self._due:
            return
        edge = self._now() - int(self._retention_days * 86_400_000)
        horizon = self._journal.figures.horizon
        gap = None if horizon is None else gap_of(horizon, edge, first)
        if gap is not None and not asked_for_all:
            if await whole(edge):
                self._tell_kept_longer()
            else:
                await self._record(gap)
        self._due = False

    async def _record(self, gap: Gap) -> None:
        await stored(self._journal.gap(gap.since, gap.until, may_be_empty=gap.may_be_empty))
        self._log.error(
            "gap: the tenant no longer has what was logged in this time",
            reason="retention",
            since=_written(gap.since),
            until=_written(gap.until),
            hours=round((gap.until - gap.since) / 3_600_000, 1),
            may_be_empty=gap.may_be_empty,
            do=WHAT_TO_DO["retention"],
        )

    def _tell_kept_longer(self) -> None:
        if not self._told:
            self._told = True
            self._log.warning(
                "the tenant keeps its log for longer than retention_days says; nothing is missing",
                retention_days=self._retention_days,
                do="Set retention_days to what the tenant's plan keeps: alarms and gaps are measured by it.",
            )


def is_time(start: str) -> bool:
    """Whether a `start` names a time."""
    try:
        datetime.fromisoformat(start)
    except ValueError:
        return False
    return True


def _written(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
