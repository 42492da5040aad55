"""The journal's figures, taken anew after each commit for what it changed."""

from collections.abc import Callable, Sequence

import msgspec

from shipper.journal import Figures, LaneFigures, SourceFigures
from shipper.journal.database import Database
from shipper.journal.letters import Letters
from shipper.journal.stored_pages import time_at
from shipper.reasons import Reason

RESUME_BELOW = 0.90
"""A full journal takes pages again below this share of its limit; delivered events never fill it further."""

_LANES = (
    "SELECT l.sink, l.began, l.position, l.filtered, l.given_up, l.forgotten, l.removed, l.requeued, l.replayed,"
    " l.queue_position, l.queue_next - 1, (SELECT substr(p.times, 8 * (l.position + 1 - p.first) + 1, 8) FROM page p"
    " WHERE p.source = l.source AND p.first <= l.position + 1 ORDER BY p.first DESC LIMIT 1)"
    " FROM lane l WHERE l.source = ? ORDER BY l.sink"
)
"""With the time of the event behind the position."""


class Census:
    """Replaces figures, never alters them, so that other threads may read them at any time.

    cramped: whether the disk is so full that no page may be stored.
    """

    def __init__(self, db: Database, max_bytes: int, letters: Letters, cramped: Callable[[], bool]) -> None:
        self._db = db
        self._max_bytes = max_bytes
        self._letters = letters
        self._cramped = cramped
        self._full = False
        self._sources: dict[str, SourceFigures] = {}

    @property
    def tight(self) -> bool:
        """Space is needed: delivered events need not be kept."""
        return self._db.used_bytes() >= self._max_bytes * RESUME_BELOW

    def take(self, changed: Sequence[str], *, horizon: int | None = None, gone: str = "") -> Figures:
        """All figures, these sources' anew. horizon: newer than the file's. gone: a name that is no longer, or anew."""
        self._sources.pop(gone, None)
        for name in changed:
            self._sources[name] = self._figures_of(name, horizon)
        used = self._db.used_bytes()
        self._full = used >= self._max_bytes * (RESUME_BELOW if self._full else 1)
        sources = dict(self._sources)
        if self._full:
            behind = [source for source in sources.values() if _has_backlog(source)]
            share = min(self._max_bytes, sum(source.bytes for source in behind)) / max(1, len(sources))
            for source in behind:
                if source.bytes >= share:
                    sources[source.name] = msgspec.structs.replace(source, paused="journal_full")
        if self._cramped():
            sources = {name: msgspec.structs.replace(s, paused="disk_full") for name, s in sources.items()}
        return Figures(sources, used, self._max_bytes, self._full, self._letters.bytes)

    def _figures_of(self, name: str, horizon: int | None) -> SourceFigures:
        source, tenant, following, checkpoint, start, stored_horizon, size, gaps, began = self._db.rows(
            "SELECT id, tenant, next, checkpoint, start, horizon, bytes, gaps, began_horizon FROM source"
            " WHERE name = ?",
            name,
        )[0]
        known = self._sources[name].horizon if name in self._sources else None
        latest = max((at for at in (stored_horizon, known, horizon) if at is not None), default=None)
        return SourceFigures(
            name,
            tenant,
            following - 1,
            checkpoint,
            start,
            latest,
            bytes=size,
            paused=None,
            lanes=self._lanes_of(source, following - 1),
            gaps=gaps,
            last_gap=self._last_gap(source) if gaps else None,
            began=began,
        )

    def _last_gap(self, source: int) -> tuple[int, int, bool]:
        since, until, may_be_empty = self._db.rows(
            "SELECT since, until, may_be_empty FROM gap WHERE source = ? ORDER BY rowid DESC LIMIT 1", source
        )[0]
        return since, until, bool(may_be_empty)

    def _lanes_of(self, source: int, stored: int) -> dict[str, LaneFigures]:
        dead: dict[str, dict[Reason, int]] = {}
        kept: dict[str, int] = {}
        for sink, reason, count, still in self._db.rows(
            "SELECT sink, reason, count, kept FROM dead_count WHERE source = ?", source
        ):
            dead.setdefault(sink, {})[reason] = count
            kept[sink] = kept.get(sink, 0) + still
        lanes = {}
        for row in self._db.rows(_LANES, source):
            sink, began, position, filtered, given_up, forgotten, removed, requeued, replayed, *queue, oldest = row
            lag = 0 if forgotten else stored - position
            lanes[sink] = LaneFigures(
                sink,
                began,
                position,
                lag,
                time_at(oldest, 0) if lag else None,
                filtered,
                dead.get(sink, {}),
                kept.get(sink, 0),
                given_up,
                removed,
                requeued,
                replayed,
                queue_position=queue[0],
                queue_last=queue[1],
            )
        return lanes


def _has_backlog(source: SourceFigures) -> bool:
    return not source.lanes or any(lane.lag for lane in source.lanes.values())
