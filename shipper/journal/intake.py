"""What a page brings: of its events those that are new, numbered and counted, and the checkpoint behind them."""

from collections.abc import Callable

from shipper.event import Event, Page
from shipper.journal import Appended
from shipper.journal.database import Database
from shipper.journal.ledger import STORED, Ledger, encode_tallies
from shipper.journal.stored_pages import StoredPages
from shipper.journal.upkeep import KNOWN_IDS
from shipper.tally import order, tallies


class Intake:
    """Works on the store's connection. now: milliseconds since 1970."""

    def __init__(self, db: Database, pages: StoredPages, ledger: Ledger, now: Callable[[], int]) -> None:
        self._db = db
        self._pages = pages
        self._ledger = ledger
        self._now = now

    def append(self, name: str, page: Page) -> Appended:
        """Stores what is new in the page, and its checkpoint, in one transaction."""
        with self._db.transaction():
            source, number, highest, known_from, checkpoint, horizon = self._db.rows(
                "SELECT id, next, highest, known_from, checkpoint, horizon FROM source WHERE name = ?", name
            )[0]
            fresh = self._fresh(source, page, highest, number, known_from)
            grown = 0
            if fresh:
                hours = tallies([event.id for event in fresh], [event.time for event in fresh])
                self._ledger.add(source, "", STORED, hours)
                behind = None if page.late else page.checkpoint
                grown = self._pages.add(source, number, fresh, encode_tallies(hours), behind, self._now())
            if page.late:
                if fresh:
                    last, since = number + len(fresh) - 1, min(event.time for event in fresh)
                    self._came_late(source, page.checkpoint, last, since)
                highest = max([highest, *(event.id for event in fresh if len(event.id) == len(highest))])
                page = Page(page.events, checkpoint, horizon or 0)
            self._db.execute(
                "UPDATE source SET next = next + ?, tallied = next + ? - 1, bytes = bytes + ?, checkpoint = ?,"
                " highest = ?, horizon = max(coalesce(horizon, 0), ?) WHERE id = ?",
                len(fresh), len(fresh), grown, page.checkpoint, max(highest, page.highest, key=order), page.horizon,
                source,
            )  # fmt: skip
        if fresh:
            self._pages.remember(source, number, fresh)
        return Appended(len(fresh), len(page.events) - len(fresh))

    def _fresh(self, source: int, page: Page, highest: str, number: int, known_from: int) -> list[Event]:
        """The page's events that are not stored yet, each once."""
        if not page.late and _all_above([event.id for event in page.events], highest, page.highest):
            return list(page.events)
        seen = self._pages.ids_since(source, max(known_from, number - KNOWN_IDS))
        fresh = []
        for event in page.events:
            if event.id not in seen:
                seen.add(event.id)
                fresh.append(event)
        return fresh

    def _came_late(self, source: int, before: bytes, number: int, since: int) -> None:
        """Remembers a place before all late events that are not settled: that of the earliest one."""
        late, earliest, trimmed = self._db.rows(
            "SELECT late_number, late_since, trimmed FROM source WHERE id = ?", source
        )[0]
        # Of those that every lane has settled, too: a lane that is new may still begin before them.
        if late <= trimmed or since < earliest:
            self._db.execute(
                "UPDATE source SET late_checkpoint = ?, late_since = ? WHERE id = ?", before, since, source
            )
        self._db.execute("UPDATE source SET late_number = ? WHERE id = ?", number, source)


def _all_above(ids: list[str], stored: str, highest: str) -> bool:
    """Whether these, each once, are above the highest stored id and not above their page's own highest one.

    An id above that one is none that the source orders: it would look new again when it comes again.
    """
    return (
        len(set(ids)) == len(ids)
        and set(map(len, ids)) == {len(stored)} == {len(highest)}
        and min(ids) > stored
        and max(ids) <= highest
    )
