"""The page splitter beside the standard library's parser: what that accepts is split at the same places."""

import json
import re
from typing import Any

from fuzz_case import fuzz
from hypothesis import strategies as st

from shipper.sources.split import MAX_ID, UnreadableError, events_in, split

# Numbers as they are spelled: only whether the same text stands at the same place is asked.
_reference = json.JSONDecoder(strict=False, parse_int=str, parse_float=str, parse_constant=str)
_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["\ud83e", "\x00", "\u2028", "]", "},{", '"', "\\", "9" * 56, "2026-01-02T03:04:05.678Z"])
)  # fmt: skip
_names = st.sampled_from(["log_id", "_id", "date", "type", "details", "data", ""]) | st.text(max_size=8)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_names, inner, max_size=4), max_leaves=12
)
_spaces = st.sampled_from([(",", ":"), (", ", ": "), (" ,\r\n", "\t:\n"), (",\n", ":")])


def _encoded(value: Any, spaces: tuple[str, str], ascii_only: Any, around: str) -> bytes:
    text = around + json.dumps(value, separators=spaces, ensure_ascii=ascii_only) + around
    return text.encode("utf-8", "surrogatepass")


_pages = st.builds(
    _encoded, st.lists(_values, max_size=5), _spaces, st.booleans(), st.sampled_from(["", " ", "\r\n", "\t\n"])
)
_tokens = st.sampled_from([
    b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\\u", b"\\ud83d", b"\\udd89", b"\xff", b"\xc3",
    b"\xed\xa0\x80", b"NaN",
    b"-Infinity", b"1e999", b"-", b"0", b"01", b"9" * 30, b"null", b"tru", b"\x00", b"\n", b"\r",
    b"\xef\xbb\xbf", b" ", b"\x0b",
    b'{"log_id":', b'"date":"', b"[" * 200, b"]" * 200,
])  # fmt: skip


def _mutated(page: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """The page with pieces cut out and put in. changes: where (share of the length), how much out, what in."""
    for where, out, into in changes:
        at = int(where * len(page))
        page = page[:at] + into + page[at + out :]
    return page


_changes = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 6), _tokens | st.binary(max_size=4)), min_size=1, max_size=4
)
_broken = st.builds(_mutated, _pages, _changes)


def one_line(raw: bytes) -> bytes:
    return raw.replace(b"\r", b" ").replace(b"\n", b" ")


def accepted(body: bytes) -> list[Any] | None:
    """The page as the standard library reads it; None where it does not, or where it is no array."""
    try:
        found = _reference.decode(body.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def nothing_but_commas_between(elements: list[bytes], body: bytes) -> None:
    """The elements are the body's own bytes, in order, with only white space and one comma between each two."""
    at, gaps, flat = 0, [], one_line(body)
    for element in elements:
        start = flat.index(element, at)
        gaps.append(flat[at:start])
        at = start + len(element)
    gaps.append(flat[at:])
    allowed: list[str] = [r"\s*\[\s*", *[r"\s*,\s*"] * (len(elements) - 1), r"\s*,?\s*\]\s*"]
    if not elements:
        allowed = [r"\s*\[\s*\]\s*"]
    for gap, pattern in zip(gaps, allowed, strict=True):
        assert re.fullmatch(pattern.encode(), gap), (gap, pattern)


def check(body: bytes) -> None:
    expected = accepted(one_line(body))
    try:
        elements, _ = split(body)
    except UnreadableError:
        assert expected is None, "the standard library reads this page"
        return
    nothing_but_commas_between(elements, body)
    if expected is not None:
        assert [_reference.decode(element.decode("utf-8", "surrogateescape")) for element in elements] == expected


@fuzz(_pages)
def test_every_page_of_json_is_split_where_the_standard_library_splits_it(body: bytes) -> None:
    assert accepted(body) is not None
    check(body)


@fuzz(_broken)
def test_a_broken_page_is_split_the_same_way_or_refused(body: bytes) -> None:
    check(body)


@fuzz(_pages | _broken)
def test_every_event_of_a_page_can_be_kept_and_found_again(body: bytes) -> None:
    try:
        events, _ = events_in(body, 1_790_000_000_000)
    except UnreadableError:
        return
    assert [event.raw for event in events] == split(body)[0]
    for event in events:
        assert b"\n" not in event.raw
        assert b"\r" not in event.raw
        assert 0 < len(event.id) <= MAX_ID
        assert all(len(text.encode()) >= len(text) for text in (event.id, event.date, event.type))
        assert isinstance(event.time, int)
