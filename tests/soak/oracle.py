"""The same question everywhere: of the events that the tenant issued, what did a destination get?

Each event's bytes are compared, by a digest: an hour's events would not fit into memory with their bytes.
"""

import threading
from array import array
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import NamedTuple

Issued = tuple[str, bytes]
"""An event's log_id and its exact bytes."""


def digest(raw: bytes) -> int:
    """64 bits that stand for an event's bytes."""
    return int.from_bytes(blake2b(raw, digest_size=8).digest())


class Numbers:
    """Small numbers for long ids, shared by all destinations."""

    def __init__(self) -> None:
        self._of: dict[str, int] = {}
        self._lock = threading.Lock()

    def of(self, id_: str) -> int:
        """The id's number, a new one the first time."""
        with self._lock:
            return self._of.setdefault(id_, len(self._of))

    def ids(self) -> list[str]:
        """All ids, by their numbers."""
        with self._lock:
            return list(self._of)


class Verdict(NamedTuple):
    """What is wrong with what one destination holds. allowed: so many duplicates would be right at most."""

    name: str
    held: int
    dead: int
    missing: int
    invented: int
    altered: int
    disordered: int
    wrongly_dead: int
    duplicates: int
    allowed: int

    @property
    def fine(self) -> bool:
        """Whether the promise was kept."""
        wrong = (self.missing, self.invented, self.altered, self.disordered, self.wrongly_dead)
        return not any(wrong) and self.duplicates <= self.allowed


class Held:
    """What one destination has accepted. Threads may share it.

    unconfirmed: duplicates that are right, for the sender was not told, or not all, of what was accepted.
    """

    def __init__(self, name: str, numbers: Numbers) -> None:
        self.name = name
        self.unconfirmed = 0
        self.total = 0
        self.refused: set[str] = set()
        self.notes: list[str] = []
        self._numbers = numbers
        self._counts = array("H")
        self._digests = array("Q")
        self._highest = ""
        self._altered = self._disordered = 0
        self._lock = threading.Lock()

    def add(self, events: Iterable[Issued], *, confirmed: bool = True) -> None:
        """These have arrived, in this order. confirmed: their sender is told so, as far as we know."""
        with self._lock:
            before = self.total
            for id_, raw in events:
                self._add(id_, digest(raw))
            if not confirmed:
                self.unconfirmed += self.total - before

    def refuse(self, id_: str) -> None:
        """This event is refused for good: it may be a dead letter."""
        with self._lock:
            self.refused.add(id_)

    def _add(self, id_: str, found: int) -> None:
        number = self._numbers.of(id_)
        while len(self._counts) <= number:
            self._counts.append(0)
            self._digests.append(0)
        self.total += 1
        if self._counts[number] == 0:
            self._digests[number] = found
            if id_ < self._highest:
                self._disordered += 1
                self._note(f"{id_} came behind {self._highest}")
            self._highest = max(id_, self._highest)
        elif self._digests[number] != found:
            self._altered += 1
            self._note(f"{id_} came with other bytes the second time")
        self._counts[number] = min(self._counts[number] + 1, 65_535)

    def _note(self, words: str) -> None:
        if len(self.notes) < 5:
            self.notes.append(words)

    def verdict(self, issued: Iterable[Issued], dead: Mapping[str, bytes], allowed: int) -> Verdict:
        """dead: the dead letters' bytes by id. allowed: duplicates for crashes, beside those of unconfirmed writes."""
        altered, missing = self._altered, 0
        counts = dict(zip(self._numbers.ids(), self._counts, strict=False))
        left = {id_ for id_, count in counts.items() if count} | dead.keys()
        held = len(left - dead.keys())
        for id_, raw in issued:
            if counts.get(id_):
                altered += self._digests[self._numbers.of(id_)] != digest(raw)
            elif id_ not in dead:
                missing += 1
                self._note(f"{id_} is missing")
            if id_ in dead and dead[id_] != raw:
                altered += 1
            left.discard(id_)
        for id_ in list(left)[:2]:
            self._note(f"{id_} was never issued")
        duplicates = self.total - sum(map(bool, self._counts))
        return Verdict(
            self.name, held, len(dead), missing, len(left), altered, self._disordered, len(dead.keys() - self.refused),
            duplicates, allowed + self.unconfirmed,
        )  # fmt: skip
