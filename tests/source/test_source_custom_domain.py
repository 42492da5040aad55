"""A custom domain: everything goes there, though the token's audience and the Links name the tenant's own domain."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from key_case import registered, rsa_key
from source_case import Clock, Rig, events, journal_at, reading
from tls_case import make_certificates, proxy, serving

from shipper.secret import Secret
from shipper.simulator.server import serve
from shipper.simulator.tenant import Tenant

CUSTOM, TENANT = "destination.example", "acme.us.auth0.com"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@asynccontextmanager
async def behind_its_names(
    place: Path, certificates: Path, *, link_host: str = TENANT, **settings: Any
) -> AsyncIterator[tuple[Rig, list[str]]]:
    """A tenant that is reached by its custom domain's real name and port: through a proxy that knows where it is.

    Yields what the proxy was asked, too.
    """
    clock = Clock()
    tenant = Tenant(
        events=events(350),
        clock=clock.wall,
        plan="none",
        public_key_file=registered(place) if "private_key" in settings else "",
        custom_domain=CUSTOM,
        link_host=link_host,
    )
    async with (
        serve(tenant, serving(certificates)) as running,
        proxy() as between,
        journal_at(place / "journal") as journal,
        reading(
            journal,
            running,
            clock,
            **{
                "base_url": f"https://{CUSTOM}",
                "proxy": between.url(),
                "tls": {"ca_file": certificates / "authority.pem"},
                **settings,
            },
        ) as rig,
    ):
        between.to_port = int(running.url.rpartition(":")[2])
        yield rig, between.asked


@pytest.mark.parametrize("proof", ["secret", "key"])
async def test_all_requests_go_to_the_custom_domain_and_the_links_are_followed_there(
    tmp_path: Path, certificates: Path, proof: str
) -> None:
    key: dict[str, Any] = (
        {"private_key": Secret(rsa_key()[0]), "client_id": "simulated-client"} if proof == "key" else {}
    )
    async with behind_its_names(tmp_path, certificates, **key) as (rig, connected):
        assert await rig.drained() == rig.issued()
        assert set(connected) == {f"CONNECT {CUSTOM}:443 HTTP/1.1"}
        assert {one.headers["Host"] for one in rig.tenant.requests} == {CUSTOM}
        assert rig.count("shipper_links_refused_total") == 0
        # By the Links, and not by the last event's id of each page.
        assert len(rig.asked) == 5
        [form] = [json.loads(one.body) for one in rig.tenant.requests if one.path == "/oauth/token"]
        assert form["audience"] == f"https://{TENANT}/api/v2/"
        assert rig.config.assertion_audience == f"https://{CUSTOM}/"


async def test_the_journal_knows_the_tenant_by_its_own_domain_whatever_the_address(
    tmp_path: Path, certificates: Path
) -> None:
    async with behind_its_names(tmp_path, certificates) as (rig, _):
        await rig.drained()
        assert rig.config.tenant_key == f"auth0:{TENANT}"
        handle, former = await rig.journal.source("acme", f"auth0:{TENANT}")
        assert (former, handle.figures.stored) == ("acme", 350)


async def test_a_link_to_a_third_host_is_not_followed_there(tmp_path: Path, certificates: Path) -> None:
    async with behind_its_names(tmp_path, certificates, link_host="evil.example") as (rig, connected):
        assert await rig.drained() == rig.issued()
        assert rig.count("shipper_links_refused_total") == 4
        assert set(connected) == {f"CONNECT {CUSTOM}:443 HTTP/1.1"}


async def test_a_certificate_of_the_tenants_own_domain_does_not_do(tmp_path: Path, certificates: Path) -> None:
    async with behind_its_names(tmp_path, certificates, base_url="") as (rig, connected):
        await rig.source.run(once=True)
        assert (rig.source.health.state, rig.source.health.reason) == ("held", "tls")
        assert "through the proxy" in rig.source.health.note
        assert set(connected) == {f"CONNECT {TENANT}:443 HTTP/1.1"}
        assert rig.tenant.requests == []
