"""When credentials end, as metrics: of real certificates and tokens, and of what is none."""

import base64
import os
import time
from pathlib import Path

import pytest
from expiry_case import certificate, settings, token

from shipper.config import Settings
from shipper.expiry import ExpiryCollector, certificate_end, token_end
from shipper.sources.auth0_config import Auth0Config


def ends(used: Settings) -> dict[tuple[str, str], float]:
    (family,) = ExpiryCollector(lambda: used).collect()
    return {(sample.labels["name"], sample.labels["credential"]): sample.value for sample in family.samples}


def test_certificate_and_fixed_token_tell_their_end_and_so_do_those_that_take_their_place(tmp_path: Path) -> None:
    certificate(tmp_path, 30)
    (tmp_path / "acme.token").write_text(token({"exp": 1_800_000_000, "scope": "read:logs"}))
    used = settings(tmp_path)
    assert ends(used) == {
        ("sources.acme", "token"): 1_800_000_000,
        ("sinks.siem", "certificate"): pytest.approx(time.time() + 30 * 86_400, abs=120),
    }
    certificate(tmp_path, 90)
    os.utime(tmp_path / "client.pem", (0, 0))
    (tmp_path / "acme.token").write_text(token({"exp": 1_900_000_000}))
    os.utime(tmp_path / "acme.token", (0, 0))
    assert ends(used) == {
        ("sources.acme", "token"): 1_900_000_000,
        ("sinks.siem", "certificate"): pytest.approx(time.time() + 90 * 86_400, abs=120),
    }


def test_what_is_not_in_use_or_gone_tells_nothing(tmp_path: Path) -> None:
    certificate(tmp_path, 30)
    (tmp_path / "acme.token").write_text("opaque")
    used = settings(tmp_path)
    assert set(ends(used)) == {("sinks.siem", "certificate")}
    assert ends(settings(tmp_path, '"splunk_hec"', '"splunk_hec"\nenabled = false')) == {}
    (tmp_path / "client.pem").unlink()
    (tmp_path / "acme.token").unlink()
    assert ends(used) == {}


@pytest.mark.parametrize(
    "text",
    ["", "opaque", "a.b", "a.b.c", "..", f"a.{'e30'}.c", "a.W10.c", "ä.ö.ü", token([1]), token({"exp": "soon"}),
     token({"exp": True}), token({"exp": -1}), token({}), "a." + base64.b64encode(b"[" * 9000).decode() + ".c"],
)  # fmt: skip
def test_a_token_that_tells_no_end_has_none(text: str) -> None:
    assert token_end(text) is None


def test_a_file_without_a_certificate_tells_no_end(tmp_path: Path) -> None:
    (tmp_path / "client.pem").write_text("no certificate")
    assert certificate_end(tmp_path / "client.pem", 0) is None


def test_only_a_token_that_nobody_renews_is_watched() -> None:
    renewed = Auth0Config.model_validate(
        {"type": "auth0", "domain": "acme.us.auth0.com", "client_id": "id", "client_secret": "secret"}
    )
    assert renewed.fixed_token is None
