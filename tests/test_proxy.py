"""Proxies, for every client that we have: which one is used, what it gets to see, and what is said when it fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tls_case import CLIENTS, CREDENTIALS, HOST, Proxy, ask, hosts, make_certificates, proxy, serving, site

from shipper.http import Proxy as ProxySetting
from shipper.secret import Secret
from shipper.sources.auth0_config import Auth0Config
from sinks.splunk_hec import SplunkHec

USER = "watchman:p%40ss-c4n4ry"
PASSWORD = "watchman:p@ss-c4n4ry"
clients = pytest.mark.parametrize("client", CLIENTS)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def trust(certificates: Path) -> dict[str, Any]:
    return {"ca_file": certificates / "authority.pem"}


@pytest.fixture(autouse=True)
def environment() -> Iterator[pytest.MonkeyPatch]:
    """An environment that says nothing of proxies yet."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        yield patch


# Which one


@clients
@pytest.mark.parametrize("given", ["setting", "HTTPS_PROXY", "https_proxy", "without scheme"])
async def test_a_proxy_is_asked_to_connect_and_finds_the_name(
    certificates: Path, trust: dict[str, Any], environment: pytest.MonkeyPatch, client: str, given: str
) -> None:
    with site(serving(certificates)) as there:
        async with proxy() as between:
            name = "HTTPS_PROXY" if given == "without scheme" else given
            if given != "setting":
                url = between.url()
                environment.setenv(name, url.removeprefix("http://") if given == "without scheme" else url)
            setting = between.url() if given == "setting" else ""
            assert await ask(client, there.named_url, proxy=setting, tls=trust) == ("ok", "")
    assert between.asked == [f"CONNECT {HOST}:{there.port} HTTP/1.1"]
    assert [headers["Host"] for _, headers in there.requests] == [f"{HOST}:{there.port}"]


@clients
@pytest.mark.parametrize(
    ("setting", "no_proxy"), [("none", ""), ("", "127.0.0.1"), ("", "*"), ("", "example.com,127.0.0.1")]
)
async def test_no_proxy_is_used_where_that_is_said(
    certificates: Path,
    trust: dict[str, Any],
    environment: pytest.MonkeyPatch,
    client: str,
    setting: str,
    no_proxy: str,
) -> None:
    with site(serving(certificates)) as there:
        async with proxy() as between:
            environment.setenv("HTTPS_PROXY", between.url())
            environment.setenv("NO_PROXY", no_proxy)
            assert await ask(client, there.url, proxy=setting, tls=trust) == ("ok", "")
    assert between.asked == []
    assert len(there.requests) == 1


@clients
async def test_no_proxy_counts_for_the_environments_proxy_and_not_for_a_configured_one(
    certificates: Path, trust: dict[str, Any], environment: pytest.MonkeyPatch, client: str
) -> None:
    with site(serving(certificates)) as there:
        async with proxy() as own, proxy() as environments:
            environment.setenv("HTTPS_PROXY", environments.url())
            environment.setenv("NO_PROXY", "*")
            assert await ask(client, there.url, proxy=own.url(), tls=trust) == ("ok", "")
    assert (len(own.asked), len(environments.asked)) == (1, 0)


@clients
async def test_plain_http_on_loopback_goes_to_nobody_else_whatever_is_set(
    environment: pytest.MonkeyPatch, client: str
) -> None:
    # A simulated tenant, say. A proxy would read the credentials, and could not reach our loopback anyway.
    async with proxy() as between:
        environment.setenv("HTTP_PROXY", between.url())
        for setting in ("", between.url()):
            for host in ("127.0.0.1", "localhost", "[::1]"):
                reason, _ = await ask(client, f"http://{host}:9", proxy=setting)
                assert reason == "unreachable"
    assert between.asked == []
    assert not between.heard


# What it sees


def unseen(between: Proxy) -> bool:
    return not [word for word in CREDENTIALS if word in between.heard]


