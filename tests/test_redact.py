"""What leaves this machine otherwise than it came: by which rules, and that nothing else changes."""

import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from shipper import Secret
from shipper.shape.redact import Redact

KEY = "made-up"


def redacted(raw: bytes, **fields: Any) -> bytes:
    """Fields: a path with _ for its dots."""
    rules = {path.replace("__", "."): method for path, method in fields.items()}
    return Redact(fields=rules, hmac_key=Secret(KEY)).apply(raw)


def pseudonym(text: str) -> str:
    return "hmac:" + hmac.digest(KEY.encode(), text.encode("utf-8", "surrogatepass"), "sha256").hex()


@pytest.mark.parametrize(
    ("sent", "leaves"),
    [
        (b'"203.0.113.7"', b'"203.0.113.0"'),
        (b'"2001:db8:1:2:3::7"', b'"2001:db8:1::"'),
        (b'"2001:DB8:1:2::7"', b'"2001:db8:1::"'),
        (rb'"203.0.113\u002e7"', b'"203.0.113.0"'),
        (b'"fe80::1%eth0"', b'"fe80::"'),
        # What is no address might be anything, so nothing of it leaves.
        (b'"ada@example.com"', b"null"),
        (b'""', b"null"),
        (b"null", b"null"),
        (b"3405803783", b"null"),
        (b'["203.0.113.7"]', b"null"),
        (b'{"a":1}', b"null"),
    ],
)
def test_an_address_becomes_its_network(sent: bytes, leaves: bytes) -> None:
    assert redacted(b'{"ip":%b}' % sent, ip="truncate") == b'{"ip":%b}' % leaves


def test_a_pseudonym_is_what_anyone_with_the_key_computes() -> None:
    """printf %s ada@example.com | openssl dgst -sha256 -hmac made-up"""
    expected = "d3d490d9be5dc9c91a62005e28ae1498387f1bc91ff508bb902984372cb27e1b"
    assert (
        redacted(b'{"user_name":"ada@example.com"}', user_name="hmac") == b'{"user_name":"hmac:%b"}' % expected.encode()
    )


def test_the_same_text_has_the_same_pseudonym_however_it_is_written() -> None:
    plain, escaped = '{"user_name":"Jürgen"}'.encode(), rb'{"user_name":"J\u00fcrgen"}'
    assert redacted(plain, user_name="hmac") == redacted(escaped, user_name="hmac")
    assert json.loads(redacted(plain, user_name="hmac")) == {"user_name": pseudonym("Jürgen")}


def test_what_is_no_text_gets_a_pseudonym_too_and_nothing_stays_nothing() -> None:
    found = json.loads(redacted(b'{"a":12,"b":{"c":[1]},"c":null,"d":""}', a="hmac", b="hmac", c="hmac", d="hmac"))
    assert found == {"a": pseudonym("12"), "b": pseudonym('{"c":[1]}'), "c": None, "d": ""}


def test_another_key_gives_another_pseudonym(tmp_path: Path) -> None:
    """And a new one in its file holds from then on."""
    file = tmp_path / "key"
    file.write_text("one\n")
    redact = Redact(fields={"u": "hmac"}, hmac_key=Secret(path=file))
    first = redact.apply(b'{"u":"ada"}')
    assert redact.apply(b'{"u":"ada"}') == first
    file.write_text("another\n")
    assert redact.apply(b'{"u":"ada"}') != first


@pytest.mark.parametrize(
    ("raw", "leaves"),
    [
        (b'{"drop":1}', b"{}"),
        (b'{"drop":1,"b":2}', b'{"b":2}'),
        (b'{"a":1,"drop":{"x":[1,2]},"b":2}', b'{"a":1,"b":2}'),
        (b'{"a":1,"drop":2,"drop":3}', b'{"a":1}'),
        (rb'{"a":1,"dr\u006fp":"hidden"}', b'{"a":1}'),
        (b' { "a" : 1 , "drop" : 2 } ', b'{"a":1}'),
        (b'{"details":{"drop":1}}', b'{"details":{"drop":1}}'),
        (b'{"n":123456789012345678901234567890,"f":1.10,"e":1E400,"x":NaN,"drop":0,"u":"J\\u00fc\xff"}',
         b'{"n":123456789012345678901234567890,"f":1.10,"e":1E400,"x":NaN,"u":"J\\u00fc\xff"}'),
    ],
)  # fmt: skip
def test_a_field_is_left_out_and_all_else_keeps_its_bytes(raw: bytes, leaves: bytes) -> None:
    assert redacted(raw, drop="drop") == leaves


