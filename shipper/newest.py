"""What each source's newest events tell of, by outcome and category, for whoever looks at the status page.

Only words of the table of event types come out, never a type as a stranger wrote it.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from shipper.journal.sqlite import SqliteJournal
from shipper.shape.event_types import event_type

MOST = 1_000
"""Events of a source: a look at some ten indexes, without their bodies."""
EVERY_SECS = 5.0
CATEGORIES = 3
UNTOLD = "untold"
"""The outcome that a type alone does not tell: Logto's keys, and codes that nobody has published."""


class Newest:
    """Counts when someone looks, and what has changed since the last look. clock: monotonic seconds."""

    def __init__(self, journal: SqliteJournal, clock: Callable[[], float] = time.monotonic) -> None:
        self._journal, self._clock = journal, clock
        self._counted: dict[str, tuple[int, float, dict[str, Any]]] = {}

    async def look(self) -> list[dict[str, Any]]:
        """For each source: how many of its newest events had which outcome, and their most frequent categories."""
        sources = self._journal.figures.sources
        found = []
        for name, source in sources.items():
            stored, at, counts = self._counted.get(name, (-1, 0.0, {}))
            if stored != source.stored and (stored < 0 or self._clock() >= at + EVERY_SECS):
                counts = counted(await self._journal.newest_types(name, MOST))
                self._counted[name] = source.stored, self._clock(), counts
            found.append({"source": name, **counts})
        self._counted = {name: kept for name, kept in self._counted.items() if name in sources}
        return found


def counted(types: Counter[str]) -> dict[str, Any]:
    """Events by outcome and by category, from events by type."""
    outcomes: Counter[str] = Counter()
    categories: Counter[str] = Counter()
    for code, events in types.items():
        kind = event_type(code)
        outcomes[kind.outcome or UNTOLD] += events
        categories[kind.category] += events
    return {
        "events": types.total(),
        "outcomes": {outcome: outcomes[outcome] for outcome in ("success", "failure", "other", UNTOLD)},
        "categories": [
            {"category": category, "events": events} for category, events in categories.most_common(CATEGORIES)
        ],
    }
