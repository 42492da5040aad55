"""When which fault blows at one place: in spells, which are drawn from a seed before anything starts, or when told."""

import math
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

LONGEST_SECS = 6.0
"""Of one fault."""


class Spell(NamedTuple):
    """One fault. start, end: seconds since the beginning."""

    start: float
    end: float
    kind: str


def drawn(seed: str, place: str, kinds: Sequence[str], secs: float) -> list[Spell]:
    """Spells of these kinds, each about as often, until so many seconds are over."""
    chance, at = random.Random(f"{seed} {place}"), 0.0
    spells: list[Spell] = []
    while kinds:
        at += chance.uniform(1.0, 10.0)
        end = min(at + chance.uniform(0.3, LONGEST_SECS), secs)
        if at >= secs:
            break
        spells.append(Spell(at, end, chance.choice(kinds)))
        at = end
    return spells


class Weather:
    """The faults of one place. Threads may share it."""

    def __init__(self, place: str, spells: Sequence[Spell] = ()) -> None:
        self.place, self.spells = place, list(spells)
        self.met: Counter[str] = Counter()
        """How often each kind really hit something."""
        self.slowest_secs = 0.0
        """The longest from the end of a fault that hit until something got through again."""
        self.recovering: Spell | None = None
        self._began = time.monotonic()
        self._index = 0
        self._lock = threading.Lock()

    def begin(self) -> None:
        """The seconds count from now."""
        self._began = time.monotonic()

    def blow(self, kind: str) -> None:
        """This fault from now on, whatever was planned; "" for calm from now on."""
        with self._lock:
            if self.recovering is not None:
                self.recovering = self.recovering._replace(end=min(self.recovering.end, self.secs))
            self.spells, self._index = [Spell(self.secs, math.inf, kind)] if kind else [], 0

    @property
    def secs(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def fault(self) -> str:
        """The fault that blows now, "" for none. Whoever asks is hit by it."""
        with self._lock:
            spell = self._now()
            if spell is None:
                return ""
            if self.recovering is not spell:
                self.recovering = spell
                self.met[spell.kind] += 1
            return spell.kind

    def left_secs(self) -> float:
        """How long the fault that blows now goes on."""
        with self._lock:
            spell = self._now()
            return spell.end - self.secs if spell is not None else 0.0

    @property
    def hit(self) -> bool:
        """Whether the fault that blows now has hit something."""
        with self._lock:
            return self.recovering is not None and self.recovering is self._now()

    def through(self) -> None:
        """Something has got through undisturbed."""
        with self._lock:
            if self.recovering is not None and self.secs >= self.recovering.end:
                self.slowest_secs = max(self.slowest_secs, self.secs - self.recovering.end)
                self.recovering = None

    def _now(self) -> Spell | None:
        now = self.secs
        while self._index < len(self.spells) and self.spells[self._index].end <= now:
            self._index += 1
        if self._index < len(self.spells) and self.spells[self._index].start <= now:
            return self.spells[self._index]
        return None
