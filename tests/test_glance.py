"""What is shown of an event: from both services, and from whatever else comes."""

import json
from typing import Any

import pytest

from shipper import Event
from shipper.shape.glance import Glance, glance


def seen(event: Any, type_: str = "") -> Glance:
    raw = event if isinstance(event, bytes) else json.dumps(event).encode()
    return glance(Event("900", 0, "", type_, raw))


def test_auth0s_events_tell_who_where_and_with_what() -> None:
    full = {
        "user_name": "jane@example.com",
        "user_id": "auth0|1",
        "ip": "203.0.113.7",
        "client_name": "Portal",
        "client_id": "c1",
        "description": "Wrong password.",
    }
    found = seen(full, "fp")
    assert (found.kind.name, found.outcome) == ("Failed Login (Incorrect Password)", "failure")
    assert (found.users, found.ip, found.client) == (("jane@example.com", "auth0|1"), "203.0.113.7", "Portal")
    assert found.words == "Wrong password."
    found = seen({"user_id": "auth0|1", "user_name": "", "client_id": "c1", "description": None}, "s")
    assert (found.users, found.client, found.words) == (("auth0|1",), "c1", "")


def test_logtos_events_tell_it_in_their_payload() -> None:
    key = "Interaction.SignIn.Verification.Password.Submit"
    payload = {
        "result": "Error",
        "error": {"message": "Incorrect account or password.", "code": "session.invalid_credentials", "data": None},
        "ip": "203.0.113.22",
        "applicationId": "a1",
        "params": {"identifier": {"type": "email", "value": "jane@example.com"}},
    }
    found = seen({"id": "x", "key": key, "payload": {**payload, "userId": "u1"}, "createdAt": 1}, key)
    assert (found.kind.category, found.outcome) == ("auth.login", "failure")
    assert (found.users, found.ip, found.client) == (("jane@example.com", "u1"), "203.0.113.22", "a1")
    assert found.words == "session.invalid_credentials"
    assert seen({"payload": {"error": "Error: timeout", "userId": "u1"}}, key).words == "Error: timeout"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'{"cut":',
        b"\xff",
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"n":%b}' % (b"9" * 10_000), id="long"),
        b'{"ip":1,"user_name":["x"],"description":{},"client_id":null}',
        b'{"payload":{"params":[],"error":[1],"ip":{},"userId":7}}',
    ],
)
def test_an_event_of_any_other_form_has_nothing_of_it(raw: bytes) -> None:
    found = seen(raw, "brand_new")
    assert (found.outcome, found.users, found.ip, found.client, found.words) == ("other", (), "", "", "")


def test_odd_texts_in_an_event_leave_the_others_readable() -> None:
    found = seen(b'{"ip":"1.2.3.4","n":NaN,"cut":"\\ud83e","b":"\xff","c":"\x01"}')
    assert found.ip == "1.2.3.4"
