"""Members are found at their places in an event's bytes, and nothing else is touched."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper import rename_member, replace_member


def mark(size: int) -> bytes:
    return b'{"was":%d}' % size


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"date":"d","type":"s"}', b'{"new":"d","type":"s"}'),
        (b'{ "a" : 1 ,\t"date" : null }', b'{ "a" : 1 ,\t"new" : null }'),
        (b'{"d\\u0061te":1}', b'{"new":1}'),
        (b'{"date":1,"date":2}', b'{"new":1,"new":2}'),
        (b'{"details":{"date":1},"text":"\\"date\\":1","date":{"date":[{"date":2}]}}',
         b'{"details":{"date":1},"text":"\\"date\\":1","new":{"date":[{"date":2}]}}'),
        ('{"name":"Jürgen 🦉","date":1}'.encode(), '{"name":"Jürgen 🦉","new":1}'.encode()),
        (b'{"not JSON":NaN,"control":"\x01","bad":"\xff","cut":"\\ud83e","date":-Infinity}',
         b'{"not JSON":NaN,"control":"\x01","bad":"\xff","cut":"\\ud83e","new":-Infinity}'),
        (b'{"long":' + b"9" * 10_000 + b',"date":1E400}', b'{"long":' + b"9" * 10_000 + b',"new":1E400}'),
        (b" \n{}", b" \n{}"),
        (b'{"other":"date"}', b'{"other":"date"}'),
        (b'"date"', b'"date"'),
        (b'["date"]', b'["date"]'),
        (b"null", b"null"),
    ],
)  # fmt: skip
def test_only_the_events_own_member_gets_the_new_name(raw: bytes, expected: bytes) -> None:
    assert rename_member(raw, "date", "new") == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"details":{"a":[1,2]},"b":1}', b'{"details":{"was":11},"b":1}'),
        (b'{"b":{"details":1},"details" : "x" }', b'{"b":{"details":1},"details" : {"was":3} }'),
        (b'{"details":1,"details":22}', b'{"details":{"was":1},"details":{"was":2}}'),
        (b"{}", b"{}"),
    ],
)
def test_only_the_members_value_is_replaced(raw: bytes, expected: bytes) -> None:
    assert replace_member(raw, "details", mark) == expected


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"date"',
        b'{"date" 1}',
        b'{"date":}',
        b'{"a":1 "date":2}',
        b"{1:2}",
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b',"date":1}',
    ],
)
def test_an_event_that_cannot_be_read_is_no_guess(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        rename_member(raw, "date", "new")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("date"), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text() | st.just("date"), JSON, max_size=5), st.booleans(), st.booleans())
def test_the_event_means_the_same_under_the_new_name(data: dict[str, object], ascii_: bool, spaced: bool) -> None:
    separators = (", ", " : ") if spaced else (",", ":")
    raw = json.dumps(data, ensure_ascii=ascii_, separators=separators).encode("utf-8", "surrogatepass")
    renamed = rename_member(raw, "date", "another name")
    assert list(json.loads(renamed).items()) == [("another name" if k == "date" else k, v) for k, v in data.items()]
    assert re.sub(rb'"another name"', b'"date"', renamed) == raw
