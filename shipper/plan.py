"""What a lane writes next, and when its position may move. Decides; the I/O is delivery's.

A lane works through spans of consecutive events, earliest first. A span is closed once each of its events is delivered
or refused; then the position moves to its end, together with the dead letters up to there. The exception keeps a
destination that refuses everything from eating the log: from the second refusal in a row on, and until the lane has
delivered something since the start, refusals are held back until the next delivery.
"""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from shipper.journal import Burial, outside
from shipper.reasons import Reason


class Ack(msgspec.Struct, frozen=True):
    """Everything up to a number is settled; these events of it are dead letters, and these the filter left out."""

    upto: int
    dead: Sequence[Burial]
    left_out: Sequence[range] = ()


class Plan:
    """One lane's memory between two acks: numbers and reasons, never an event."""

    def __init__(self, position: int, max_dead_in_a_row: int) -> None:
        self._position = position
        self._cursor = position
        self._spans: list[tuple[int, int]] = []
        self._delivered: set[int] = set()
        self._refused: dict[int, Burial] = {}
        self._left_out: list[range] = []
        self._max_in_a_row = max_dead_in_a_row
        self._in_a_row = 0
        self._accepted = 0
        self._proven = False

    @property
    def after(self) -> int:
        """The number behind which to read next."""
        return self._spans[-1][0] - 1 if self._spans else self._cursor

    @property
    def upto(self) -> int | None:
        """Where the next read has to end exactly; None where the journal makes the cut."""
        return self._spans[-1][1] if self._spans else None

    @property
    def left_out(self) -> Sequence[range]:
        """What the next read has to leave out, where it has to end exactly."""
        if not self._spans:
            return ()
        first, last = self._spans[-1]
        return [hole for hole in self._left_out if first <= hole.start <= last]

    def skip_to(self, position: int) -> None:
        """The lane has not reached its start: the journal moved its position itself."""
        self._position = self._cursor = max(self._cursor, position)

    def take(self, first: int, last: int, left_out: Sequence[range] = ()) -> list[int]:
        """The next span has been read: which of its events are still to be written. None: `passed` settles it."""
        if not self._spans:
            self._spans.append((first, last))
            self._cursor = last
            self._left_out += left_out
        return self._unsettled(first, last)

    def _unsettled(self, first: int, last: int) -> list[int]:
        wanted = outside(self._left_out, first, last) if self._left_out else range(first, last + 1)
        return [n for n in wanted if n not in self._delivered and n not in self._refused]

    def passed(self) -> Ack | None:
        """Everything of the span is left out. That proves nothing of the destination."""
        return self._close(deliveries=False)

    def delivered(self) -> Ack:
        """The destination has all that was written."""
        self._progress()
        ack = self._close(deliveries=True)
        assert ack is not None, "a span with deliveries is acked"  # noqa: S101  holds by construction
        return ack

    def delivered_but(self, left: Collection[int], written: Collection[int]) -> None:
        """The destination said that it has what was written, but for those left, at least one."""
        if len(left) < len(written):
            self._delivered.update(n for n in written if n not in left)
            self._progress()

    def refused(self, why: Mapping[int, str], reason: Reason, *, own: bool, others: Collection[int] = ()) -> Ack | None:
        """These events: never. others: the rest of the batch, where the destination said that it has it.

        own: decided by our own sink, which says nothing about the destination.
        """
        if others:
            self._delivered.update(others)
            self._progress()
        for number, detail in why.items():
            self._refused[number] = Burial(number, reason, detail)
        if not own and not others:
            self._count(len(why))
        return self._close_if_settled()

    def halve(self, written: Sequence[int], reason: Reason, detail: str, *, own: bool) -> Ack | None:
        """One of these is refused, or all together are too large: halves next; a single one is the culprit."""
        if len(written) == 1:
            return self.refused({written[0]: detail}, reason, own=own)
        first, last = self._spans.pop()
        middle = written[(len(written) - 1) // 2]
        self._spans += [(middle + 1, last), (first, middle)]
        return None

    @property
    def refuses_everything(self) -> bool:
        """So many refusals in a row that the configuration is wrong, and not the events."""
        return self._in_a_row >= self._max_in_a_row

    @property
    def held_back(self) -> list[Burial]:
        """Refusals that are not settled yet, in order: a later delivery will prove that the destination works."""
        return [burial for _, burial in sorted(self._refused.items())]

    def accept_dead(self, refusals: int) -> None:
        """A person says that so many more refusals are right: they are settled, and say nothing of the destination."""
        self._accepted = refusals
        self._in_a_row = 0

    def start_over(self) -> None:
        """Back to the first refusal that was held back, nothing given up; the next write is that one event."""
        self._delivered.clear()
        self._refused.clear()
        first = next(outside(self._left_out, self._position + 1, self._cursor))
        self._left_out = [hole for hole in self._left_out if hole.start < first]
        self._spans = [(self._position + 1, first)]
        self._cursor = first

    def _count(self, refusals: int) -> None:
        accepted = min(refusals, self._accepted)
        self._accepted -= accepted
        self._in_a_row += refusals - accepted

    def _progress(self) -> None:
        self._in_a_row = 0
        self._proven = True

    def _close_if_settled(self) -> Ack | None:
        first, last = self._spans[-1]
        if self._unsettled(first, last):
            return None
        return self._close(deliveries=not self._delivered.isdisjoint(range(first, last + 1)))

    def _close(self, *, deliveries: bool) -> Ack | None:
        _, last = self._spans.pop()
        first_in_a_row = self._in_a_row == 1 and self._proven and not self.refuses_everything
        if not deliveries and self._in_a_row and not first_in_a_row:
            return None
        dead = [burial for number, burial in sorted(self._refused.items()) if number <= last]
        ack = Ack(last, dead, [hole for hole in self._left_out if hole.start <= last])
        self._position = last
        self._delivered = {n for n in self._delivered if n > last}
        self._refused = {n: burial for n, burial in self._refused.items() if n > last}
        self._left_out = [hole for hole in self._left_out if hole.start > last]
        return ack
