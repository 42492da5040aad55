"""What should be there: the journal's ledger of a source and of one of its lanes. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from shipper.sources.start import embedded_time, is_log_id
from shipper.tally import HOUR_MS, Tally, merged, sum_from_hex

Hours = Mapping[int, Tally]
DELIVERED = ("delivered", "requeued")
"""A requeued event was a dead letter before, and counts as one for ever."""
SETTLED = ("delivered", "dead", "filtered")


class Books(msgspec.Struct, frozen=True):
    """The ledger of one source, by hour.

    stored: what the source brought. delivered: what this lane brought to its destination. settled: that, and what it
    passed over. began: the first hour that the ledger knows, None where it knows none. horizon: the time (ms) up to
    which the journal holds everything, None where it never read. began_ms: the time from which on the source was
    read. read_from_ms: the time from which on nothing of it was stepped over, which a checkpoint that someone set may
    have done. waits: whether anything waits in the lane; where it does not, what is not settled was before the lane's
    start, or given up.
    """

    stored: Hours
    delivered: Hours
    settled: Hours
    began: int | None
    horizon: int | None
    began_ms: int
    read_from_ms: int = 0
    waits: bool = True

    def open(self, hour: int) -> bool:
        """Whether events of this hour may still be on their way."""
        if self.horizon is not None and (hour + 1) * HOUR_MS > self.horizon:
            return True
        return self.waits and self.stored.get(hour, Tally()).events > self.settled.get(hour, Tally()).events

    def expected(self, hour: int) -> Tally:
        """What the destination should hold."""
        return self.delivered.get(hour, Tally())

    def known(self, hour: int) -> bool:
        """Whether the ledger speaks of this hour at all; a journal that was lost knows nothing of before."""
        return self.began is not None and hour >= self.began


def hours_in(rows: Iterable[Iterable[Any]]) -> dict[int, Tally]:
    """The desk's rows: [hour, events, first, last, sum as 64 hex digits]."""
    return {hour: Tally(events, first, last, sum_from_hex(total)) for hour, events, first, last, total in rows}


def books_of(ledger: Mapping[str, Any], place: Mapping[str, Any], sink: str) -> Books:
    """ledger: the desk's answer for all hours. place: its row of the source in `checkpoints`."""
    outcomes = {outcome: hours_in(rows) for outcome, rows in ledger["lanes"].get(sink, {}).items()}
    stored = hours_in(ledger["source"])
    lane = place.get("lanes", {}).get(sink, {})
    began_ms = begins_at(place.get("start") or "earliest", stored, place.get("began", 0))
    return Books(
        stored=stored,
        delivered=merged(outcomes.get(outcome, {}) for outcome in DELIVERED),
        settled=merged(outcomes.get(outcome, {}) for outcome in SETTLED),
        began=min(stored, default=None),
        horizon=place.get("horizon"),
        began_ms=began_ms,
        read_from_ms=max(began_ms, place.get("began", 0)),
        waits=lane.get("lag", 1) > 0,
    )


def begins_at(start: str, stored: Hours, began: int = 0) -> int:
    """The time (ms) from which on a source was read.

    start: the setting, or the journal's word for another beginning, as where it goes on behind another journal. began:
    as in the source's figures. Where neither tells it: the first event's time, or the end of its hour where its id
    holds none.
    """
    if start == "earliest":
        return 0
    if is_log_id(start):
        return embedded_time(start) or 0
    try:
        return int(datetime.fromisoformat(start).timestamp() * 1000)
    except ValueError:
        pass
    if not stored:
        return began
    hour = min(stored)
    first = embedded_time(stored[hour].first)
    known = (hour + 1) * HOUR_MS if first is None else first
    return min(began, known) if began else known
