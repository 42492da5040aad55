"""A source read without a journal: its events go on to whoever looks, and nothing of it is kept."""

from collections.abc import Callable, Sequence

import msgspec

from shipper.event import Event, Page
from shipper.journal import Appended, SourceFigures

REMEMBERED = 20_000
"""So many of the last ids are known again: a source may bring events of an overlap twice."""


class Unkept:
    """What a journal is to a source, in memory. shown: gets the events of each page that are new, in their order."""

    def __init__(self, name: str, shown: Callable[[Sequence[Event]], None]) -> None:
        self.figures = SourceFigures(
            name, "", stored=0, checkpoint=None, start="", horizon=None, bytes=0, paused=None, lanes={}
        )
        self._shown = shown
        self._known: dict[str, None] = {}

    def _now(self, **changes: object) -> None:
        self.figures = msgspec.structs.replace(self.figures, **changes)

    async def begin(self, start: str, checkpoint: bytes, horizon: int) -> None:
        """Where reading begins."""
        self._now(start=start, checkpoint=checkpoint, horizon=horizon)

    async def append(self, page: Page) -> Appended:
        """Shows what is new of a page, then goes on behind it."""
        new = {event.id: event for event in reversed(page.events) if event.id not in self._known}
        self._shown(list(reversed(new.values())))
        self._known.update(dict.fromkeys(reversed(new)))
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        self._now(stored=self.figures.stored + len(new))
        if not page.late:
            self._now(checkpoint=page.checkpoint, horizon=page.horizon)
        return Appended(len(new), len(page.events) - len(new))

    async def caught_up(self, horizon: int) -> None:
        """Everything up to the horizon was shown."""
        self._now(horizon=horizon)

    async def room(self) -> None:
        """There is always room."""

    async def gap(self, since: int, until: int, *, may_be_empty: bool) -> None:
        """The source has said so to its log; nothing is recorded."""
        self._now(gaps=self.figures.gaps + 1, last_gap=(since, until, may_be_empty), horizon=until)

    async def known_since(self, back: int) -> str | None:
        """The id of the event that was shown so many before the newest, or of the oldest that is remembered."""
        known = list(self._known)
        return known[max(0, len(known) - 1 - back)] if known else None
