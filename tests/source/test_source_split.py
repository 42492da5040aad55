"""A page's bytes become its events' bytes, whatever the page holds."""

import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shipper.sources.split import MAX_ID, UnreadableError, _split_tolerantly, event_of, events_in, split

ID = "90020261101000000123456000000000000001223372036854775808"
AT_MS = 1_793_491_200_123
NOW = 1_800_000_000_000

ODD = {
    "a lone surrogate escape, from a cut emoji": rb'{"user_name":"x\ud83d","log_id":"%s"}',
    "NaN and the infinities": b'{"risk":NaN,"low":-Infinity,"high":Infinity,"log_id":"%s"}',
    "control characters in a string": b'{"user_agent":"a\x00\x01\x1f\x7fb\tc","log_id":"%s"}',
    "invalid UTF-8": b'{"user_agent":"\xff\xfe\xc3(","log_id":"%s"}',
    "invalid UTF-8 in a key": b'{"\xff\xff":1,"log_id":"%s"}',
    "2**63 and beyond": b'{"a":9223372036854775808,"b":-18446744073709551617,"log_id":"%s"}',
    "a number of 5,000 digits": b'{"n":' + b"9" * 5000 + b',"m":-1e' + b"9" * 400 + b',"log_id":"%s"}',
    "numbers that a re-encoding would change": b'{"a":1.10,"b":1E5,"c":0.1000,"d":-0,"log_id":"%s"}',
    "scope as a string": b'{"scope":"openid profile","log_id":"%s"}',
    "scope as a list": b'{"scope":["openid",null,3],"log_id":"%s"}',
    "details as a string": b'{"details":"it failed","log_id":"%s"}',
    "auth0_client as a list": b'{"auth0_client":[{"name":"x"}],"log_id":"%s"}',
    "45 kB": b'{"details":{"request":{"body":"' + b"x" * 45_000 + b'"}},"log_id":"%s"}',
    "keys twice": b'{"log_id":"first","a":1,"a":2,"log_id":"%s"}',
    "spaces between tokens": b'{ "a" :\t[ 1 , 2 ] , "log_id" : "%s" }',
    "escaped slashes and quotes": rb'{"a":"\/\"\\\u0041","log_id":"%s"}',
    "line separators that JavaScript minds": '{"a":"\u2028\u2029","log_id":"%s"}'.encode(),
    "a string that looks like the end of the page": b'{"a":"}],[{\\"","log_id":"%s"}',
    "an odd key beside": rb'{"\ud83d":[NaN],"log_id":"%s"}',
}


def page(*elements: bytes) -> bytes:
    return b"[" + b",".join(elements) + b"]"


@pytest.mark.parametrize("name", ODD)
def test_an_odd_event_passes_byte_for_byte_between_its_neighbours(name: str) -> None:
    odd = ODD[name].replace(b"%s", ID.encode())
    elements, _ = split(page(b'{"log_id":"a"}', odd, b'{"log_id":"b"}'))
    assert elements == [b'{"log_id":"a"}', odd, b'{"log_id":"b"}']
    found = event_of(odd, NOW)
    assert (found.id, found.time, found.raw) == (ID, AT_MS, odd)
    events, _ = events_in(page(b'{"log_id":"a"}', odd, b'{"log_id":"b"}'), NOW)
    assert events == [event_of(element, NOW) for element in elements]


@pytest.mark.parametrize(
    ("body", "odd"),
    [(b'[{"a":1}]', False), (b"[NaN]", True), (rb'["\ud83d"]', True), (b'["\x01"]', True), (b"[]", False)],
)
def test_what_only_the_tolerant_way_can_split_is_said(body: bytes, odd: bool) -> None:
    assert split(body)[1] is odd


def test_line_breaks_between_tokens_become_spaces() -> None:
    elements, _ = split(b'[\r\n{\r\n"a": 1,\n"b":\r2 },\n{"c":3}\r\n]\r\n')
    assert elements == [b'{  "a": 1, "b": 2 }', b'{"c":3}']


