import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper import Event
from shipper.shape import envelope, with_tenant_name


def event(raw: bytes, id_: str = "900123") -> Event:
    return Event(id=id_, time=0, date="", type="", raw=raw)


def test_the_envelope_is_that_of_auth0s_own_streams() -> None:
    assert envelope(event(b'{"type":"s"}')) == b'{"log_id":"900123","data":{"type":"s"}}'


@pytest.mark.parametrize(
    "raw",
    [
        b'{"z":1,"a":2}',
        b'{"n":123456789012345678901234567890,"f":1.10,"e":1E400}',
        '{"name":"Jürgen 🦉"}'.encode(),
        b'{"cut":"\\ud83e"}',
        b'{"not JSON":NaN}',
        b'{"not UTF-8":"\xff"}',
        b'{ "spaced" : 1 }',
        b'"a string"',
        b"null",
        b"[]",
    ],
)
def test_without_a_tenant_an_events_bytes_never_change(raw: bytes) -> None:
    assert envelope(event(raw)) == b'{"log_id":"900123","data":%b}' % raw


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"a":1}', b'{"tenant_name":"acme","a":1}'),
        (b"{}", b'{"tenant_name":"acme"}'),
        (b"{ \t}", b'{"tenant_name":"acme"}'),
        (b'{ "a" : 1 }', b'{"tenant_name":"acme","a" : 1 }'),
        (b'{"details":{"tenant_name":"x"}}', b'{"tenant_name":"acme","details":{"tenant_name":"x"}}'),
        (b'{"text":"\\"tenant_name\\":1"}', b'{"tenant_name":"acme","text":"\\"tenant_name\\":1"}'),
    ],
)
def test_tenant_name_is_put_in_front_where_it_is_missing(raw: bytes, expected: bytes) -> None:
    assert with_tenant_name(raw, "acme") == expected


@pytest.mark.parametrize(
    "raw",
    [
        b'{"tenant_name":"other"}',
        b'{"a":1,"tenant_name":null}',
        b'{"tenant_name":1E400}',
        b'{"tenant_name":"cut \\ud83e"}',
        # Whether these have one can't be told for sure: they stay as they are.
        b'{"a":NaN,"tenant_name":"other"}',
        b'{"a":' + b"[" * 5000 + b"]" * 5000 + b',"tenant_name":"other"}',
        # No objects.
        b'"tenant_name"',
        b'["tenant_name"]',
        b"7",
    ],
)
def test_tenant_name_is_left_alone_where_there_is_one_or_no_place_for_it(raw: bytes) -> None:
    assert with_tenant_name(raw, "acme") == raw


@pytest.mark.parametrize("id_", ["", 'a"b', "a\\b", "sha256-0f", "é", "日本", "\u2028", "\ud83e", "\n", "a" * 5000])
def test_any_id_makes_valid_json_of_one_line(id_: str) -> None:
    got = envelope(event(b"{}", id_))
    assert json.loads(got) == {"log_id": id_, "data": {}}
    assert b"\n" not in got


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text() | st.just("tenant_name"), JSON, max_size=5)


@given(OBJECTS, st.text(min_size=1, alphabet="abc-0"), st.text(st.characters(codec="utf-8")), st.booleans())
def test_an_envelope_holds_the_event_and_its_tenant(
    data: dict[str, object], tenant: str, id_: str, spaced: bool
) -> None:
    raw = json.dumps(data, separators=(", ", ": ") if spaced else (",", ":")).encode()
    got = json.loads(envelope(event(raw, id_), tenant))
    assert got == {"log_id": id_, "data": {"tenant_name": tenant, **data}}


@given(OBJECTS)
def test_a_spliced_event_ends_with_the_bytes_that_came(data: dict[str, object]) -> None:
    raw = json.dumps(data).encode()
    assert with_tenant_name(raw, "acme").endswith(raw[1:])
    assert msgspec.json.decode(with_tenant_name(raw, "acme"))
