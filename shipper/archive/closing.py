"""Closes a source's days in an archive: writes each day's digest once the lane has delivered all of it.

Beside the lane and never in its way: what fails is tried again some minutes later, and whatever happens in between, the
next digest starts from what the archive says. Of two that write the same one, the first is kept (`If-None-Match`).
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import date, timedelta
from typing import Any

from shipper.archive import Archive, Damaged, Stored
from shipper.archive.digest import (
    DAY_MS,
    LATE_DAYS,
    Account,
    Gap,
    Late,
    begin_of,
    day_of,
    days_from,
    days_in,
    folder_of,
    listed,
    make,
    moment,
    parse,
    path_of,
    sha256,
)
from shipper.delivery import place_of
from shipper.health import Health
from shipper.journal import JournalError
from shipper.reasons import WHAT_TO_DO, Reason
from shipper.sink import Rejected, Unavailable
from shipper.tally import HOUR_MS, Tally, sum_from_hex, sum_to_hex

MARGIN_MS = 10 * 60_000
"""A day is closed so long after the lane's horizon has passed its end, so that fewer events come late."""
PATIENCE_MS = 10 * 60_000
"""So long may the ledger and the objects disagree, as between a write and its ack, before a day is closed as it is."""
AGAIN_MS, RETRY_MS, FORBIDDEN_MS = 60_000, 5 * 60_000, 3_600_000
"""How long to let the archive alone: where something may come soon, failed, or is not allowed."""
MAX_FIRST_DAYS = 40
"""The first digest of all is for no older day: an event's own time may be any."""
LETTERS_AT_ONCE = 1000

Ask = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
"""The desk: `answer(what, question)`."""

Known = dict[date, dict[str, int]]
"""Day → the keys that digests list by now, with their events."""


