"""The formats of an event on its way out: judged by the schemas that others read them by, and read back from."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from golden_batch import golden_batch
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from shipper import Event, Origin
from shipper.commands.export import export
from shipper.shape import ecs, ocsf
from shipper.shape.event_types import CATEGORIES, EVENT_TYPES, event_type, in_category
from shipper.shape.formats import FORMATS, Format, lines, overhead, parts
from shipper.shape.tables import Table
from shipper.sources import logto_events, split

SHARED = Path(__file__).parents[3] / "shared"
AUTH0 = Origin(name="acme", type="auth0", host="acme.us.auth0.com", tenant="acme")
LOGTO = Origin(name="own", type="logto", host="auth.acme.example", tenant="acme")
MAPPED: tuple[Format, ...] = ("ecs", "ocsf")

# ECS reference, "ECS Categorization Fields": which event.type is expected in which event.category.
EXPECTED_TYPES = {
    "api": "access admin allowed change creation deletion denied end info start user",
    "authentication": "end info start",
    "configuration": "access change creation deletion info",
    "iam": "admin change creation deletion group info user",
    "intrusion_detection": "allowed denied info",
    "process": "access change end info start",
    "session": "end info start",
}


def auth0(**members: Any) -> Event:
    """An event as Auth0 has it. type_: its type."""
    fields = {"date": "2026-01-02T03:04:05.678Z", "type": members.pop("type_", "s"), "log_id": "900123", **members}
    return split.event_of(json.dumps(fields).encode(), 0)


def logto(key: str, **payload: Any) -> Event:
    fields = {"id": "x3k9m2p7q1w8", "key": key, "payload": {"key": key, **payload}, "createdAt": 1_767_323_045_678}
    return logto_events.event_of(json.dumps(fields).encode(), 0)


def mapped(format_: Format, event: Event, source: Origin = AUTH0) -> dict[str, Any]:
    [line] = lines(format_, [event], source)
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


# -- by the schemas ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classes() -> dict[int, Draft202012Validator]:
    schemas = OcsfJsonSchemaEmbedded(get_ocsf_schema(ocsf.VERSION))
    names = {
        ocsf.BASE: "base_event",
        ocsf.ACCOUNT_CHANGE: "account_change",
        ocsf.AUTHENTICATION: "authentication",
        ocsf.API_ACTIVITY: "api_activity",
    }
    return {
        uid: Draft202012Validator(schemas.get_class_schema(class_name=name, profiles=[])) for uid, name in names.items()
    }


WHO = [
    {},
    {"user_id": "auth0|1", "user_name": "ada@example.com"},
    {"client_id": "c1", "client_name": "Acme Web"},
    {"user_name": "a name with spaces", "ip": "203.0.113.1", "user_agent": "Chrome", "hostname": "login.acme.example"},
    {"client_id": "c1", "ip": "2001:db8::1", "session_id": "s1"},
    {
        "user_id": "auth0|1",
        "ip": "xxxx",
        "description": "what happened",
        "details": {
            "request": {"method": "patch", "path": "/api/v2/users/1", "auth": {"user": {"email": "ada@example.com"}}},
            "response": {"statusCode": 201},
            "error": {"message": "no such user"},
        },
    },
]


@pytest.mark.parametrize("who", WHO)
def test_ocsfs_own_schema_takes_every_type_of_event(
    who: dict[str, Any], classes: dict[int, Draft202012Validator]
) -> None:
    for kind in EVENT_TYPES:
        found = mapped("ocsf", auth0(type_=kind.code.replace("*", "Submit"), **who))
        complaints = [f"{error.json_path}: {error.message}" for error in classes[found["class_uid"]].iter_errors(found)]
        assert not complaints, kind.code


def test_ocsfs_own_schema_would_notice(classes: dict[int, Draft202012Validator]) -> None:
    found = mapped("ocsf", auth0(user_id="auth0|1"))
    wrong = [{**found, "status_id": 7}, {**found, "invented": 1}, {k: v for k, v in found.items() if k != "user"}]
    assert not any(classes[ocsf.AUTHENTICATION].is_valid(one) for one in wrong)


@pytest.mark.parametrize("who", WHO)
def test_each_ecs_event_type_is_expected_in_some_category_and_each_category_has_one(who: dict[str, Any]) -> None:
    for kind in EVENT_TYPES:
        found = mapped("ecs", auth0(type_=kind.code.replace("*", "Submit"), **who))["event"]
        categories, types = found.get("category", []), set(found["type"])
        if categories:
            expected = [set(EXPECTED_TYPES[category].split()) for category in categories]
            assert types <= set.union(*expected), kind.code
            assert all(types & of_category for of_category in expected), kind.code


@pytest.mark.parametrize("table", [ecs._TABLE, ocsf._TABLE, ocsf._SEVERITIES])
def test_the_tables_name_nothing_that_is_not_there(table: Table) -> None:
    codes = {kind.code for kind in EVENT_TYPES}
    for name in table.names:
        known = name in codes or any(in_category(category, name) for category in CATEGORIES)
        begins = name.endswith("*") and any(code.startswith(name[:-1]) for code in codes)
        assert known or begins or event_type(name).name, name


def test_a_table_goes_by_the_code_then_its_beginning_then_the_nearest_category() -> None:
    table = Table("user 1\nuser.fail 2\ngd_* 3\ngd_send_* 4\nfn 5", columns=1)
    rows = {code: table.row(event_type(code)) for code in ("fn", "fv", "sv", "gd_module_switch", "gd_send_sms", "s")}
    assert rows == {
        "fn": ("5",),
        "fv": ("2",),
        "sv": ("1",),
        "gd_module_switch": ("3",),
        "gd_send_sms": ("4",),
        "s": None,
    }


# -- what stands where -------------------------------------------------------------------------------------------------


def test_a_login_by_ecs() -> None:
    event = auth0(
        user_id="auth0|1", user_name="ada@example.com", ip="203.0.113.1", user_agent="Chrome", description=None,
        hostname="login.acme.example", client_name="Acme Web", session_id="s1",
    )  # fmt: skip
    assert mapped("ecs", event) == {
        "event": {
            "id": "900123",
            "kind": "event",
            "category": ["authentication"],
            "type": ["start"],
            "outcome": "success",
            "action": "success-login",
            "code": "s",
            "provider": "auth0",
            "dataset": "auth0.logs",
        },
        "@timestamp": "2026-01-02T03:04:05.678Z",
        "ecs": {"version": "8.11.0"},
        "message": "Success Login",
        "log": {"level": "info"},
        "source": {"address": "203.0.113.1", "ip": "203.0.113.1"},
        "user": {"id": "auth0|1", "name": "ada@example.com"},
        "user_agent": {"original": "Chrome"},
        "url": {"domain": "login.acme.example"},
        "organization": {"name": "acme"},
        "related": {"ip": ["203.0.113.1"], "user": ["auth0|1", "ada@example.com"]},
        "auth0": {"logs": {"data": json.loads(event.raw)}},
    }


def test_a_failed_login_by_ocsf() -> None:
    event = auth0(
        type_="fp", user_id="auth0|1", user_name="ada@example.com", ip="203.0.113.1", user_agent="Chrome",
        description="Wrong email or password.", client_name="Acme Web", client_id="c1", session_id="s1",
        hostname="login.acme.example", details={"error": {"message": "wrong"}},
        **{"$event_schema": {"version": "1.0.0"}},
    )  # fmt: skip
    assert mapped("ocsf", event) == {
        "metadata": {
            "uid": "900123",
            "version": "1.5.0",
            "product": {"name": "Auth0", "vendor_name": "Auth0"},
            "event_code": "fp",
            "log_name": "auth0.logs",
            "log_version": "1.0.0",
            "original_time": "2026-01-02T03:04:05.678Z",
            "tenant_uid": "acme",
        },
        "category_uid": 3,
        "class_uid": 3002,
        "activity_id": 1,
        "type_uid": 300201,
        "time": 1_767_323_045_678,
        "severity_id": 2,
        "status_id": 2,
        "status_detail": "wrong",
        "message": "Wrong email or password.",
        "actor": {"app_name": "Acme Web", "app_uid": "c1"},
        "src_endpoint": {"ip": "203.0.113.1"},
        "http_request": {"user_agent": "Chrome"},
        "user": {"uid": "auth0|1", "name": "ada@example.com", "email_addr": "ada@example.com", "type_id": 1},
        "service": {"name": "Acme Web", "uid": "c1"},
        "dst_endpoint": {"hostname": "login.acme.example"},
        "session": {"uid": "s1"},
        "unmapped": json.loads(event.raw),
    }


def test_what_an_administrator_did_says_by_which_request() -> None:
    event = auth0(
        type_="sapi", user_id="auth0|1", ip="203.0.113.1", description="Update a client",
        details={"request": {"method": "patch", "path": "/api/v2/clients/c1"}, "response": {"statusCode": 200}},
    )  # fmt: skip
    by_ecs, by_ocsf = mapped("ecs", event), mapped("ocsf", event)
    assert by_ecs["event"]["type"] == ["change"]
    assert by_ecs["http"] == {"request": {"method": "PATCH"}, "response": {"status_code": 200}}
    assert (by_ocsf["class_uid"], by_ocsf["activity_id"]) == (ocsf.API_ACTIVITY, 3)
    assert by_ocsf["api"] == {"operation": "PATCH /api/v2/clients/c1", "response": {"code": 200}}
    assert by_ocsf["actor"] == {"user": {"uid": "auth0|1", "type_id": 1}}
    assert "http_method" not in by_ocsf["http_request"]  # 1.5.0 knows no PATCH, and PUT would be a lie


def test_a_machine_that_asks_for_itself_is_the_one_that_authenticates() -> None:
    found = mapped("ocsf", auth0(type_="seccft", client_id="c1", client_name="Nightly job"))
    assert found["class_uid"] == ocsf.AUTHENTICATION
    assert found["user"] == {"uid": "c1", "name": "Nightly job", "type_id": 3}


@pytest.mark.parametrize(
    ("key", "ecs_type", "ocsf_type"),
    [
        ("Interaction.SignIn.Submit", ["start"], 300201),
        ("Interaction.SignIn.Verification.Password.Submit", ["info"], 300299),
        ("Interaction.Register.Submit", ["user", "creation"], 300101),
        ("ExchangeTokenBy.RefreshToken", ["info"], 300299),
    ],
)
def test_logtos_events_are_read_in_their_payload(key: str, ecs_type: list[str], ocsf_type: int) -> None:
    event = logto(
        key, result="Error", ip="203.0.113.1", userAgent="Chrome", userId="u1", error={"code": "session.invalid"},
        params={"identifier": {"type": "email", "value": "ada@example.com"}},
    )  # fmt: skip
    by_ecs, by_ocsf = mapped("ecs", event, LOGTO), mapped("ocsf", event, LOGTO)
    assert (by_ecs["event"]["type"], by_ecs["event"]["action"]) == (ecs_type, key)
    assert by_ecs["event"]["outcome"] == "failure"
    assert by_ecs["user"] == {"id": "u1", "name": "ada@example.com", "email": "ada@example.com"}
    assert by_ecs["@timestamp"] == "2026-01-02T03:04:05.678Z"
    assert by_ecs["logto"]["logs"]["data"] == json.loads(event.raw)
    assert (by_ocsf["type_uid"], by_ocsf["status_id"], by_ocsf["status_detail"]) == (ocsf_type, 2, "session.invalid")


def test_an_unknown_type_passes_and_says_so() -> None:
    event = auth0(type_="brand_new", ip="203.0.113.1", client_id="c1")
    by_ecs, by_ocsf = mapped("ecs", event)["event"], mapped("ocsf", event)
    assert (by_ecs["action"], by_ecs["type"], by_ecs["outcome"]) == ("unknown-brand_new", ["info"], "unknown")
    assert "category" not in by_ecs
    assert (by_ocsf["class_uid"], by_ocsf["status_id"], by_ocsf["activity_name"]) == (6003, 0, "brand_new")


def test_what_is_no_address_is_not_called_one() -> None:
    """A store that keeps addresses as such would refuse the whole event."""
    for nonsense in ("xxxx", "fe80::1%eth0", "203.0.113.256", "203.0.113.1, 10.0.0.1"):
        event = auth0(user_id="u", ip=nonsense)
        assert mapped("ecs", event)["source"] == {"address": nonsense}
        assert "src_endpoint" not in mapped("ocsf", event)


# -- nothing is lost by it ---------------------------------------------------------------------------------------------

hostile = st.text(st.characters(), max_size=300) | st.sampled_from(
    [
        '","data":',
        '","unmapped":{',
        '":{"logs":{"data":',
        '{"log_id":"',
        "\x00" * 3000,
        '"' * 3000,
        "\U0001f989" * 900,
        "\ud83e",
    ]
)
strange_events = st.builds(
    lambda members, id_: Event(id_, 1_767_323_045_678, "", "s", json.dumps(members).encode()),
    st.dictionaries(
        st.sampled_from(["user_id", "user_name", "ip", "user_agent", "client_id", "description", "hostname", "log_id"]),
        hostile,
    ),
    hostile.map(lambda text: text[:40] or "1"),
)


@pytest.mark.parametrize("format_", ["envelope", *MAPPED])
@pytest.mark.parametrize("source", [AUTH0, LOGTO], ids=["auth0", "logto"])
@given(event=strange_events)
@example(event=Event("1", 0, "", "s", b"{}"))
def test_a_line_gives_back_the_id_and_the_very_bytes(format_: Format, source: Origin, event: Event) -> None:
    [line] = lines(format_, [event], source, add_tenant_name=False)
    assert parts(line) == (event.id, event.raw)
    assert b"\n" not in line


@pytest.mark.parametrize("format_", MAPPED)
@given(event=strange_events)
def test_a_line_takes_no_more_room_than_is_reckoned_with(format_: Format, event: Event) -> None:
    [line] = lines(format_, [event], AUTH0)
    assert len(line) <= len(event.raw) + overhead(format_)


def test_texts_are_cut_only_where_they_would_take_too_much_room_and_the_event_has_them_whole() -> None:
    event = auth0(user_agent="x" * 2000, description="y" * 3000, user_id="auth0|1")
    found = mapped("ecs", event)
    assert found["user_agent"]["original"] == "x" * 1024
    assert found["user"]["id"] == "auth0|1"
    assert found["auth0"]["logs"]["data"]["user_agent"] == "x" * 2000


@pytest.mark.parametrize(
    "raw",
    [
        b'{"log_id":"1","type":"s","details":{"a":"b","data":1}}',
        b'{"event":{"id":"1","data":1}}',
        b'{"metadata":{"uid":"1"},"unmapped":1}',
        b'"a string"',
        b'{"log_id":"1',
    ],
)
def test_an_event_that_is_alone_on_its_line_is_not_taken_for_a_format(raw: bytes) -> None:
    assert parts(raw) == ("", raw)


@pytest.mark.parametrize("format_", MAPPED)
def test_the_golden_batch(format_: Format) -> None:
    """The bytes are a decision: whoever changes them here changes what is indexed in every installation."""
    batch = golden_batch()
    expected = (Path(__file__).parent / "golden" / f"{format_}.txt").read_bytes()
    assert b"".join(line + b"\n" for line in lines(format_, batch.events, batch.source)) == expected


def test_the_commands_offer_every_format() -> None:
    [option] = [one for one in export.params if one.name == "format_"]
    assert tuple(option.type.choices) == FORMATS  # type: ignore[attr-defined]


# -- others' data ------------------------------------------------------------------------------------------------------


def sample_events() -> Iterator[tuple[Event, Origin]]:
    for file in sorted((SHARED / "samples").glob("*.json")):
        for found in json.loads(file.read_bytes()) if not file.name.startswith("wire") else []:
            raw = json.dumps(found.get("event", found)).encode()
            yield (logto_events.event_of(raw, 0), LOGTO) if "logto" in file.name else (split.event_of(raw, 0), AUTH0)


@pytest.mark.skipif(not SHARED.is_dir(), reason="recorded events are third-party data, and not here")
def test_ocsfs_own_schema_takes_recorded_events(classes: dict[int, Draft202012Validator]) -> None:
    count = 0
    for event, source in sample_events():
        found = mapped("ocsf", event, source)
        assert not [error.message for error in classes[found["class_uid"]].iter_errors(found)], event.type
        count += 1
    assert count > 100


# We say more than Datadog's pipeline here: every kind of login is one, a sign-up makes an account, factors come and go.
SAYS_MORE = {
    *("fc", "fco", "fcoa", "fens", "scoa", "sens", "ss", "fs"),
    *("gd_enrollment_complete", "gd_unenroll", "gd_update_device_account", "organization_member_added", "ublkdu"),
}


@pytest.mark.skipif(not SHARED.is_dir(), reason="Datadog's table is third-party data, and not here")
def test_the_classes_are_those_of_datadogs_pipeline_but_for_those_named() -> None:
    differ = set()
    with (SHARED / "data" / "auth0_to_ocsf.csv").open() as file:
        for row in csv.DictReader(file):
            found = mapped("ocsf", auth0(type_=row["auth0_type"], user_id="u", ip="203.0.113.1"))
            theirs = (int(row["ocsf_class_uid"].split()[0]), row["activity_id"])
            ours = (found["class_uid"], str(found["activity_id"]))
            if ours != theirs and not (ours == (6003, "99") and theirs[0] == 6003):
                differ.add(row["auth0_type"])
    assert differ == SAYS_MORE
