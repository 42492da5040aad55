"""What moves: an event, the page it came in, and the batch in which it goes out."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, get_args

import msgspec

_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MILLISECOND: Final = timedelta(milliseconds=1)


class Event(msgspec.Struct, frozen=True, gc=False):
    """One log event of a tenant.

    id: the tenant-wide unique id (Auth0: log_id); `sha256-…` of its bytes where the event has none.
    time: milliseconds since 1970 UTC: the id's own time, else `date`, else when its page arrived.
    date: the event's `date` as it was sent, "" where it has none or it is no string.
    type: the event's type code as it was sent, "" where it has none. Written by strangers: never a label.
    raw: the event's JSON, byte for byte as the source sent it (CR and LF between tokens became spaces).
    """

    id: str
    time: int
    date: str
    type: str
    raw: bytes

    @property
    def date_ms(self) -> int:
        """`date` in milliseconds since 1970; where it has none with a zone, or an absurd one, `time`."""
        try:
            at = (datetime.fromisoformat(self.date) - _EPOCH) // _MILLISECOND
        except (ValueError, TypeError):
            return self.time
        return at if at >= 0 else self.time


class Page(msgspec.Struct, frozen=True):
    """One answer of a source, with what must be stored in the same transaction.

    events: in the order in which the source served them.
    checkpoint: where the source resumes behind this page; opaque to everyone but the source.
    horizon: milliseconds since 1970 UTC up to which everything is held once this page is stored.
    highest: the highest id in the source's own order, "" where its ids have none. An id of the same length above
        the highest stored one is new without a look-up.
    late: these stand behind the checkpoint and were found when the source was read there once more. What is not known
        of them is stored, and nothing else moves: `checkpoint` is a place before them, `horizon` and `highest` mean
        nothing.
    """

    events: Sequence[Event]
    checkpoint: bytes
    horizon: int
    highest: str = ""
    late: bool = False


class Origin(msgspec.Struct, frozen=True):
    """Where a batch's events come from.

    name: the source's label in the configuration.
    type: the kind of source, "auth0".
    host: the tenant's own domain.
    tenant: the tenant's name, as Auth0 writes it in `tenant_name`.
    """

    name: str
    type: str
    host: str
    tenant: str


LONGEST = Origin(name="x" * 31, type="x" * 30, host="x" * 253, tenant="x" * 63)
"""Each part as long as it gets, in bytes, for a sink's `overhead`: a label, a kind, a domain name, an Auth0 tenant."""

LONGEST_ID = 71
"""Bytes of an event's id: `sha256-` and its digits are the longest."""

Notice = Literal["key_conflict", "unverified"]
"""What a person should know of although nothing fails.

key_conflict: something else stands under the name that a batch should get there, so it got another name.
unverified: something stands under it, the sink may not look what, and took it for an earlier write of the same batch.
"""

NOTICES: tuple[Notice, ...] = get_args(Notice)


def _to_nobody(notice: Notice, note: str) -> None:
    """Where a batch is made without a lane: nobody listens."""


class Batch(msgspec.Struct, frozen=True):
    """Consecutive events of one lane, at least one, for one write.

    now: milliseconds since 1970 UTC when this attempt began.
    attempt: 1 for the first write of these events since the process started, then 2, 3, …
    replayed: an earlier write, perhaps of an earlier process, may have brought these events to the destination. Known
    only for a sink that sets `replays_batches`.
    tell: counts a notice and logs it; its note is our own words, safe to log. To be called on the event loop.
    """

    source: Origin
    events: Sequence[Event]
    now: int
    attempt: int = 1
    replayed: bool = False
    tell: Callable[[Notice, str], None] = _to_nobody
