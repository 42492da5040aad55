"""How a Logto tenant is asked: the token, what is sent where, and the settings that say so."""

import base64
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from logto_case import LOGS, events, logto_rigged
from pydantic import ValidationError

from shipper.secret import Secret
from shipper.simulator.answer import Answer
from shipper.sources.kinds import kind_of
from shipper.sources.logto_config import LogtoConfig


def config(**settings: Any) -> LogtoConfig:
    fixed: dict[str, Any] = {
        "type": "logto",
        "endpoint": "https://acme.logto.app",
        "app_id": "app",
        "app_secret": Secret("secret"),
    }
    return LogtoConfig.model_validate({**fixed, **settings})


async def test_the_token_is_asked_for_as_oauth_says(in_memory_path: Path) -> None:
    odd = {"client_id": "app:1 ü", "client_secret": "p%s+/:é"}
    tenant = {"events": events(3), **odd}
    proof: dict[str, Any] = {"app_id": odd["client_id"], "app_secret": Secret(odd["client_secret"])}
    async with logto_rigged(in_memory_path, tenant=tenant, **proof) as rig:
        assert await rig.drained() == events(3)
        [asked] = rig.asked_at("/oidc/token")
        assert asked.method == "POST"
        name, _, secret = (
            base64.b64decode(asked.headers["Authorization"].removeprefix("Basic ")).decode().partition(":")
        )
        assert (name, secret) == ("app%3A1+%C3%BC", "p%25s%2B%2F%3A%C3%A9")
        assert parse_qs(asked.body.decode()) == {
            "grant_type": ["client_credentials"],
            "resource": ["https://default.logto.app/api"],
            "scope": ["all"],
        }


async def test_one_token_serves_many_pages_and_is_renewed_once_when_it_is_refused(in_memory_path: Path) -> None:
    made = events(500)
    async with logto_rigged(in_memory_path, tenant={"events": made}) as rig:
        rig.tenant.script.extend([lambda _: None, lambda _: rig.tenant.revoke_tokens()])
        assert await rig.drained() == made
        assert rig.token_requests == 2
        assert rig.count("shipper_source_requests_total", code="401") == 1


@pytest.mark.parametrize(
    ("tenant", "settings", "reason", "words"),
    [
        ({"client_secret": "another"}, {}, "auth", "check endpoint, app_id and app_secret"),
        ({}, {"resource": "https://acme.logto.app/api"}, "auth", "check resource"),
        ({"scope": "nothing"}, {}, "forbidden", "role for the Logto Management API"),
    ],
)
async def test_what_is_wrong_with_the_application_is_told_apart(
    in_memory_path: Path, tenant: dict[str, Any], settings: dict[str, Any], reason: str, words: str
) -> None:
    async with logto_rigged(in_memory_path, tenant={"events": events(3), **tenant}, **settings) as rig:
        await rig.source.run(once=True)
        health = rig.source.health
        assert (health.state, health.reason) == ("held", reason)
        assert words in health.note
        assert await rig.stored() == []


async def test_a_redirect_is_not_followed_and_takes_no_credentials_along(in_memory_path: Path) -> None:
    async with (
        logto_rigged(in_memory_path, tenant={"events": events(3)}) as rig,
        logto_rigged(in_memory_path / "other") as other,
    ):
        away = Answer(302, {"Location": other.running.url + LOGS})
        rig.tenant.script.append(away)
        rig.tenant.token_script.append(Answer(307, {"Location": other.running.url + "/oidc/token"}))
        assert await rig.drained() == events(3)
        assert other.tenant.requests == []
        assert rig.count("shipper_source_failures_total", reason="redirected") == 2


async def test_a_400_names_logtos_code_and_nothing_else_of_its_answer(in_memory_path: Path) -> None:
    async with logto_rigged(in_memory_path, tenant={"events": events(3)}) as rig:
        secret = b'{"code":"guard.invalid_input","message":"who said c4n4ry","data":{"c4n4ry":1}}'
        for body in (secret, b"<c4n4ry>"):
            rig.tenant.script.append(Answer(400, {}, body))
            assert await rig.drained() == events(3)
        notes = " ".join(rig.notes())
        assert "guard.invalid_input" in notes
        assert "no error code" in notes
        assert "c4n4ry" not in str(rig.capture.entries)


async def test_a_rate_limit_is_waited_for_as_long_as_it_says(in_memory_path: Path) -> None:
    async with logto_rigged(in_memory_path, tenant={"events": events(3)}) as rig:
        rig.tenant.script.append(Answer(429, {"Retry-After": "17"}))
        assert await rig.drained() == events(3)
        assert rig.sleeps.secs == [18.0]


async def test_one_event_is_had_by_its_id(in_memory_path: Path) -> None:
    from logto_case import id_of

    from shipper.sources.trouble import Trouble

    async with logto_rigged(in_memory_path, tenant={"events": events(3)}) as rig:
        kind = kind_of(rig.config)
        assert await kind.event("acme", id_of(events(3)[1]), rig.log) == events(3)[1]
        with pytest.raises(Trouble) as caught:
            await kind.event("acme", "nobody/../else", rig.log)
        assert caught.value.reason == "not_found"


async def test_a_check_tells_of_the_token_and_of_how_much_there_is(in_memory_path: Path) -> None:
    async with logto_rigged(
        in_memory_path / "1", tenant={"events": events(1_200, step_ms=100_000), "scope": "all more"}
    ) as rig:
        words = await kind_of(rig.config).check("acme", rig.log)
        # The clock of this machine is another than the tenant's, whose Date says what a day is.
        assert words == "one page read; token's scopes: all\n1,200 events, 864 of the last day"
    async with logto_rigged(in_memory_path / "2", tenant={"events": [], "knows_times": False}) as rig:
        assert "no events yet" in await kind_of(rig.config).check("acme", rig.log)
    async with logto_rigged(
        in_memory_path / "3", tenant={"events": events(500, step_ms=900_000), "knows_times": False}
    ) as rig:
        assert "does not know start_time" in await kind_of(rig.config).check("acme", rig.log)


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "resource", "indicator", "tenant"),
    [
        ("https://acme.logto.app", "", "https://acme.logto.app/api", "acme"),
        ("https://AcMe.Logto.App:443/", "", "https://acme.logto.app/api", "acme"),
        ("https://id.example.com", "", "https://default.logto.app/api", "id.example.com"),
        ("http://127.0.0.1:3001", "", "https://default.logto.app/api", "127.0.0.1:3001"),
        ("https://id.example.com", "https://acme.logto.app/api", "https://acme.logto.app/api", "id.example.com"),
    ],
)
def test_endpoint_and_resource(endpoint: str, resource: str, indicator: str, tenant: str) -> None:
    found = config(endpoint=endpoint, resource=resource)
    assert (found.indicator, found.tenant) == (indicator, tenant)
    origin = kind_of(found).origin("west")
    assert (origin.name, origin.type, origin.tenant) == ("west", "logto", tenant)
    assert found.tenant_key == f"logto:{found.endpoint}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "http://id.example.com"},
        {"endpoint": "https://id.example.com/oidc"},
        {"endpoint": "id.example.com"},
        {"app_id": ""},
        {"app_secret": None},
        {"start": "9" * 56},
        {"start": "2026-11-01T00:00:00"},
        {"window_margin_secs": 0},
        {"log_key": "k" * 300},
        {"token": "x"},
    ],
)
def test_settings_that_can_not_be_right_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**wrong)