@pytest.mark.parametrize("element", [b"1", b"null", b"true", b'"text"', b"[]", b'[{"log_id":"x"}]', b"-1.5e3"])
def test_an_element_that_is_no_object_passes_with_an_id_of_its_own(element: bytes) -> None:
    elements, _ = split(page(element, b'{"log_id":"b"}'))
    assert elements == [element, b'{"log_id":"b"}']
    found = event_of(element, NOW)
    assert found.id == f"sha256-{sha256(element).hexdigest()}"
    assert (found.time, found.date, found.type) == (NOW, "", "")


@pytest.mark.parametrize(
    ("raw", "id_"),
    [
        (b'{"log_id":"%s","_id":"other"}' % ID.encode(), ID),
        (b'{"_id":"5f1e5a2b9d1c4e0017a0b1c2"}', "5f1e5a2b9d1c4e0017a0b1c2"),
        (b'{"log_id":null,"_id":"x"}', "x"),
        (b'{"log_id":"","_id":"x"}', "x"),
        (b'{"log_id":12,"_id":"x"}', "x"),
        (b'{"log_id":{"a":1},"_id":"x"}', "x"),
        (b'{"log_id":"' + b"9" * (MAX_ID + 1) + b'","_id":"x"}', "x"),
        (rb'{"log_id":"\ud83d","_id":"x"}', "x"),
        (rb'{"log_id":"x","b":"\ud83d"}', "x"),
        (b'{"log_id":' + b"9" * 5000 + b',"_id":"x"}', "x"),
    ],
)
def test_an_event_is_known_by_its_log_id_or_else_by_its_older_id(raw: bytes, id_: str) -> None:
    assert event_of(raw, NOW).id == id_


@pytest.mark.parametrize(
    "raw", [b"{}", b'{"type":"s"}', b'{"log_id":[]}', rb'{"log_id":"\ud83d"}', b'{"log_id":"\xff"}', b'{"log_id"']
)
def test_an_event_without_an_id_is_known_by_its_bytes(raw: bytes) -> None:
    assert event_of(raw, NOW).id == f"sha256-{sha256(raw).hexdigest()}"


@pytest.mark.parametrize(
    ("raw", "time", "date"),
    [
        (b'{"log_id":"%s","date":"2001-01-01T00:00:00Z"}' % ID.encode(), AT_MS, "2001-01-01T00:00:00Z"),
        (b'{"log_id":"x","date":"2026-11-01T00:00:00.123Z"}', AT_MS, "2026-11-01T00:00:00.123Z"),
        (b'{"log_id":"x","date":"2026-11-01T00:00:00.123"}', AT_MS, "2026-11-01T00:00:00.123"),
        (b'{"log_id":"x","date":"2026-11-01T02:00:00.123+02:00"}', AT_MS, "2026-11-01T02:00:00.123+02:00"),
        (b'{"log_id":"x"}', NOW, ""),
        (b'{"log_id":"x","date":null}', NOW, ""),
        (b'{"log_id":"x","date":{"$date":1}}', NOW, ""),
        (b'{"log_id":"x","date":1793491200123}', NOW, ""),
        (b'{"log_id":"x","date":' + b"9" * 5000 + b"}", NOW, ""),
        (b'{"log_id":"x","date":"yesterday"}', NOW, "yesterday"),
        (b'{"log_id":"x","date":"0001-01-01T00:00:00+14:00"}', -62135647200000, "0001-01-01T00:00:00+14:00"),
        (b'{"log_id":"90020261341000000123456000000000000001223372036854775808"}', NOW, ""),
    ],
)
def test_an_events_time_is_its_ids_else_its_dates_else_its_arrival(raw: bytes, time: int, date: str) -> None:
    found = event_of(raw, NOW)
    assert (found.time, found.date) == (time, date)


