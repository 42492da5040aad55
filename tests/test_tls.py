"""TLS fails closed, for every client that we have and on every way: certificates, names, versions."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tls_case import CLIENTS, ask, make_certificates, proxy, serving, site


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
clients = pytest.mark.parametrize("client", CLIENTS)


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
        ({}, False, r"certificate is not trusted.*\((self.signed|unable to get local issuer)"),
        ({"name": "old"}, True, r"certificate is not trusted.*\(certificate has expired\)"),
        ({"name": "other"}, True, r"certificate is not trusted.*mismatch"),
        ({"demand_client": True}, True, r"TLS connection failed.*CERTIFICATE_REQUIRED"),
        ({"old": True}, True, r"TLS handshake failed.*(PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL)"),
    ],
    ids=["unknown authority", "expired", "another host", "a client certificate is missing", "TLS 1.1"],
)
async def test_nothing_is_sent_to_whom_cannot_be_trusted(
    certificates: Path, client: str, kind: str, server: dict[str, Any], trusted: bool, note: str
) -> None:
    tls = trust(certificates) if trusted else {}
    with site(serving(certificates, **server)) as there:
        async with way(kind) as setting:
            reason, told = await ask(client, there.url, proxy=setting, tls=tls)
    assert reason == "tls", told
    assert re.search(note, told), told
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
async def test_a_tls_server_is_not_spoken_to_in_clear(certificates: Path, client: str) -> None:
    with site(serving(certificates)) as there:
        reason, _ = await ask(client, there.url.replace("https:", "http:"), proxy="none")
        assert reason in ("unreachable", "bad_answer")
        assert there.requests == []
