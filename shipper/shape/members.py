"""An event's own members: read, or changed at their places in its bytes, where all other bytes stay as they came.

Only the outermost object's members count, never one inside another; a name that stands twice is changed twice. The
standard library's scanner finds the places, since it takes what real logs contain now and then: NaN, halves of
surrogate pairs, control characters.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

LONGEST_NUMBER = 18
"""Of an integer in an event, in characters: a longer one is no time and no status."""


class _Member(NamedTuple):
    name: str
    name_at: slice
    value_at: slice


# Numbers are only stepped over; building them would fail on very long ones.
_tolerant = json.JSONDecoder(strict=False, parse_int=len, parse_float=len)
_object = json.JSONDecoder(strict=False, parse_int=lambda digits: int(digits) if len(digits) <= LONGEST_NUMBER else -1)
_space = re.compile(r"[ \t\r\n]*")


def rename_member(raw: bytes, name: str, new: str) -> bytes:
    """The event with this member under a new name. Unchanged where it is no object or has none such.

    Raises ValueError where its members can't be told apart.
    """
    return _spliced(raw, [(m.name_at, json.dumps(new).encode()) for m in _members(raw) if m.name == name])


def replace_member(raw: bytes, name: str, value: Callable[[int], bytes]) -> bytes:
    """The event with another value in this member: `value` is given the present one's size in bytes.

    Unchanged and raising as `rename_member`.
    """
    places = [m.value_at for m in _members(raw) if m.name == name]
    return _spliced(raw, [(at, value(at.stop - at.start)) for at in places])


def member(raw: bytes, name: str) -> bytes | None:
    """The bytes of this member's value, the first of several; None where there is none such. Raises ValueError."""
    return next((raw[m.value_at] for m in _members(raw) if m.name == name), None)


Change = Callable[[bytes], bytes | None]
"""From a value's JSON to what takes its place; None leaves its member out."""
Changes = Mapping[str, "Change | Changes"]
"""By name: what becomes of a member's value, or of the members within it."""


def change_members(raw: bytes, changes: Changes) -> bytes:
    """The event with other values in these members; where a list stands, in each of its elements.

    All other values stay as they came, byte for byte. Raises ValueError where it is no object, or can't be read.
    """
    text = raw.decode("latin-1")
    try:
        at = _past(text, 0)
        if text[at] != "{":
            raise ValueError("an event that is no object")
        return _changed(text, slice(at, len(text)), changes)
    except (IndexError, RecursionError) as error:
        raise ValueError(f"no event that can be read ({type(error).__name__})") from None


def text_of(value: bytes) -> str:
    """The text of a JSON string."""
    return str(_tolerant.decode(value.decode("utf-8", "surrogateescape")))


def object_in(raw: bytes) -> dict[str, Any]:
    """The outermost object with all its members; none where it is no object, or can't be read."""
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        try:
            found = _object.decode(raw.decode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError):
            return {}
    return found if isinstance(found, dict) else {}


def _changed(text: str, at: slice, changes: Changes) -> bytes:
    """A value with what is in it changed."""
    if text[at.start] == "[":
        return b"[%b]" % b",".join(_changed(text, element, changes) for element in _elements(text, at.start))
    if text[at.start] != "{":
        return text[at].encode("latin-1")
    parts = []
    for one in _walk(text, at.start):
        name, value = text[one.name_at].encode("latin-1"), text[one.value_at].encode("latin-1")
        change = changes.get(one.name if name.isascii() else text_of(name))
        if change is None:
            parts.append(name + b":" + value)
        elif not callable(change):
            parts.append(name + b":" + _changed(text, one.value_at, change))
        elif (changed := change(value)) is not None:
            parts.append(name + b":" + changed)
    return b"{%b}" % b",".join(parts)


def _elements(text: str, at: int) -> Iterator[slice]:
    at = _past(text, at + 1)
    while text[at] != "]":
        _, end = _tolerant.raw_decode(text, at)
        yield slice(at, end)
        at = _past(text, end)
        if text[at] == ",":
            at = _past(text, at + 1)
        elif text[at] != "]":
            raise ValueError("elements without a comma between them")


def _spliced(raw: bytes, changes: list[tuple[slice, bytes]]) -> bytes:
    parts, end = [], 0
    for at, new in changes:
        parts += [raw[end : at.start], new]
        end = at.stop
    return b"".join([*parts, raw[end:]])


def _members(raw: bytes) -> list[_Member]:
    # Latin-1 has one character a byte, so places in the text are places in the bytes.
    text = raw.decode("latin-1")
    try:
        return list(_walk(text, _past(text, 0)))
    except (IndexError, RecursionError) as error:
        raise ValueError(f"no event that can be read ({type(error).__name__})") from None


def _walk(text: str, at: int) -> Iterator[_Member]:
    if text[at] != "{":
        return
    at = _past(text, at + 1)
    while text[at] != "}":
        name, name_end = _tolerant.raw_decode(text, at)
        colon = _past(text, name_end)
        if not isinstance(name, str) or text[colon] != ":":
            raise ValueError("a member without a name")
        value = _past(text, colon + 1)
        _, value_end = _tolerant.raw_decode(text, value)
        yield _Member(name, slice(at, name_end), slice(value, value_end))
        at = _past(text, value_end)
        if text[at] == ",":
            at = _past(text, at + 1)
        elif text[at] != "}":
            raise ValueError("members without a comma between them")


def _past(text: str, at: int) -> int:
    """The place behind white space."""
    found = _space.match(text, at)
    return found.end() if found else at
