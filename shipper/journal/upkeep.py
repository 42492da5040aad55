"""What gives things up: trimming, and what an operator may do, with a line in the audit list.

Each public method is one transaction, or one for each source.
"""

from collections.abc import Callable

from shipper.journal import UnknownNameError
from shipper.journal.database import Database
from shipper.journal.ledger import Ledger
from shipper.journal.stored_pages import time_at

KNOWN_IDS = 10_000
"""So many of a source's last ids are looked up when a page repeats something, so they outlive their events."""


class Upkeep:
    """Works on the store's connection. clock: seconds since 1970."""

    def __init__(self, db: Database, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._db = db
        self._ledger = ledger
        self._clock = clock

    def trim(self, name: str, before: int | None, most: int) -> int:
        """Gives up the bytes of a source's delivered pages, at most so many, stored up to this time (None: any)."""
        source, following, trimmed = self._db.rows("SELECT id, next, trimmed FROM source WHERE name = ?", name)[0]
        # A lane that was forgotten wants nothing any more; a source that never had one keeps all for whoever comes.
        settled = self._db.value(
            "SELECT min(CASE WHEN forgotten THEN ? ELSE position END) FROM lane WHERE source = ?", following - 1, source
        )
        if settled is None or settled <= trimmed:
            return 0
        oldest = self._db.value("SELECT stored FROM page WHERE source = ? AND first = ?", source, trimmed + 1)
        if before is not None and oldest > before:
            return 0
        pages, freed = 0, 0
        for count, stored, size in self._db.rows(
            "SELECT count, stored, length(body) FROM page WHERE source = ? AND first > ? AND first <= ?"
            " ORDER BY first LIMIT ?",
            source, trimmed, settled, most,
        ):  # fmt: skip
            # Oldest first and without gaps, even where the clock was set back in between.
            if trimmed + count > settled or (before is not None and stored > before):
                break
            trimmed, pages, freed = trimmed + count, pages + 1, freed + size
        if pages:
            with self._db.transaction():
                # The page of the last settled event stays known: `--recover` goes on behind it.
                self._give_up(source, trimmed, freed, min(following - 1 - KNOWN_IDS, settled - 1))
        return pages

    def _give_up(self, source: int, upto: int, freed: int, unknown: int) -> None:
        """The bytes of all events up to a number; and of pages that hold none but unknown ones also the index."""
        self._db.execute(
            "UPDATE page SET body = NULL WHERE source = ? AND first <= ? AND body IS NOT NULL", source, upto
        )
        whole = "FROM page WHERE source = ? AND first <= ? AND first + count - 1 <= ?"
        forgotten = min(upto, unknown)
        freed += self._db.value(
            f"SELECT coalesce(sum(length(idx) + length(times)), 0) {whole}", source, forgotten, forgotten
        )
        self._db.execute(f"DELETE {whole}", source, forgotten, forgotten)
        self._db.execute("UPDATE source SET trimmed = ?, bytes = bytes - ? WHERE id = ?", upto, freed, source)

    def settled(self, name: str) -> tuple[bytes, int] | None:
        """Checkpoint and horizon (ms) up to which every lane has settled everything; None where that is not known."""
        source, last, checkpoint, horizon, began, since, number = self._db.rows(
            "SELECT id, next - 1, checkpoint, horizon, began_checkpoint, began_horizon, began_number FROM source"
            " WHERE name = ?",
            name,
        )[0]
        position = self._db.value("SELECT min(position) FROM lane WHERE source = ? AND NOT forgotten", source)
        if position is None or checkpoint is None:
            return None
        if position == last:
            return checkpoint, horizon
        # Places behind events that were there before the checkpoint was set may be ahead of what is read again now.
        place = self._settled_page(source, position, number if position >= number else 0)
        if position < number:
            if place is not None and since < place[1]:
                place = began, since
        elif place is None and began is not None:
            oldest = self._db.value("SELECT min(first) FROM page WHERE source = ?", source)
            place = (began, since) if oldest is not None and oldest <= number + 1 else None
        return place and self._before_late(source, position, place)

    def _settled_page(self, source: int, position: int, behind: int) -> tuple[bytes, int] | None:
        """The place of the newest page that is settled whole, of those behind a number, and its newest event's time."""
        found = self._db.rows(
            "SELECT checkpoint, times FROM page WHERE source = ? AND first > ? AND first <= ?"
            " AND first + count - 1 <= ? AND checkpoint IS NOT NULL ORDER BY first DESC LIMIT 1",
            source, behind, position, position,
        )  # fmt: skip
        if not found:
            return None
        checkpoint, times = found[0]
        return checkpoint, max(time_at(times, offset) for offset in range(len(times) // 8))

    def _before_late(self, source: int, position: int, place: tuple[bytes, int]) -> tuple[bytes, int]:
        """The place, or one before late events that are not settled and older than it: they may lie anywhere."""
        late, since, before_late = self._db.rows(
            "SELECT late_number, late_since, late_checkpoint FROM source WHERE id = ?", source
        )[0]
        return (before_late, since) if position < late and since <= place[1] else place

    def set_checkpoint(self, name: str, checkpoint: bytes, audit: str, who: str, since: int | None) -> None:
        """Makes a source resume elsewhere, with no id known. since: the place's time (ms), None where it has none."""
        with self._db.transaction():
            self._db.execute(
                "UPDATE source SET checkpoint = ?, began_checkpoint = ?, began_horizon = ?, began_number = next - 1,"
                " known_from = next, highest = '' WHERE name = ?",
                checkpoint, checkpoint, 1 << 62 if since is None else since, name,
            )  # fmt: skip
            self.audit(who, audit)

    def forget_sink(self, sink: str, who: str) -> int:
        """Gives up what waits for this sink. Returns how many events. Raises UnknownNameError."""
        waiting = self._db.rows(
            "SELECT sum(s.next - 1 - l.position), count(*) FROM lane l JOIN source s ON s.id = l.source"
            " WHERE l.sink = ? AND NOT l.forgotten",
            sink,
        )[0]
        if not waiting[1]:
            raise UnknownNameError("operator", f"the journal has no lane into a sink {sink!r}")
        with self._db.transaction():
            for (source,) in self._db.rows("SELECT source FROM lane WHERE sink = ? AND NOT forgotten", sink):
                self._forget_lane(source, sink)
            self.audit(who, f"forget sink {sink}: {waiting[0]} events given up")
        return int(waiting[0])

    def forget_source(self, name: str, waiting: int, who: str) -> None:
        """Gives up a source's place and all its events."""
        source = self._db.value("SELECT id FROM source WHERE name = ?", name)
        with self._db.transaction():
            for (sink,) in self._db.rows("SELECT sink FROM lane WHERE source = ? AND NOT forgotten", source):
                self._forget_lane(source, sink)
            self._db.execute("DELETE FROM page WHERE source = ?", source)
            self._db.execute(
                "UPDATE source SET checkpoint = NULL, start = 'forgotten', horizon = NULL, highest = '',"
                " known_from = next, trimmed = next - 1, bytes = 0, late_number = 0, late_checkpoint = NULL"
                " WHERE id = ?",
                source,
            )
            self.audit(who, f"forget source {name}: {waiting} events given up")

    def _forget_lane(self, source: int, sink: str) -> None:
        self._ledger.leave(source, sink)
        last = self._db.value("SELECT next - 1 FROM source WHERE id = ?", source)
        self._db.execute(
            "UPDATE lane SET given_up = given_up + ? - position, position = ?, tallied = ?, start = '',"
            " reserved_first = 0, reserved_last = 0, forgotten = 1 WHERE source = ? AND sink = ?",
            last, last, last, source, sink,
        )  # fmt: skip
        # Its requeued dead letters have nowhere to go, and rest again, so that someone can purge them.
        self._db.execute("UPDATE dead_letter SET queued = NULL WHERE source = ? AND sink = ?", source, sink)
        self._db.execute("UPDATE lane SET queue_position = queue_next - 1 WHERE source = ? AND sink = ?", source, sink)

    def rename_sink(self, old: str, new: str, who: str) -> None:
        """Carries a sink's places and dead letters to a new name. Raises UnknownNameError."""
        if not self._db.rows("SELECT 1 FROM lane WHERE sink = ?", old):
            raise UnknownNameError("operator", f"the journal has no lane into a sink {old!r}")
        if self._db.rows("SELECT 1 FROM lane WHERE sink = ?", new):
            raise UnknownNameError("operator", f"the journal has lanes into a sink {new!r} already")
        with self._db.transaction():
            self._db.execute("UPDATE lane SET sink = ? WHERE sink = ?", new, old)
            self._db.execute("UPDATE dead_letter SET sink = ? WHERE sink = ?", new, old)
            self._db.execute("UPDATE dead_count SET sink = ? WHERE sink = ?", new, old)
            self._db.execute("UPDATE ledger SET sink = ? WHERE sink = ?", new, old)
            self.audit(who, f"rename sink {old} to {new}")

    def audit(self, who: str, what: str) -> None:
        """Keeps who did what, in the caller's transaction."""
        self._db.execute("INSERT INTO audit (at, who, what) VALUES (?, ?, ?)", int(self._clock() * 1000), who, what)