@pytest.mark.parametrize(
    ("type_", "expected"), [(b'"fp"', "fp"), (b'"brand_new_code"', "brand_new_code"), (b"3", ""), (b"[]", "")]
)
def test_any_type_passes_as_it_was_sent(type_: bytes, expected: str) -> None:
    assert event_of(b'{"type":%s}' % type_, NOW).type == expected


@pytest.mark.parametrize(
    "body",
    [
        b"", b"  ", b"[", b"[1", b"[1,", b'[{"a":1}', b'[{"a":1},{"b"', b"[]]", b"[] x", b"{}", b'{"logs":[]}', b"null",
        b"<!doctype html>", b'["a', b'[{"a":tru}]', b"[1 2]", b"[,1]", b"[\x00]", b"\xef\xbb\xbf[]", b"\xff", b"]",
        b'[{"a":"\\x"}]', b"[{'a':1}]", b"[01x]",
    ],
)  # fmt: skip
def test_what_is_no_array_of_json_is_refused(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        split(body)


@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_without_end_is_refused_and_not_a_crash(brackets: tuple[bytes, bytes]) -> None:
    opening, closing = brackets
    with pytest.raises(UnreadableError):
        split(page(b'{"log_id":"x","deep":' + opening * 200_000 + b"1" + closing * 200_000 + b"}"))


def test_nesting_of_ten_thousand_levels_is_split_exactly_or_refused() -> None:
    deep = b'{"log_id":"x","deep":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    try:
        elements, _ = split(page(deep))
    except UnreadableError:
        elements = [deep]
    assert elements == [deep]
    assert event_of(deep, NOW).raw == deep


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
spaces = st.text(alphabet=" \t\r\n", max_size=3).map(str.encode)
odd_pieces = st.sampled_from([text.replace(b"%s", ID.encode()) for text in ODD.values()])


def as_json(value: Any, *, escaped: bool) -> bytes:
    return json.dumps(value, ensure_ascii=escaped, separators=(",", ":")).encode("utf-8", "surrogatepass")


pieces = st.builds(as_json, values, escaped=st.booleans()) | odd_pieces


@given(st.lists(st.tuples(spaces, pieces, spaces), max_size=6), spaces, spaces)
def test_the_pieces_are_exactly_the_slices_of_the_page(
    parts: list[tuple[bytes, bytes, bytes]], before: bytes, after: bytes
) -> None:
    body = before + b"[" + b",".join(b"".join(part) for part in parts) + b"]" + after
    assert split(body)[0] == [piece.replace(b"\r", b" ").replace(b"\n", b" ") for _, piece, _ in parts]


@given(st.lists(values, max_size=6), st.booleans(), spaces)
def test_both_ways_agree_on_valid_json(elements: list[Any], escaped: bool, space: bytes) -> None:
    raws = [as_json(element, escaped=True) for element in elements]
    body = space + b"[" + (b"," + space).join(raws) + space + b"]" + space
    fast, odd = split(body)
    if not odd:
        assert [bytes(raw) for raw in fast] == _split_tolerantly(body)
    assert fast == raws


@given(st.binary(max_size=200) | st.lists(st.sampled_from(list(b'[]{},:"\\u0 d8e-.1nN\n\xff')), max_size=60).map(bytes))
@example(b"[" * 3000)
@example(b'[{"date":' + b"1" * 5000 + b"}]")
def test_no_bytes_make_the_splitter_fail_in_another_way(body: bytes) -> None:
    try:
        elements, _ = split(body)
    except UnreadableError:
        elements = [body]
        with pytest.raises(UnreadableError):
            events_in(body, NOW)
    else:
        assert events_in(body, NOW)[0] == [event_of(raw, NOW) for raw in elements]
    for raw in elements:
        assert event_of(raw, NOW).raw == raw


@given(pieces)
def test_an_id_and_a_date_can_always_be_stored_as_text(raw: bytes) -> None:
    found = event_of(raw, NOW)
    assert found.id
    assert len((found.id + found.date + found.type).encode()) > 0