@pytest.mark.parametrize(
    ("raw", "leaves"),
    [
        (b'{"a":{"b":{"c":1,"d":2}}}', b'{"a":{"b":{"d":2}}}'),
        (b'{"a":[{"b":{"c":1}},{"b":[{"c":2},{"d":3}]},7]}', b'{"a":[{"b":{}},{"b":[{},{"d":3}]},7]}'),
        (b'{"a":"b.c","b":{"c":1}}', b'{"a":"b.c","b":{"c":1}}'),
        (b'{"a":{"b":"no object"}}', b'{"a":{"b":"no object"}}'),
        (b'{"a":{"b":[]}}', b'{"a":{"b":[]}}'),
    ],
)
def test_a_path_leads_into_objects_and_lists(raw: bytes, leaves: bytes) -> None:
    assert redacted(raw, a__b__c="drop") == leaves


@pytest.mark.parametrize("name", ["größe", "名前"])
def test_a_name_counts_however_it_is_written(name: str) -> None:
    for raw in (json.dumps({name: 1}).encode(), json.dumps({name: 1}, ensure_ascii=False).encode()):
        assert Redact(fields={name: "drop"}).apply(raw) == b"{}"
    mixed = '{"\\u540d前":1}'.encode()
    assert Redact(fields={"名前": "drop"}).apply(mixed) == b"{}"


@pytest.mark.parametrize(
    "raw",
    [
        *(b'"text"', b"[1]", b"null", b"", b'{"a":1', b'{"a" 1}', b'{"a":1 "b":2}', b'{"ip":}', b"{1:2}"),
        *(b'{"a":[{"b":1} {"b":2}]}', b'{"a":' + b"[" * 100_000),
    ],
)
def test_what_can_t_be_read_does_not_leave(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"no |without|Expecting|object"):
        redacted(raw, a__b="drop", ip="drop")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcxyz"), inner, max_size=4),
    max_leaves=15,
)


@given(event=st.dictionaries(st.sampled_from("abcxyz"), json_values), spaces=st.booleans())
@example(event={"a": [[{"b": 1}]]}, spaces=True)
def test_nothing_but_what_is_named_changes(event: dict[str, Any], spaces: bool) -> None:
    raw = json.dumps(event, indent=1 if spaces else None, ensure_ascii=spaces).encode("utf-8", "surrogatepass")
    found = Redact(fields={"a.b": "drop", "x": "hmac", "y": "truncate"}, hmac_key=Secret(KEY)).apply(raw)

    def without_b(value: Any) -> Any:
        if isinstance(value, list):
            return [without_b(one) for one in value]
        return {name: one for name, one in value.items() if name != "b"} if isinstance(value, dict) else value

    expected = {**event, **({"a": without_b(event["a"])} if "a" in event else {})}
    got = json.loads(found.decode("utf-8", "surrogatepass"))
    changed = {"x", "y"}
    assert {name: one for name, one in got.items() if name not in changed} == {
        name: one for name, one in expected.items() if name not in changed
    }
    assert set(got) == set(expected)
    assert "y" not in got or got["y"] is None or got["y"] != event["y"]
    assert "x" not in got or got["x"] in (None, "") or got["x"].startswith("hmac:")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"fields": {"user_name": "hmac"}}, "hmac_key or hmac_key_file must be set"),
        ({"fields": {"user_name": "mask"}}, "'truncate', 'hmac' or 'drop'"),
        ({"fields": {"a..b": "drop"}}, "must name fields like"),
        ({"fields": {"": "drop"}}, "must name fields like"),
        ({"fields": {"details": "drop", "details.request": "drop"}}, "and another one within it"),
        ({"fields": {"log_id": "drop"}}, "must not name an event's id"),
        ({"fields": {"type": "hmac"}}, "time or type"),
        ({"field": {}}, "Extra inputs"),
    ],
)
def test_rules_that_can_t_hold_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words.replace("(", r"\(")):
        Redact(**settings)