class Closing:
    """The digests of one lane into an archive; kept as long as the lane is, since it remembers which days are closed.

    sink: the sink's name, as the ledger knows the lane. ask: the desk of the journal. log: a bound structlog logger.
    """

    def __init__(self, archive: Archive, source: str, sink: str, ask: Ask, log: Any) -> None:
        self._archive, self._source, self._sink, self._ask = archive, source, sink, ask
        self._now_ms = 0
        self._log = log.bind(work="digest")
        self._health = Health(self._log, lambda: self._now_ms / 1000)
        self._closed: date | None = None
        self._not_before_ms = 0
        self._unequal_since_ms: int | None = None
        self._told_forbidden = False

    async def run_once(self, now_ms: int, horizon_ms: int) -> int:
        """Closes every day that is over, oldest first; how many that were. Costs nothing where there is none.

        horizon_ms: the time up to which the lane has delivered everything, in ms since 1970 UTC.
        Raises the journal's errors alone; what the archive can't do now is logged and tried again later.
        """
        self._now_ms = now_ms
        over = day_of(min(now_ms, max(horizon_ms, 0)) - MARGIN_MS) - timedelta(days=1)
        if now_ms < self._not_before_ms or (self._closed is not None and self._closed >= over):
            return 0
        try:
            closed = await self._close_until(over)
        except (Unavailable, Rejected) as failure:
            self._failed(failure.reason, str(failure))
        except Damaged as failure:
            self._failed("bad_answer", str(failure))
        except JournalError:
            raise
        except Exception as error:  # noqa: BLE001  logged by place; a bug here must not end the daemon
            self._failed("bug", place_of(error))
        else:
            self._health.fine()
            self._told_forbidden = False
            return closed
        return 0

    def _failed(self, reason: Reason, note: str) -> None:
        if reason != "forbidden":
            self._wait(RETRY_MS)
            self._health.trouble("waiting", reason, note)
            return
        self._wait(FORBIDDEN_MS)
        # Delivery needs no such right, and some withhold it on purpose.
        if not self._told_forbidden:
            self._log.warning("no digests are written", reason=reason, note=note, do=WHAT_TO_DO[reason])
        self._told_forbidden = True

    def _wait(self, ms: int) -> None:
        self._not_before_ms = self._now_ms + ms

    async def _close_until(self, over: date) -> int:
        chain = days_in(self._source, await self._archive.notes(folder_of(self._source)))
        if chain:
            first, previous = chain[-1] + timedelta(days=1), await self._digest(chain[-1])
            self._closed = chain[-1]
        else:
            begin = await self._first_day(over)
            if begin is None:
                self._wait(RETRY_MS)
                return 0
            first, previous = begin, b""
        start, closed = (chain or [first])[0], 0
        known: Known | None = None
        for day in days_from(first, over):
            if known is None:
                known = await self._listed_before(max(start, day - timedelta(days=LATE_DAYS)), day)
            body = await self._made(day, previous, known)
            if body is None:
                self._wait(AGAIN_MS)
                return closed
            if not await self._archive.put_note(path_of(self._source, day), body):
                body = await self._digest(day)
            _remember(known, day, body)
            self._closed, previous, closed = day, body, closed + 1
        return closed

    async def _digest(self, day: date) -> bytes:
        body = await self._archive.note(path_of(self._source, day))
        if body is None:
            raise Unavailable("bad_answer", f"the digest of {day} is listed and can't be read")
        return body

    # -- one day -------------------------------------------------------------------------------------------------------

    async def _made(self, day: date, previous: bytes, known: Known) -> bytes | None:
        """A day's digest; None where ledger and objects disagree and may still agree in some minutes."""
        # The ledger comes after the objects: a write whose ack is still on its way shows as a difference.
        found = (await self._archive.objects(self._source, begin_of(day), begin_of(day) + DAY_MS)).objects
        account = await self._account(day)
        late, as_many = await self._late(day, known)
        equal = as_many and _events(found) == account.delivered.events
        if not equal and self._may_become_equal():
            return None
        if equal:
            self._unequal_since_ms = None
        return make(
            self._source,
            day,
            found,
            account,
            late,
            previous=sha256(previous) if previous else "",
            closed_at_ms=self._now_ms,
        )

    async def _late(self, day: date, known: Known) -> tuple[list[Late], bool]:
        """What came for earlier days that no digest lists yet, and whether ledger and objects agree on those days."""
        late, equal = [], True
        for earlier in [one for one in sorted(known) if day - timedelta(days=LATE_DAYS) <= one < day]:
            begin, listed_so_far = begin_of(earlier), known[earlier]
            new = (await self._archive.objects(self._source, begin, begin + DAY_MS, without=listed_so_far)).objects
            if new:
                tally = (await self._account(earlier)).delivered
                late.append(Late(earlier, tally.events, sum_to_hex(tally.sum), listed(new)))
                equal = equal and sum(listed_so_far.values()) + _events(new) == tally.events
        return late, equal

    def _may_become_equal(self) -> bool:
        if self._unequal_since_ms is None:
            self._unequal_since_ms = self._now_ms
        return self._now_ms - self._unequal_since_ms < PATIENCE_MS

    async def _listed_before(self, first: date, day: date) -> Known:
        """A day without a digest that can be read lists nothing."""
        known: Known = {}
        for earlier in days_from(first, day - timedelta(days=1)):
            _remember(known, earlier, await self._archive.note(path_of(self._source, earlier)))
        return known

    # -- the journal's side --------------------------------------------------------------------------------------------

    async def _rows(self, since_ms: int, until_ms: int) -> dict[str, list[tuple[int, Tally]]]:
        """The lane's ledger: outcome → hours with their tallies."""
        question = {"source": self._source, "since_ms": since_ms, "until_ms": until_ms}
        lanes = (await self._ask("ledger", question))["lanes"]
        return {
            outcome: [
                (hour, Tally(events, first, last, sum_from_hex(total))) for hour, events, first, last, total in rows
            ]
            for outcome, rows in lanes.get(self._sink, {}).items()
        }

    async def _first_day(self, over: date) -> date | None:
        """The first day that the lane has anything of; None: there is none that is over."""
        begin = begin_of(over - timedelta(days=MAX_FIRST_DAYS))
        rows = await self._rows(begin, begin_of(over) + DAY_MS)
        hours = [hour for some in rows.values() for hour, _ in some]
        return day_of(min(hours) * HOUR_MS) if hours else None

    async def _account(self, day: date) -> Account:
        begin, end = begin_of(day), begin_of(day) + DAY_MS
        rows = await self._rows(begin, end)
        # A dead letter that was requeued and delivered stands in the archive, too.
        delivered = _together(rows, "delivered").merge(_together(rows, "requeued"))
        dead = _together(rows, "dead").events
        gaps = [
            Gap(moment(gap["since"]), moment(gap["until"]), gap["may_be_empty"])
            for gap in await self._ask("gaps", {"source": self._source})
            if gap["since"] < end and gap["until"] > begin
        ]
        letters = await self._letters(begin, end) if dead else {}
        return Account(delivered, _together(rows, "filtered").events, dead, letters, gaps)

    async def _letters(self, begin_ms: int, end_ms: int) -> dict[str, int]:
        """The dead letters of a day's events that wait for a decision, by reason."""
        counts: dict[str, int] = {}
        page, after = [{"id": 0}], 0
        while page:
            question = {"source": self._source, "sink": self._sink, "after": after, "limit": LETTERS_AT_ONCE}
            page = await self._ask("dead.list", question)
            for letter in page:
                after = letter["id"]
                if begin_ms <= letter["time"] < end_ms:
                    counts[str(letter["reason"])] = counts.get(str(letter["reason"]), 0) + 1
        return counts


def _remember(known: Known, day: date, body: bytes | None) -> None:
    """Adds what a digest lists, its own day's objects and those that came late for others."""
    keys = known.setdefault(day, {})
    try:
        digest = parse(body or b"")
    except ValueError:
        return
    keys.update({one.key: one.events for one in digest.objects})
    for part in digest.late:
        if part.day in known:
            known[part.day].update({one.key: one.events for one in part.objects})


def _together(rows: Mapping[str, list[tuple[int, Tally]]], outcome: str) -> Tally:
    total = Tally()
    for _, tally in rows.get(outcome, []):
        total = total.merge(tally)
    return total


def _events(objects: list[Stored]) -> int:
    return sum(one.events for one in objects)
