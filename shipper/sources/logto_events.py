"""The events in a page of Logto's audit log: the bytes of each, its id, its createdAt and its key."""

from hashlib import sha256
from typing import Any

import msgspec

from shipper.event import Event
from shipper.shape.members import object_in
from shipper.sources.split import HASHED, MAX_ID, split, text_in

LATEST_MS = 253_402_300_800_000
"""The year 10000: a createdAt beyond it is none."""


class _Usual(msgspec.Struct, gc=False):
    """What nearly all events have."""

    id: str
    created: int = msgspec.field(name="createdAt")
    key: str = ""


_usual = msgspec.json.Decoder(_Usual)
_usual_page = msgspec.json.Decoder(list[_Usual])


def events_in(body: bytes, newest: int) -> tuple[list[Event], bool]:
    """The page's events as they were served, and whether it is an odd page. Raises UnreadableError.

    newest: milliseconds since 1970, the time of an event at the beginning that tells none. Any other such event has
    that of the one before it, which is no older.
    """
    elements, odd = split(body)
    if not odd:
        try:
            usual = _usual_page.decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            pass
        else:
            if all(map(_is_usual, usual)):
                return [_event(raw, one) for raw, one in zip(elements, usual, strict=True)], False
    events = []
    for raw in elements:
        event = event_of(raw, newest)
        newest = event.time
        events.append(event)
    return events, odd


def event_of(raw: bytes, arrived: int) -> Event:
    """The event in these bytes. arrived: milliseconds since 1970, its time where it says nothing of its own."""
    try:
        usual = _usual.decode(raw)
        if _is_usual(usual):
            return _event(raw, usual)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        pass
    found = object_in(raw)
    created: Any = found.get("createdAt")
    told = isinstance(created, int | float) and not isinstance(created, bool)
    time = int(created) if told and 0 <= created < LATEST_MS else arrived
    id_ = text_in(found.get("id")) or f"{HASHED}{sha256(raw).hexdigest()}"
    return Event(id_, time, "", text_in(found.get("key")), raw)


def _is_usual(usual: _Usual) -> bool:
    return 0 < len(usual.id) <= MAX_ID and 0 <= usual.created < LATEST_MS and len(usual.key) <= MAX_ID


def _event(raw: bytes, usual: _Usual) -> Event:
    return Event(usual.id, usual.created, "", usual.key, raw)
