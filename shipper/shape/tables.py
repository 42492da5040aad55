"""A table that says something of event types: by their codes, or by their categories."""

from functools import lru_cache

from shipper.shape.event_types import EventType, in_category

REMEMBERED = 1024
"""Types are written by strangers: there may be any number of them."""


class Table:
    """Rows of words: codes or categories, then `columns` words that hold for them.

    What is nearest to a type counts: its code, else the longest beginning of it (`gd_*`), else the nearest category at
    or above its own.
    """

    def __init__(self, text: str, columns: int) -> None:
        self._rows: dict[str, tuple[str, ...]] = {}
        for line in text.strip().splitlines():
            words = line.split()
            for name in words[:-columns]:
                self._rows[name] = tuple(words[-columns:])
        self._starts = sorted((name[:-1] for name in self._rows if name.endswith("*")), key=len, reverse=True)
        self._categories = sorted((name for name in self._rows if "*" not in name), key=len, reverse=True)
        self.row = lru_cache(REMEMBERED)(self._row)

    @property
    def names(self) -> frozenset[str]:
        """What its rows begin with."""
        return frozenset(self._rows)

    def _row(self, kind: EventType) -> tuple[str, ...] | None:
        """What holds for this type; None where the table has nothing of it."""
        if kind.code in self._rows:
            return self._rows[kind.code]
        start = next((start for start in self._starts if kind.code.startswith(start)), None)
        if start is not None:
            return self._rows[f"{start}*"]
        category = next((one for one in self._categories if in_category(kind.category, one)), None)
        return self._rows[category] if category is not None else None