@clients
@pytest.mark.parametrize("given", ["setting", "HTTPS_PROXY"])
async def test_it_gets_its_own_password_and_no_credential_of_ours(
    certificates: Path, trust: dict[str, Any], environment: pytest.MonkeyPatch, client: str, given: str
) -> None:
    with site(serving(certificates)) as there:
        async with proxy(PASSWORD) as between:
            if given == "HTTPS_PROXY":
                environment.setenv(given, between.url(USER))
            setting = between.url(USER) if given == "setting" else ""
            assert await ask(client, there.named_url, proxy=setting, tls=trust) == ("ok", "")
    assert len(between.heard) > 500
    assert unseen(between)
    [(_, headers)] = there.requests
    assert not [name for name in headers if name.lower().startswith("proxy-")]


@clients
async def test_over_tls_it_is_trusted_like_everybody_else(
    certificates: Path, trust: dict[str, Any], client: str
) -> None:
    with site(serving(certificates)) as there:
        async with proxy(PASSWORD, serving(certificates)) as between:
            url = between.url(USER).replace("http:", "https:")
            assert await ask(client, there.named_url, proxy=url, tls=trust) == ("ok", "")
            assert unseen(between)
            reason, _ = await ask(client, there.named_url, proxy=url)
        async with proxy(PASSWORD, serving(certificates, "other")) as impostor:
            url = impostor.url(USER).replace("http:", "https:")
            assert (await ask(client, there.named_url, proxy=url, tls=trust))[0] == "tls"
    assert reason == "tls"
    assert impostor.asked == []
    assert len(there.requests) == 1


# What is said


@clients
@pytest.mark.parametrize(
    ("case", "reason", "words"),
    [
        ("hangs", "timeout", "through the proxy"),
        ("the tenant hangs", "timeout", "through the proxy"),
        ("the tenant hangs, direct", "timeout", "without a proxy"),
        ("is down", "unreachable", "the proxy can't be reached"),
        ("refuses", "unreachable", "the proxy refused the connection (HTTP 502)"),
        ("wants a password", "auth", "the proxy wants a user name and password"),
        ("wants another password", "auth", "the proxy wants a user name and password"),
    ],
)
async def test_trouble_says_whether_a_proxy_was_in_use_and_shows_no_password(
    certificates: Path, trust: dict[str, Any], client: str, case: str, reason: str, words: str
) -> None:
    password = "somebody:else" if case == "wants another password" else PASSWORD
    with site(serving(certificates)) as there:
        there.hangs = case.startswith("the tenant hangs")
        async with proxy(password) as between:
            between.hangs = case == "hangs"
            between.to_port = 9 if case == "refuses" else 0
            setting = between.url("" if case == "wants a password" else USER)
            url = there.url if case.endswith("direct") else there.named_url
            if case == "is down":
                setting = setting.replace(str(between.port), "9")
            given = "none" if case.endswith("direct") else setting
            limit = {"timeout_secs": 0.3} if reason == "timeout" else {}
            found, note = await ask(client, url, proxy=given, tls=trust, request=limit)
    assert (found, words in note) == (reason, True), note
    assert "c4n4ry" not in note
    assert hosts(between.asked) <= {HOST}


# Settings


def test_no_text_form_of_settings_shows_a_proxys_password() -> None:
    address = f"http://{USER}@proxy.example:3128"
    source = Auth0Config(type="auth0", domain="acme.us.auth0.com", token=Secret("t"), proxy=ProxySetting(address))
    sink = SplunkHec.Config.model_validate(
        {"type": "splunk_hec", "url": "https://splunk.example", "token": "t", "proxy": address}
    )
    for config in (source, sink):
        assert config.proxy == address
        for shown in (repr(config), str(config), str(config.model_dump()), config.model_dump_json()):
            assert "c4n4ry" not in shown
            assert "http://**********@proxy.example:3128" in shown


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("", ""),
        ("none", "none"),
        ("http://proxy.example:3128", "http://proxy.example:3128"),
        ("http://user:pa/ss@wo:rd@proxy.example", "http://**********@proxy.example"),
        ("user:pass@proxy.example", "**********@proxy.example"),
        ("http:/user:pass@proxy.example", "**********@proxy.example"),
    ],
)
def test_what_stands_before_the_host_is_masked_in_odd_addresses_too(address: str, shown: str) -> None:
    assert repr(ProxySetting(address)) == repr(shown)
