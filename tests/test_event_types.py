"""The table of event types: what was published is in it, and what is not known passes."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from shipper.cli import main
from shipper.shape.event_types import CATEGORIES, EVENT_TYPES, EventType, event_type, in_category, outcome_of
from shipper.simulator.event_types import EVENT_TYPES as SIMULATED

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
AUTH0 = [each for each in EVENT_TYPES if not each.code.endswith("*")]
GONE_FROM_TODAYS_PAGES = ("du", "con", "coff", "fapi", "limit_ui")


@pytest.fixture(scope="module")
def published() -> list[dict[str, Any]]:
    file = DATA / "auth0_log_types.json"
    if not file.exists():
        pytest.skip("the collected reference data is not beside this checkout")
    found: list[dict[str, Any]] = json.loads(file.read_bytes())
    return found


def test_every_published_code_has_its_name_and_the_category_of_auth0s_stream_filters(
    published: list[dict[str, Any]],
) -> None:
    assert {each.code for each in AUTH0} == {entry["code"] for entry in published}
    for entry in published:
        ours = event_type(entry["code"])
        assert ours.name.partition(": ")[0] == entry["name"]
        assert ours.category == (entry["stream_filter"] or "other")


def test_outcomes_are_those_of_datadogs_mapping_but_for_a_declined_confirmation(
    published: list[dict[str, Any]],
) -> None:
    with (DATA / "auth0_to_ocsf.csv").open() as file:
        theirs = {row["auth0_type"]: row["status_id"] for row in csv.DictReader(file)}
    outcomes = {"1": "success", "2": "failure"}
    others = [
        entry["code"]
        for entry in published
        if (status := theirs.get(entry["code"])) and event_type(entry["code"]).outcome != outcomes[status]
    ]
    assert others == ["fdecc"]


def test_the_simulated_tenant_and_the_table_know_the_same_codes() -> None:
    assert {each.code for each in AUTH0} == set(SIMULATED)
    assert len(AUTH0) == 186


def test_a_category_that_tells_the_outcome_agrees_with_it_but_for_what_auth0_files_wrongly() -> None:
    wrong = [
        each.code
        for each in AUTH0
        if (each.category.endswith(".success") and each.outcome != "success")
        or (each.category.endswith(".fail") and each.outcome != "failure")
    ]
    assert wrong == ["feta"]


def test_no_two_types_have_one_name_or_one_code() -> None:
    assert len({each.name for each in EVENT_TYPES}) == len({each.code for each in EVENT_TYPES}) == len(EVENT_TYPES)


@pytest.mark.parametrize("code", GONE_FROM_TODAYS_PAGES)
def test_codes_that_are_gone_from_todays_pages_stay(code: str) -> None:
    assert event_type(code).name


@pytest.mark.parametrize("code", ["", "brand_new", "S", "interaction.signin.submit", "Unknow", "\x1b[31m", "s\n"])
def test_an_unknown_code_passes_in_the_category_other(code: str) -> None:
    assert event_type(code) == EventType(code, "other", None, "")
    assert outcome_of(event_type(code), {"type": code}) == "other"


@pytest.mark.parametrize(
    ("key", "category"),
    [
        ("Interaction.SignIn.Verification.Password.Submit", "auth.login"),
        ("Interaction.Register.Submit", "auth.signup"),
        ("Interaction.ForgotPassword.Submit", "user"),
        ("Interaction.End", "other"),
        ("ExchangeTokenBy.ClientCredentials", "auth.token_exchange"),
        ("RevokeToken", "user"),
        ("JwtCustomizer.AccessToken", "actions"),
        ("SamlApplication.Callback", "auth.login"),
        ("Action.PostSignIn", "actions"),
        ("TrustedDevice.Used", "user"),
        ("Unknown", "other"),
    ],
)
def test_logtos_keys_have_a_category_by_their_beginning(key: str, category: str) -> None:
    found = event_type(key)
    assert (found.code, found.category, bool(found.name)) == (key, category, True)


@pytest.mark.parametrize(
    ("payload", "outcome"),
    [
        ({"result": "Success"}, "success"),
        ({"result": "Error"}, "failure"),
        ({"result": "Later"}, "other"),
        ({"result": ["Success"]}, "other"),
        ({}, "other"),
        ("Success", "other"),
    ],
)
def test_logtos_events_say_their_outcome_themselves(payload: Any, outcome: str) -> None:
    assert outcome_of(event_type("Interaction.SignIn.Submit"), {"payload": payload}) == outcome


def test_auth0s_events_have_the_tables_outcome_whatever_they_contain() -> None:
    assert outcome_of(event_type("fp"), {"payload": {"result": "Success"}}) == "failure"


def test_a_category_contains_those_below_it() -> None:
    assert in_category("auth.login.fail", "auth.login.fail")
    assert in_category("auth.login.fail", "auth.login")
    assert not in_category("auth.login.fail", "auth.log")
    assert not in_category("auth.login", "auth.login.fail")
    assert {"auth.login.fail", "auth.login", "other"} <= CATEGORIES


# -- shipper types -----------------------------------------------------------------------------------------------------


def types(*words: str) -> str:
    done = CliRunner().invoke(main, ["types", *words])
    assert done.exit_code == 0
    return done.output


def codes(*words: str) -> list[str]:
    return [json.loads(line)["code"] for line in types(*words, "--json").splitlines()]


def test_types_lists_all_of_them() -> None:
    assert codes() == [each.code for each in EVENT_TYPES]
    table = types()
    assert all(each.name in table for each in EVENT_TYPES)


def test_a_pattern_is_found_in_code_name_and_category_in_any_case() -> None:
    assert codes("SMS") == ["gd_send_sms", "gd_send_sms_failure"]
    assert codes("incorrect password") == ["fp"]
    assert codes("auth.silent*fail") == ["fdelsa", "fsa"]


def test_a_known_code_or_key_alone_is_that_type() -> None:
    assert codes("f") == ["f"]
    assert codes("Interaction.Register.Submit") == ["Interaction.Register.Submit"]
    assert "by its result" in types("Interaction.Register.Submit")


def test_what_nothing_fits_is_said_without_what_a_terminal_acts_on() -> None:
    assert types("\x1b]0;x") == "no type that is known fits \\u001b]0;x\n"
    assert codes("\x1b]0;x") == []
