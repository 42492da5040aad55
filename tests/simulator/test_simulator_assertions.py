"""The tenant's judgement of client assertions: what Auth0 documents, and nothing softer."""

import base64
import hmac
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from key_case import registered, rsa_key
from multidict import CIMultiDict

from shipper.simulator.answer import Asked
from shipper.simulator.tenant import Tenant
from shipper.simulator.tokens import TYPE

NOW = 1_790_000_000


class Bench:
    """A tenant at NOW that knows one public key, and a client that signs with another library than ours."""

    def __init__(self, folder: Path, **options: Any) -> None:
        file = registered(folder)
        self.tenant = Tenant(clock=lambda: NOW, public_key_file=file, custom_domain="login.example.com", **options)

    def signed(self, key: str = "ours", alg: str = "RS256", **changes: Any) -> str:
        claims = {
            "iss": "simulated-client",
            "sub": "simulated-client",
            "aud": "https://acme.us.auth0.com/",
            "jti": str(uuid4()),
            "iat": NOW,
            "exp": NOW + 60,
        }
        kept = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        return jwt.encode({"alg": alg}, kept, RSAKey.import_key(rsa_key(key)[0]), algorithms=[alg])

    def ask(self, assertion: object, **changes: Any) -> tuple[int, dict[str, Any]]:
        form = {
            "grant_type": "client_credentials",
            "client_id": "simulated-client",
            "audience": "https://acme.us.auth0.com/api/v2/",
            "client_assertion_type": TYPE,
            "client_assertion": assertion,
        }
        headers = CIMultiDict({"Content-Type": "application/json"})
        body = json.dumps({**form, **changes}).encode()
        answer = self.tenant.answer(Asked("POST", "/oauth/token", {}, headers, NOW, body))
        return answer.status, json.loads(answer.body)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": "https://login.example.com/"},
        {"iat": None},
        {"iat": NOW + 10, "exp": NOW + 70},
        {"iat": NOW - 200, "exp": NOW + 1},
        {"exp": NOW + 300},
        {"jti": "x" * 64},
    ],
)
def test_what_is_documented_is_taken(bench: Bench, changes: dict[str, Any]) -> None:
    status, token = bench.ask(bench.signed(**changes))
    assert (status, token["token_type"]) == (200, "Bearer")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"aud": "https://acme.us.auth0.com"}, "aud"),
        ({"aud": "https://acme.us.auth0.com/oauth/token"}, "aud"),
        ({"aud": "https://evil.example/"}, "aud"),
        ({"aud": ["https://acme.us.auth0.com/"]}, "aud"),
        ({"iss": "another"}, "iss"),
        ({"sub": None}, "iss"),
        ({"iat": NOW + 11, "exp": NOW + 60}, "iat"),
        ({"exp": NOW}, "exp"),
        ({"exp": NOW + 311, "iat": NOW + 10}, "exp"),
        ({"exp": NOW + 301}, "exp"),
        ({"exp": None}, "exp"),
        ({"exp": "soon"}, "exp"),
        ({"jti": None}, "jti"),
        ({"jti": ""}, "jti"),
        ({"jti": "x" * 65}, "jti"),
        ({"key": "theirs"}, "signature"),
        ({"alg": "PS256"}, "signature"),
        ({"more": "x" * 2000}, "2048"),
    ],
)
def test_what_is_not_is_refused(bench: Bench, changes: dict[str, Any], word: str) -> None:
    status, body = bench.ask(bench.signed(**changes))
    assert (status, body["error"]) == (401, "invalid_client")
    assert word in body["error_description"]


def test_each_assertion_is_taken_once(bench: Bench) -> None:
    first, second = bench.signed(), bench.signed()
    assert [bench.ask(first)[0], bench.ask(first)[0], bench.ask(second)[0]] == [200, 401, 200]
    assert "before" in bench.ask(first)[1]["error_description"]


def test_one_that_was_refused_is_not_used_up(bench: Bench) -> None:
    assert bench.ask(bench.signed(jti="one", key="theirs"))[0] == 401
    assert bench.ask(bench.signed(jti="one"))[0] == 200


def unsigned(text: str) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    return f"{head}.{text.split('.')[1]}."


def signed_with_the_public_key(text: str) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"HS256"}').rstrip(b"=").decode()
    signed = f"{head}.{text.split('.')[1]}"
    digest = hmac.new(rsa_key()[1].encode(), signed.encode(), sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def altered(text: str) -> str:
    head, payload, signature = text.split(".")
    claims = {**json.loads(base64.urlsafe_b64decode(payload + "==")), "exp": NOW + 61}
    other = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{head}.{other}.{signature}"


@pytest.mark.parametrize(
    "forge",
    [
        unsigned,
        signed_with_the_public_key,
        altered,
        lambda text: text[:-8],
        lambda text: text.rpartition(".")[0],
        lambda text: f"{text}.{text}",
        lambda _: "",
        lambda _: "a.b.c",
        lambda _: None,
        lambda _: {"jwt": 1},
    ],
)
def test_a_forgery_is_refused(bench: Bench, forge: Callable[[str], object]) -> None:
    status, body = bench.ask(forge(bench.signed()))
    assert (status, body["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("changes", [{"client_assertion_type": "jwt"}, {"client_id": "another"}])
def test_the_rest_of_the_form_counts_too(bench: Bench, changes: dict[str, str]) -> None:
    assert bench.ask(bench.signed(), **changes)[0] == 401


def test_the_secret_does_not_do_where_a_key_is_registered(bench: Bench) -> None:
    form = {"client_secret": "simulated-secret", "client_assertion_type": "", "client_assertion": ""}
    assert bench.ask("", **form)[0] == 401


def test_a_file_without_an_rsa_key_is_refused_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "no.pem"
    file.write_text("no key", encoding="utf-8")
    with pytest.raises(ValueError, match="PEM"):
        Tenant(public_key_file=str(file))
    with pytest.raises(FileNotFoundError):
        Tenant(public_key_file=str(tmp_path / "missing.pem"))


def test_a_token_counts_on_the_domain_that_gave_it_alone() -> None:
    tenant = Tenant(clock=lambda: NOW, count=1, plan="none")
    form = {
        "grant_type": "client_credentials",
        "client_id": "simulated-client",
        "client_secret": "simulated-secret",
        "audience": "https://acme.us.auth0.com/api/v2/",
    }
    headers = CIMultiDict({"Content-Type": "application/json", "Host": "login.example.com"})
    given = tenant.answer(Asked("POST", "/oauth/token", {}, headers, NOW, json.dumps(form).encode()))
    bearer = f"Bearer {json.loads(given.body)['access_token']}"

    def status(host: str) -> int:
        asked = CIMultiDict({"Authorization": bearer, "Host": host})
        return tenant.answer(Asked("GET", "/api/v2/logs", {"from": ""}, asked, NOW)).status

    assert [status("login.example.com"), status("acme.us.auth0.com")] == [200, 401]
