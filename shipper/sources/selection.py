"""Which of a tenant's events are wanted, other than all of a time; each kind of source has its own of these."""

import msgspec


class SelectionError(ValueError):
    """A kind of source does not offer that; the text says so to whoever typed it."""


class Selection(msgspec.Struct, frozen=True):
    """What of a tenant is wanted. Without anything it is all of it, along the way that loses nothing.

    query: in the service's own language, None for none. user, application, key: only events of these, "" for all.
    sort: FIELD:1 or FIELD:-1, "" for the oldest first. fields: only these of each event; excluded: all but these.
    page: this page alone, counted from 0, of so many events. totals: tell how many the service counts.
    """

    query: str | None = None
    user: str = ""
    application: str = ""
    key: str = ""
    sort: str = ""
    fields: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    page: int | None = None
    per_page: int = 100
    totals: bool = False

    @property
    def whole(self) -> bool:
        """Whether each event comes with everything that the service has of it."""
        return not self.fields and not self.excluded


ALL = Selection()
"""Every event, whole."""
EVER = (0, 253_402_300_799_000)
"""Milliseconds since 1970 UTC: a range of time without bounds."""
