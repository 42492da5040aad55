"""Splits a page into the bytes of its events, which nothing afterwards decodes again.

An odd event never fails its page. What msgspec can't split (a lone surrogate escape from a cut emoji, NaN, control
characters in strings) the standard library's tolerant scanner splits at exactly the same bytes, only slower.
"""

import json
from datetime import UTC, datetime
from hashlib import sha256

import msgspec

from shipper.event import Event
from shipper.sources.start import embedded_time

HASHED = "sha256-"
"""So the id of an event begins that has none of its own; the hash of its bytes follows."""
MAX_ID = 256
"""An id longer than this is no id: it would grow every index and name."""


class UnreadableError(ValueError):
    """The body is no JSON array that can be split."""


class _Usual(msgspec.Struct, gc=False):
    """What nearly all events have: strings."""

    log_id: str = ""
    object_id: str = msgspec.field(name="_id", default="")
    date: str = ""
    type: str = ""


class _Fields(msgspec.Struct):
    log_id: object = None
    object_id: object = msgspec.field(name="_id", default=None)
    date: object = None
    type: object = None


_elements = msgspec.json.Decoder(list[msgspec.Raw])
_usual = msgspec.json.Decoder(_Usual)
_usual_page = msgspec.json.Decoder(list[_Usual])
_fields = msgspec.json.Decoder(_Fields)
# Numbers are only skipped over; building them would fail on very long ones.
_tolerant = json.JSONDecoder(strict=False, parse_int=len, parse_float=len)
_WHITE_SPACE = " \t\r\n"


def split(body: bytes) -> tuple[list[bytes], bool]:
    """The events' bytes in order, and whether the tolerant way was needed. Raises UnreadableError."""
    try:
        elements = [bytes(element) for element in _elements.decode(body)]
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return [_one_line(element) for element in _split_tolerantly(body)], True
    if b"\n" in body or b"\r" in body:
        elements = [_one_line(element) for element in elements]
    return elements, False


def events_in(body: bytes, arrived: int) -> tuple[list[Event], bool]:
    """The page's events in order, and whether it is an odd page. Raises UnreadableError. arrived: as in `event_of`."""
    elements, odd = split(body)
    if not odd:
        try:
            usual = _usual_page.decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            pass
        else:
            return [_event(raw, one, arrived) for raw, one in zip(elements, usual, strict=True)], False
    return [event_of(raw, arrived) for raw in elements], odd


def event_of(raw: bytes, arrived: int) -> Event:
    """The event in these bytes. arrived: milliseconds since 1970 UTC, its time where it says nothing of its own."""
    try:
        return _event(raw, _usual.decode(raw), arrived)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return _odd_event_of(raw, arrived)


def _event(raw: bytes, usual: _Usual, arrived: int) -> Event:
    id_, date, kind = usual.log_id or usual.object_id, usual.date, usual.type
    if not 0 < len(id_) <= MAX_ID or len(date) > MAX_ID or len(kind) > MAX_ID:
        return _odd_event_of(raw, arrived)
    return Event(id_, _time(id_, date, arrived), date, kind, raw)


def _odd_event_of(raw: bytes, arrived: int) -> Event:
    """Field by field, each taken if it is a string that can be one."""
    fields = _read_fields(raw)
    date = text_in(fields.date)
    id_ = text_in(fields.log_id) or text_in(fields.object_id) or f"{HASHED}{sha256(raw).hexdigest()}"
    return Event(id_, _time(id_, date, arrived), date, text_in(fields.type), raw)


def _time(id_: str, date: str, arrived: int) -> int:
    time = embedded_time(id_)
    if time is None:
        time = time_of(date)
    return arrived if time is None else time


def _split_tolerantly(body: bytes) -> list[bytes]:
    text = body.decode("utf-8", "surrogateescape")
    elements: list[bytes] = []
    try:
        at = _skip(text, _expect(text, _skip(text, 0), "["))
        while text[at] != "]":
            _, end = _tolerant.raw_decode(text, at)
            elements.append(text[at:end].encode("utf-8", "surrogateescape"))
            at = _skip(text, end)
            if text[at] != "]":
                at = _skip(text, _expect(text, at, ","))
        if _skip(text, at + 1) != len(text):
            raise UnreadableError("something follows the array")
    except (ValueError, IndexError, RecursionError) as error:
        raise UnreadableError(f"no JSON array ({type(error).__name__})") from None
    return elements


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _WHITE_SPACE:
        at += 1
    return at


def _expect(text: str, at: int, what: str) -> int:
    if text[at] != what:
        raise UnreadableError(f"{what} expected")
    return at + 1


def _one_line(raw: bytes) -> bytes:
    if b"\n" in raw or b"\r" in raw:
        return raw.replace(b"\r", b" ").replace(b"\n", b" ")
    return raw


def _read_fields(raw: bytes) -> _Fields:
    try:
        return _fields.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        pass
    try:
        found = _tolerant.decode(raw.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return _Fields()
    if not isinstance(found, dict):
        return _Fields()
    return _Fields(found.get("log_id"), found.get("_id"), found.get("date"), found.get("type"))


def text_in(value: object) -> str:
    """The value, where it is a string that an id, a date or a type can be; else ""."""
    if not isinstance(value, str) or len(value) > MAX_ID:
        return ""
    try:
        value.encode()
    except UnicodeEncodeError:
        return ""
    return value


def time_of(date: str) -> int | None:
    """Milliseconds since 1970 UTC; None where an event's date says nothing of it."""
    try:
        moment = datetime.fromisoformat(date)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
