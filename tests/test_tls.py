"""TLS fails closed, for every client that we have and on every way: certificates, names, versions."""

import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from tls_case import CLIENTS, LIBRARIES, ask, make_certificates, proxy, serving, site

from shipper.config import Settings
from shipper.config.fields import keys_in, table_of
from shipper.sink import load_sink_type, sink_types
from shipper.sources.kinds import SOURCE_TYPES
from shipper.tls import Tls, tls_trouble

ROOT = Path(__file__).parents[1]
OURS = (*CLIENTS, "datadog")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@asynccontextmanager
async def way(kind: str) -> AsyncIterator[str]:
    """The setting `proxy` for a direct connection, or for one through a proxy that is there."""
    if kind == "direct":
        yield "none"
    else:
        async with proxy() as found:
            yield found.url()


def trust(certificates: Path, **files: str) -> dict[str, Any]:
    return {"ca_file": certificates / "authority.pem", **{key: certificates / name for key, name in files.items()}}


ways = pytest.mark.parametrize("kind", ["direct", "proxied"])
clients = pytest.mark.parametrize("client", [*OURS, *LIBRARIES])
pytestmark = pytest.mark.usefixtures("aws")


@ways
@clients
async def test_a_certificate_of_the_configured_authority_is_trusted(certificates: Path, client: str, kind: str) -> None:
    with site(serving(certificates)) as there:
        async with way(kind) as setting:
            assert await ask(client, there.url, proxy=setting, tls=trust(certificates)) == ("ok", "")
    assert len(there.requests) == 1


@ways
@clients
@pytest.mark.parametrize(
    ("server", "trusted", "note"),
    [
        ({}, False, r"not trusted \((self.signed|unable to get local issuer).*\): .*set tls.ca_file"),
        ({"name": "old"}, True, r"not trusted \(certificate has expired\): have it renewed"),
        ({"name": "other"}, True, r"not trusted \((IP address mismatch.*|it is for another host)\): use the name"),
        ({"demand_client": True}, True, r"failed \(\w*CERTIFICATE_REQUIRED\): .*set tls.cert_file and tls.key_file"),
        ({"old": True}, True, r"failed \(\w*(PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL)\): only TLS 1.1 or older"),
    ],
    ids=["unknown authority", "expired", "another host", "a client certificate is missing", "TLS 1.1"],
)
async def test_nothing_is_sent_to_whom_cannot_be_trusted_and_the_note_says_what_to_do(
    certificates: Path, client: str, kind: str, server: dict[str, Any], trusted: bool, note: str
) -> None:
    tls = trust(certificates) if trusted else {}
    with site(serving(certificates, **server)) as there:
        async with way(kind) as setting:
            reason, told = await ask(client, there.url, proxy=setting, tls=tls)
    assert reason == "tls", told
    assert re.search(note, told), told
    if client in OURS:
        assert ("through the proxy" in told) == (kind == "proxied")
    assert there.requests == []


@ways
@clients
async def test_a_client_certificate_is_shown_where_one_is_demanded(certificates: Path, client: str, kind: str) -> None:
    tls = trust(certificates, cert_file="client.pem", key_file="client.key")
    with site(serving(certificates, demand_client=True)) as there:
        async with way(kind) as setting:
            assert await ask(client, there.url, proxy=setting, tls=tls) == ("ok", "")
    assert len(there.requests) == 1


@clients
async def test_a_client_certificate_that_the_other_end_does_not_know_is_told_as_ours(
    certificates: Path, client: str
) -> None:
    tls = trust(certificates, cert_file="stranger.pem", key_file="stranger.key")
    with site(serving(certificates, demand_client=True)) as there:
        reason, told = await ask(client, there.url, proxy="none", tls=tls)
    assert (reason, there.requests) == ("tls", [])
    assert "our client certificate is of an authority that is not known there" in told


@pytest.mark.parametrize("client", OURS)
async def test_a_tls_server_is_not_spoken_to_in_clear(certificates: Path, client: str) -> None:
    with site(serving(certificates)) as there:
        reason, _ = await ask(client, there.url.replace("https:", "http:"), proxy="none")
        assert reason in ("unreachable", "bad_answer")
        assert there.requests == []


# -- what can be set ---------------------------------------------------------------------------------------------------


def models() -> Iterator[type[BaseModel]]:
    yield Settings
    yield from SOURCE_TYPES.values()
    yield from (load_sink_type(entry).Config for entry in sink_types().values())


def test_every_source_and_sink_has_the_same_three_settings_of_trust_and_none_that_trusts_anybody() -> None:
    keys = {".".join(key) for model in models() for key in keys_in(model)}
    assert not [key for key in keys if re.search("insecure|verify|skip|trust|check_host", key)]
    assert {key for key in keys if "tls" in key} == {"tls.ca_file", "tls.cert_file", "tls.key_file"}
    for model in models():
        if model is not Settings:
            assert table_of(model.model_fields["tls"]) is Tls or model.__name__.startswith("Stdout")


def test_no_code_of_ours_loosens_what_python_checks() -> None:
    loosens = re.compile(r"insecure|CERT_NONE|CERT_OPTIONAL|check_hostname|_create_unverified|verify=False|ssl=False")
    files = [path for folder in ("shipper", "sinks") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 50
    assert [path.name for path in files if loosens.search(path.read_text())] == []
    context = Tls().context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_connection_that_went_away_is_no_refusal() -> None:
    assert tls_trouble(ssl.SSLEOFError(8, "EOF occurred in violation of protocol")) is None
    assert tls_trouble(ConnectionResetError(104, "reset")) is None


def test_what_was_in_hand_by_chance_is_not_the_cause() -> None:
    in_hand = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]")
    chained, unchained = OSError("no route"), OSError("no route")
    chained.__context__ = unchained.__context__ = in_hand
    unchained.__suppress_context__ = True
    assert tls_trouble(chained) is not None
    assert tls_trouble(unchained) is None
