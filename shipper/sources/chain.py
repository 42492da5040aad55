"""The chain of pages: where it stands, and where a page leads. Pure.

A `Link` is written by the other end, so only its path and query are used, after checks, and always on the configured
origin: the token can't leave it.
"""

import re
from collections.abc import Iterable, Sequence
from urllib.parse import parse_qsl, urlsplit

import msgspec

from shipper.event import Event
from shipper.sources.link import next_link
from shipper.sources.places import Place
from shipper.sources.start import embedded_time, is_log_id, synthetic_id, time_in

PATH = "/api/v2/logs"
TAKE = 100
"""Events in a page; the documented most."""
MAX_LINK_BYTES = 4096
_PAGE_MODE = frozenset(
    {"take", "per_page", "page", "sort", "q", "search", "fields", "include_fields", "include_totals"}
)
"""A request with nothing but these would be answered newest first, which breaks the chain."""


class Checkpoint(msgspec.Struct, frozen=True):
    """Where the chain goes on. last: the log_id behind which; link: path and query of the next request, if known."""

    last: str
    link: str = ""

    def target(self, take: int) -> str:
        """Path and query of the next request, for so many events."""
        link, replaced = re.subn(r"([?&])take=\d+", rf"\g<1>take={take}", self.link)
        # A link that doesn't name the number of events can't ask for fewer, as an unreadable page needs.
        if link and (replaced or take == TAKE):
            return link
        return f"{PATH}?from={self.last}&take={take}"

    def encode(self) -> bytes:
        """As the journal keeps it."""
        return msgspec.json.encode(self)

    @staticmethod
    def decode(data: bytes) -> "Checkpoint":
        """What `encode` made."""
        return msgspec.json.decode(data, type=Checkpoint)

    def by_link(self, values: Iterable[str], hosts: frozenset[str]) -> "Checkpoint | None":
        """Where the page's Link leads; None where it leads nowhere that may be followed.

        hosts: the names (with a port, where it is not the default) under which the tenant may call itself.
        """
        link = _acceptable(next_link(values) or "", hosts)
        if not link:
            return None
        last = from_of(link)
        return Checkpoint(last if is_log_id(last) else self.last, link)

    def by_last_event(self, events: Sequence[Event]) -> "Checkpoint":
        """Behind the page's last event that has a position."""
        return Checkpoint(_last_position(events) or self.last)

    def behind(self, events: Sequence[Event]) -> "Checkpoint":
        """The same with a position to fall back on, where the link itself names none."""
        if is_log_id(from_of(self.link)):
            return self
        return Checkpoint(_last_position(events) or self.last, self.link)

    def before(self, other: "Checkpoint") -> bool:
        """Whether this is surely an earlier place in the chain: positions of one length compare as text."""
        return len(self.last) == len(other.last) and self.last < other.last


class ChainPlaces:
    """A checkpoint of the chain as people write it: the log_id behind which, or a time from which on."""

    def shown(self, checkpoint: bytes) -> str:
        """The log_id. Raises ValueError where it is no checkpoint of ours."""
        last = Checkpoint.decode(checkpoint).last
        if not is_log_id(last):
            raise ValueError("is no log_id")
        return last

    def at(self, text: str) -> Place:
        """Raises ValueError where this is neither a log_id nor a time with its zone."""
        if is_log_id(text):
            return Place(Checkpoint(text).encode(), text, embedded_time(text))
        try:
            return self.at_time(time_in(text))
        except ValueError:
            raise ValueError(
                "no log_id (56 digits, or 24 hexadecimal ones), and no time with its zone, like 2026-11-01T00:00:00Z"
            ) from None

    def at_time(self, at_ms: int) -> Place:
        """Before everything that was indexed at this moment or later (milliseconds since 1970 UTC)."""
        position = synthetic_id(at_ms)
        return Place(Checkpoint(position).encode(), position, embedded_time(position))


def from_of(link: str) -> str:
    """The position in a link's query, "" without one."""
    return dict(parse_qsl(urlsplit(link).query)).get("from", "")


def _last_position(events: Sequence[Event]) -> str:
    return next((event.id for event in reversed(events) if is_log_id(event.id)), "")


def horizon_behind(events: Sequence[Event]) -> int:
    """The time up to which everything is held once these are stored: that of the last position, in milliseconds."""
    for event in reversed(events):
        time = embedded_time(event.id)
        if time is not None:
            return time
    return events[-1].time


def highest_id(events: Sequence[Event]) -> str:
    """The highest position among these, of the longest form; "" where none has one."""
    return max((event.id for event in events if is_log_id(event.id)), key=lambda id_: (len(id_), id_), default="")


def without_default_port(scheme: str, netloc: str) -> str:
    """Host and port as one name, however its writer spelled the default port."""
    return netloc.removesuffix({"https": ":443", "http": ":80"}.get(scheme, " "))


def _acceptable(link: str, hosts: frozenset[str]) -> str:
    # urlsplit drops line breaks and tabs, so what may stand in a link is settled before it.
    if len(link) > MAX_LINK_BYTES or not re.fullmatch(r"[\x21-\x7e]+", link):
        return ""
    try:
        parts = urlsplit(link)
    except ValueError:
        return ""
    host = without_default_port(parts.scheme, parts.netloc.lower())
    elsewhere = parts.scheme not in ("https", "http", "") or (host != "" and host not in hosts)
    if elsewhere or parts.path != PATH or '"' in parts.query:
        return ""
    leads_on = any(value and name not in _PAGE_MODE for name, value in parse_qsl(parts.query))
    return f"{PATH}?{parts.query}" if leads_on else ""
