"""The token reaches the configured origin and nobody else, whatever pages and redirects say."""

from pathlib import Path

import pytest
from source_case import always, events, rigged, with_links

from shipper.secret import Secret
from shipper.simulator.answer import Answer
from shipper.simulator.server import serve
from shipper.simulator.tenant import Tenant

FOREIGN = [
    "<OTHER/api/v2/logs?from=LAST&take=100>; rel=next",
    "<//HOST/api/v2/logs?from=LAST&take=100>; rel=next",
    "<http://user@HOST/api/v2/logs?from=LAST&take=100>; rel=next",
    "<ORIGIN@HOST/api/v2/logs?from=LAST&take=100>; rel=next",
    "<OTHER\\@ORIGIN/api/v2/logs?from=LAST&take=100>; rel=next",
    "<https://HOST/api/v2/logs?from=LAST&take=100>; rel=next",
    "<HOST/api/v2/logs?from=LAST&take=100>; rel=next",
]


@pytest.mark.parametrize("link", FOREIGN)
async def test_a_links_host_is_never_asked(tmp_path: Path, link: str) -> None:
    async with serve(Tenant(events=[], plan="none")) as other, rigged(tmp_path, tenant={"events": events(350)}) as rig:
        written = link.replace("OTHER", other.url).replace("HOST", other.url.removeprefix("http://"))
        rig.tenant.script.extend([with_links(rig.tenant, written)] * 10)
        assert await rig.drained() == rig.issued()
        assert other.tenant.requests == []
        assert rig.count("shipper_links_refused_total") == 4


async def test_a_custom_address_gets_everything_though_links_name_the_tenants_domain(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(350), "link_host": "acme.us.auth0.com"}) as rig:
        assert await rig.drained() == rig.issued()
        assert rig.count("shipper_links_refused_total") == 0
        assert {one.headers["Host"] for one in rig.tenant.requests} == {rig.running.url.removeprefix("http://")}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("to", "endpoint"),
    [("absolute", "logs"), ("without scheme", "logs"), ("the same host", "logs"), ("absolute", "token")],
)
async def test_a_redirect_is_not_followed_and_holds_the_source(
    tmp_path: Path, status: int, to: str, endpoint: str
) -> None:
    async with serve(Tenant(events=[], plan="none")) as other, rigged(tmp_path, tenant={"events": events(50)}) as rig:
        where = {"absolute": other.url, "without scheme": other.url.removeprefix("http:"), "the same host": ""}[to]
        answer = Answer(status, {"Location": f"{where}/api/v2/logs?from=0"})
        if endpoint == "logs":
            always(rig.tenant, lambda _: answer)
        else:
            rig.tenant.token_script.extend([answer] * 100)
        await rig.source.run(once=True)
        assert (rig.source.health.state, rig.source.health.reason) == ("held", "redirected")
        assert other.tenant.requests == []
        assert {one.query.get("from") for one in rig.asked} <= {rig.position}
        rig.tenant.script.clear()
        rig.tenant.token_script.clear()
        assert await rig.drained() == rig.issued()


async def test_the_token_travels_in_one_header_of_each_request_and_nowhere_else(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(150), "token": "fixed-t"}, token=Secret("fixed-t")) as rig:
        await rig.drained()
        for one in rig.asked:
            assert one.headers["Authorization"] == "Bearer fixed-t"
            assert sum("fixed-t" in value for value in one.headers.values()) == 1
            assert "fixed-t" not in str(one.query)
            assert "Cookie" not in one.headers


async def test_cookies_are_not_kept(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(50)}) as rig:
        rig.tenant.script.append(Answer(503, {"Set-Cookie": "session=1"}))
        await rig.drained()
        assert all("Cookie" not in one.headers for one in rig.asked)
