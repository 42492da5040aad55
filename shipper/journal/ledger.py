"""The ledger: by source and hour how many events were stored, with a sum of their ids; by lane the same of what was
delivered, left out by a filter, or became dead letters. Written in the transactions that it speaks of, never trimmed.

It costs one hash an event, at the append: a page keeps its tally beside it, and a lane that leaves a page adds that.
"""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from shipper.journal import outside
from shipper.journal.database import Database
from shipper.journal.stored_pages import StoredPages
from shipper.tally import Tally, merged, sum_from_bytes, sum_to_bytes, tallies

STORED, DELIVERED, DEAD, REQUEUED, FILTERED = "stored", "delivered", "dead", "requeued", "filtered"
"""Outcomes. requeued: dead letters that were delivered after all; they count among the dead ones, too."""

_ADD = (
    "INSERT INTO ledger (source, sink, outcome, hour, events, first, last, sum) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (source, sink, outcome, hour) DO UPDATE SET events = events + excluded.events,"
    " first = CASE WHEN (length(first), first) <= (length(excluded.first), excluded.first)"
    " THEN first ELSE excluded.first END,"
    " last = CASE WHEN (length(last), last) >= (length(excluded.last), excluded.last) THEN last ELSE excluded.last END,"
    " sum = add_sums(sum, excluded.sum)"
)
_Row = tuple[int, int, str, str, bytes]
_decode = msgspec.msgpack.Decoder(list[_Row]).decode


def encode_tallies(hours: Mapping[int, Tally]) -> bytes:
    """A page's tallies, as they stand beside it."""
    return msgspec.msgpack.encode([(hour, t.events, t.first, t.last, sum_to_bytes(t.sum)) for hour, t in hours.items()])


def decode_tallies(data: bytes) -> dict[int, Tally]:
    """The reverse."""
    return {hour: Tally(n, first, last, sum_from_bytes(total)) for hour, n, first, last, total in _decode(data)}


class Entry(msgspec.Struct, frozen=True):
    """A line of the ledger. sink: "" for what the source stored. outcome: one of the five above."""

    sink: str
    outcome: str
    hour: int
    tally: Tally


class Ledger:
    """Works on the store's connection, within its transactions."""

    def __init__(self, db: Database, pages: StoredPages) -> None:
        self._db = db
        self._pages = pages

    def add(self, source: int, sink: str, outcome: str, hours: Mapping[int, Tally]) -> None:
        """These, too, have this outcome."""
        for hour, t in hours.items():
            self._db.execute(_ADD, source, sink, outcome, hour, t.events, t.first, t.last, sum_to_bytes(t.sum))

    def settle(
        self,
        source: int,
        sink: str,
        done: int,
        position: int,
        dead: Collection[int] = (),
        left_out: Sequence[range] = (),
    ) -> int:
        """A lane has settled what comes behind `done`, up to its position: delivered all but the dead and left out.

        Counted are whole pages, whose tallies stand beside them; the page that the position is in is counted when the
        lane has left it, or when someone asks. With others than delivered ones among it, everything is counted at once.
        Returns up to where it is counted now.
        """
        upto: int | None = position
        if not dead and not left_out:
            upto = self._db.value(
                "SELECT max(first) - 1 FROM page WHERE source = ? AND first <= ?", source, position + 1
            )
        if upto is None or upto <= done:
            return done
        filtered = {number for hole in left_out for number in hole}
        self.add(source, sink, DELIVERED, self.count(source, done + 1, upto, {*dead, *filtered}))
        if filtered:
            others = set(outside(left_out, done + 1, upto))
            self.add(source, sink, FILTERED, self.count(source, done + 1, upto, others))
        for number in dead:
            self.add(source, sink, DEAD, tallies(*self._pages.columns(source, number, number)))
        return upto

    def count(self, source: int, first: int, last: int, without: Collection[int] = ()) -> dict[int, Tally]:
        """The tallies of these events as far as they are known, without some."""
        parts = []
        for page, count, tally in self._db.rows(
            "SELECT first, count, tally FROM page WHERE source = ? AND first <= ? AND first >="
            " (SELECT coalesce(max(first), 0) FROM page WHERE source = ? AND first <= ?) ORDER BY first",
            source, last, source, first,
        ):  # fmt: skip
            a, b = max(first, page), min(last, page + count - 1)
            left_out = {number for number in range(a, b + 1) if number in without} if without else set()
            part = decode_tallies(tally) if tally is not None and b - a + 1 == count and not left_out else {}
            # A program that knows no tallies may have added to the page.
            if sum(t.events for t in part.values()) != b - a + 1:
                part = self._counted(source, a, b, left_out)
            parts.append(part)
        return merged(parts)

    def _counted(self, source: int, first: int, last: int, without: Collection[int]) -> dict[int, Tally]:
        if last < first:
            return {}
        ids, times = self._pages.columns(source, first, last)
        kept = [i for i in range(len(ids)) if first + i not in without]
        return tallies([ids[i] for i in kept], [times[i] for i in kept])

    def leave(self, source: int, sink: str) -> None:
        """Counts what the lane has settled of the page that it is in: its position is about to jump."""
        done, position = self._db.rows(
            "SELECT tallied, position FROM lane WHERE source = ? AND sink = ?", source, sink
        )[0]
        self.add(source, sink, DELIVERED, self.count(source, done + 1, position))

    def catch_up_source(self, source: int) -> None:
        """Counts what a program stored that knows no ledger."""
        tallied, last = self._db.rows("SELECT tallied, next - 1 FROM source WHERE id = ?", source)[0]
        if tallied < last:
            self.add(source, "", STORED, self.count(source, tallied + 1, last))
            self._db.execute("UPDATE source SET tallied = ? WHERE id = ?", last, source)

    def catch_up_lane(self, source: int, sink: str) -> None:
        """Counts what a program delivered that knows no ledger."""
        done, position = self._db.rows(
            "SELECT max(tallied, began), position FROM lane WHERE source = ? AND sink = ?", source, sink
        )[0]
        dead = self._db.rows(
            "SELECT number FROM dead_letter WHERE source = ? AND sink = ? AND number > ? AND number <= ?",
            source, sink, done, position,
        )  # fmt: skip
        done = self.settle(source, sink, done, position, {number for (number,) in dead})
        self._db.execute("UPDATE lane SET tallied = ? WHERE source = ? AND sink = ?", done, source, sink)

    def read(self, source: int, since_hour: int, until_hour: int) -> list[Entry]:
        """All lines of a source, from an hour on, up to but without another."""
        lines = {
            (sink, outcome, hour): Tally(events, first, last, sum_from_bytes(total))
            for sink, outcome, hour, events, first, last, total in self._db.rows(
                "SELECT sink, outcome, hour, events, first, last, sum FROM ledger"
                " WHERE source = ? AND hour >= ? AND hour < ?",
                source, since_hour, until_hour,
            )
        }  # fmt: skip
        for sink, done, position in self._db.rows("SELECT sink, tallied, position FROM lane WHERE source = ?", source):
            for hour, tally in self.count(source, done + 1, position).items():
                if since_hour <= hour < until_hour:
                    known = lines.get((sink, DELIVERED, hour), Tally())
                    lines[sink, DELIVERED, hour] = known.merge(tally)
        return [Entry(sink, outcome, hour, tally) for (sink, outcome, hour), tally in sorted(lines.items())]
