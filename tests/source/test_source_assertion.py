"""private_key_jwt: what an assertion holds, and that the tenant gets a fresh one with each try."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import RSAKey
from key_case import encrypted_key, registered, rsa_key
from source_case import START, Rig, altered, events, rigged

from shipper.secret import Secret
from shipper.sources.assertion import KeyUnusableError, client_assertion
from shipper.sources.auth0_config import Auth0Config
from shipper.sources.start import EARLIEST
from shipper.sources.trouble import Trouble

TARGET = f"/api/v2/logs?from={EARLIEST}&take=1"


def settings(key: str | Path = "") -> dict[str, Any]:
    """A source that shows a key: this one, or the one in this file."""
    secret = Secret(path=key) if isinstance(key, Path) else Secret(key or rsa_key()[0])
    return {"client_id": "simulated-client", "private_key": secret}


def assertions(rig: Rig) -> list[dict[str, Any]]:
    """The claims of each assertion that reached the tenant."""
    forms = [json.loads(one.body) for one in rig.tenant.requests if one.path == "/oauth/token"]
    key = RSAKey.import_key(rsa_key()[1])
    return [jwt.decode(form["client_assertion"], key, algorithms=["RS256"]).claims for form in forms]


# The assertion itself


@pytest.mark.parametrize("bits", [2048, 4096])
def test_another_library_reads_what_was_signed(bits: int) -> None:
    private, public = rsa_key("large" if bits == 4096 else "ours", bits)
    text = client_assertion(private, client_id="x" * 64, audience="https://acme.us.auth0.com/", now=1_790_000_000)
    token = jwt.decode(text, RSAKey.import_key(public), algorithms=["RS256"])
    jti = token.claims.pop("jti")
    assert token.header == {"alg": "RS256", "typ": "JWT"}
    assert token.claims == {
        "iss": "x" * 64,
        "sub": "x" * 64,
        "aud": "https://acme.us.auth0.com/",
        "iat": 1_790_000_000,
        "exp": 1_790_000_060,
    }
    assert 30 < len(jti) <= 64
    assert len(text) <= 2048


def test_no_two_assertions_are_the_same() -> None:
    made = {client_assertion(rsa_key()[0], client_id="c", audience="https://a/", now=7) for _ in range(20)}
    assert len(made) == 20


def test_one_that_the_tenant_would_not_take_is_not_made() -> None:
    with pytest.raises(KeyUnusableError, match="2048 at most"):
        client_assertion(rsa_key()[0], client_id="x" * 1000, audience="https://a/", now=7)


@pytest.mark.parametrize(
    ("base_url", "audience"),
    [
        ("", "https://acme.us.auth0.com/"),
        ("https://login.example.com", "https://login.example.com/"),
        ("https://login.example.com/", "https://login.example.com/"),
        ("https://Login.Example.com:443", "https://login.example.com/"),
        ("http://127.0.0.1:8080", "https://acme.us.auth0.com/"),
    ],
)
def test_it_is_for_the_tenant_or_its_custom_domain_with_a_slash_at_the_end(base_url: str, audience: str) -> None:
    config = Auth0Config.model_validate(
        {"type": "auth0", "domain": "acme.us.auth0.com", "base_url": base_url, **settings()}
    )
    assert config.assertion_audience == audience


# With a tenant that checks it


async def test_a_registered_key_reads_everything(tmp_path: Path) -> None:
    tenant = {"events": events(250), "public_key_file": registered(tmp_path)}
    async with rigged(tmp_path / "journal", tenant=tenant, **settings()) as rig:
        assert await rig.drained() == rig.issued()
        assert rig.token_requests == 1
        [form] = [json.loads(one.body) for one in rig.tenant.requests if one.path == "/oauth/token"]
        assert set(form) == {"grant_type", "client_id", "audience", "client_assertion_type", "client_assertion"}
        assert form["audience"] == "https://acme.us.auth0.com/api/v2/"


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_a_try_after_a_failure_has_a_fresh_assertion_since_the_first_one_is_used_up(
    tmp_path: Path, status: int
) -> None:
    tenant = {"events": events(20), "public_key_file": registered(tmp_path)}
    async with rigged(tmp_path / "journal", tenant=tenant, **settings()) as rig:
        # The tenant takes the assertion, and then its answer is lost.
        lost = altered(rig.tenant, lambda asked, answer: replace(answer, status=status, body=b""))
        rig.tenant.token_script.extend([lost] * 3)
        assert await rig.drained() == rig.issued()
        claims = assertions(rig)
        assert len({one["jti"] for one in claims}) == len(claims) == 4
        assert [one["iat"] for one in claims] == sorted({one["iat"] for one in claims})


@pytest.mark.parametrize("skew", [-3600, -60, 60, 3600, 10**8])
async def test_a_wrong_clock_of_ours_costs_one_request_once(tmp_path: Path, skew: int) -> None:
    tenant = {
        "events": events(20),
        "public_key_file": registered(tmp_path),
        "skew_secs": skew,
        "token_life_secs": 1_000.0,
    }
    async with rigged(tmp_path / "journal", tenant=tenant, **settings()) as rig:
        await rig.source.api.get(TARGET)
        assert rig.token_requests == 2
        assert [one["iat"] for one in assertions(rig)] == [START, START + skew]
        rig.clock.secs = 900.0
        await rig.source.api.get(TARGET)
        assert rig.token_requests == 3
        assert assertions(rig)[2]["iat"] == START + skew + 900


@pytest.mark.parametrize("skew", [-9, 9])
async def test_a_clock_within_what_the_tenant_allows_costs_nothing(tmp_path: Path, skew: int) -> None:
    tenant = {"events": events(20), "public_key_file": registered(tmp_path), "skew_secs": skew}
    async with rigged(tmp_path / "journal", tenant=tenant, **settings()) as rig:
        await rig.source.api.get(TARGET)
        assert rig.token_requests == 1


async def test_a_key_that_is_not_registered_holds_the_source_and_is_asked_about_once_a_try(tmp_path: Path) -> None:
    tenant = {"events": events(20), "public_key_file": registered(tmp_path, "theirs")}
    async with rigged(tmp_path / "journal", tenant=tenant, **settings()) as rig:
        await rig.source.run(once=True)
        assert (rig.source.health.state, rig.source.health.reason) == ("held", "auth")
        assert "registered" in rig.source.health.note
        assert rig.token_requests == rig.count("shipper_source_failures_total", reason="auth") > 1
        assert rig.asked == []


async def test_another_key_in_the_file_is_used_at_the_next_try(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text(rsa_key("theirs")[0], encoding="utf-8")
    tenant = {"events": events(20), "public_key_file": registered(tmp_path)}
    async with rigged(tmp_path / "journal", tenant=tenant, **settings(file)) as rig:
        with pytest.raises(Trouble, match="401"):
            await rig.source.api.get(TARGET)
        file.write_text("\n" + rsa_key()[0] + "\n\n", encoding="utf-8")
        assert await rig.drained() == rig.issued()


def ec_key() -> str:
    key = generate_ec_key(SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        ("text", "can't be used: it is not a private key in PEM"),
        ("cut", "can't be used: it is not a private key in PEM"),
        ("not ASCII", "can't be used: it is not a private key in PEM"),
        ("its other half", "can't be used: it is not a private key in PEM"),
        ("encrypted", "can't be used: it is encrypted"),
        ("elliptic", "can't be used: it is not an RSA key"),
        ("short", "can't be used: it has 1024 bits"),
    ],
)
async def test_a_key_that_cannot_be_used_is_told_without_its_content(tmp_path: Path, kind: str, note: str) -> None:
    key = {
        "text": "c4n4ry-not-a-key",
        "cut": rsa_key()[0][:400],
        "not ASCII": "c4n4ry-schlüssel",
        "its other half": rsa_key()[1],
        "encrypted": encrypted_key(),
        "elliptic": ec_key(),
        "short": rsa_key("short", 1024)[0],
    }[kind]
    async with rigged(tmp_path, tenant={"events": events(5)}, **settings(key)) as rig:
        await rig.source.run(once=True)
        assert (rig.source.health.state, rig.source.health.reason) == ("held", "auth")
        assert note in rig.source.health.note
        assert rig.tenant.requests == []
        assert key[5:30] not in str(rig.capture.entries)


# Settings


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ({"client_secret": "s", "client_id": "c"}, True),
        ({"private_key": "k", "client_id": "c"}, True),
        ({"token": "t"}, True),
        ({"private_key": "k"}, False),
        ({"client_secret": "s"}, False),
        ({"private_key": "k", "client_secret": "s", "client_id": "c"}, False),
        ({"private_key": "k", "token": "t", "client_id": "c"}, False),
        ({"private_key": "k", "token": "t", "client_secret": "s", "client_id": "c"}, False),
        ({"client_id": "c"}, False),
    ],
)
def test_there_is_one_way_to_authenticate(given: dict[str, str], *, fits: bool) -> None:
    whole = {"type": "auth0", "domain": "acme.us.auth0.com", **given}
    if fits:
        assert Auth0Config.model_validate(whole).enabled
    else:
        with pytest.raises(ValueError, match=r"exactly one of|needs client_id beside"):
            Auth0Config.model_validate(whole)
