"""`shipper check` asks the intake, and has Datadog's own client validate the key."""

import asyncio
import base64
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from datadog_case import make_sink

from shipper import Rejected, Unavailable
from shipper.testing import Destination, Reply
from sinks.datadog import Datadog

JSON = {"Content-Type": "application/json"}
VALID = Reply(200, b'{"valid":true}', JSON)


async def probed(sink: Datadog) -> str:
    await sink.open()
    try:
        return await sink.probe()
    finally:
        await sink.close()


# The intake


@pytest.mark.parametrize("reply", [Reply(202, b"{}"), Reply(200), Reply(400, b'{"errors":["no entry"]}')])
async def test_an_intake_of_ones_own_is_asked_with_no_entry_and_nobody_else_gets_the_key(reply: Reply) -> None:
    with Destination([reply]) as destination:
        words = await probed(make_sink(url=destination.url))
        assert words.startswith(f"{destination.url} answers")
        [request] = destination.requests
    assert (request.method, request.path, request.body) == ("POST", "/api/v2/logs", b"[]")
    assert request.headers["DD-API-KEY"] == "made-up-key"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(401), "auth"),
        (Reply(403, b'{"errors":[{"status":"403"}]}'), "auth"),
        (Reply(404), "not_found"),
        (Reply(302, b"", {"Location": "/login"}), "redirected"),
        (Reply(200, b"<html>"), "bad_answer"),
        (Reply(503), "server_error"),
    ],
)
async def test_an_intake_that_would_take_nothing_fails_the_check(reply: Reply, reason: str) -> None:
    with Destination([reply]) as destination, pytest.raises((Unavailable, Rejected)) as caught:
        await probed(make_sink(url=destination.url))
    assert getattr(caught.value, "reason", None) == reason


async def test_an_intake_that_is_not_there_fails_the_check() -> None:
    with Destination() as closed:
        url = closed.url
    with pytest.raises(Unavailable) as caught:
        await probed(make_sink(proxy=url))
    assert caught.value.reason == "unreachable"
    assert "http-intake.logs.datadoghq.com" in caught.value.note


# The key


async def test_a_valid_key_is_said_to_be() -> None:
    with Destination([VALID]) as host:
        assert await make_sink(proxy="none").key_verdict(host.url) == "the key is valid"
        [request] = host.requests
    assert (request.method, request.path) == ("GET", "/api/v1/validate")
    assert request.headers["DD-API-KEY"] == "made-up-key"


@pytest.mark.parametrize(
    "reply", [Reply(401), Reply(403, b'{"errors":["Forbidden"]}', JSON), Reply(200, b'{"valid":false}', JSON)]
)
async def test_a_key_that_is_not_valid_fails_the_check(reply: Reply) -> None:
    with Destination([reply]) as host, pytest.raises(Unavailable) as caught:
        await make_sink(proxy="none").key_verdict(host.url)
    assert caught.value.reason == "auth"
    assert "made-up-key" not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(400), "HTTP 400"),
        (Reply(404), "HTTP 404"),
        (Reply(429), "HTTP 429"),
        (Reply(503), "HTTP 503"),
        (Reply(200, b"<html>", JSON), "makes no sense"),
        (Reply(200, b"[]", JSON), "makes no sense"),
        (Reply(200, b"\xff", JSON), "makes no sense"),
    ],
)
async def test_a_host_that_cannot_say_is_a_warning_and_asked_once(reply: Reply, words: str) -> None:
    with Destination([reply], default=VALID) as host:
        verdict = await make_sink(proxy="none").key_verdict(host.url)
        assert verdict.startswith("WARNING")
        assert words in verdict
        assert len(host.requests) == 1


async def test_the_key_follows_no_redirect() -> None:
    with Destination(default=VALID) as other:
        with Destination([Reply(302, headers={"Location": f"{other.url}/"})]) as host:
            assert "HTTP 302" in await make_sink(proxy="none").key_verdict(host.url)
        assert other.requests == []


async def test_a_host_that_is_not_there_is_a_warning() -> None:
    with Destination() as closed:
        url = closed.url
    assert "no connection" in await make_sink(proxy="none").key_verdict(url)


@pytest.mark.parametrize("fault", ["reset", "reset_mid_answer"])
async def test_a_lost_connection_is_a_warning(fault: str) -> None:
    with Destination([fault]) as host:  # type: ignore[list-item]
        assert (await make_sink(proxy="none").key_verdict(host.url)).startswith("WARNING")


@pytest.mark.parametrize("fault", ["hang", "slow_loris"])
async def test_a_host_that_hangs_is_a_warning_by_the_deadline_and_keeps_no_thread(fault: str) -> None:
    with Destination([fault]) as host:  # type: ignore[list-item]
        sink = make_sink(proxy="none", request={"timeout_secs": 0.2})
        async with asyncio.timeout(1.5):
            assert "no answer in 0.2 s" in await sink.key_verdict(host.url)
        assert all(thread.daemon for thread in threading.enumerate() if thread.name == "datadog")


# Both, as they really are: two hosts of one site, behind a proxy that asks for a password and breaks TLS open


class Site:
    """A proxy that plays every host behind it; its certificate is signed by an authority of its own."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[tuple[str, str]] = []
        self.authorization: list[str] = []
        self.certificate = folder / "site.pem"
        names = ",".join(f"DNS:{name}.datadoghq.eu" for name in ("http-intake.logs", "api"))
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-subj", "/CN=made up", "-addext", f"subjectAltName={names}", "-days", "2"]
        key = folder / "site.key"
        subprocess.run([*command, "-keyout", key, "-out", self.certificate], check=True, capture_output=True)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.certificate, key)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            connect = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.authorization += [line.split(" ")[-1] for line in connect.split("\r\n") if "Basic" in line]
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.start_tls(self._context)
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append((connect.split(" ")[1], head.split("\r\n")[0]))
            body = b'{"valid":true}' if head.startswith("GET") else b"{}"
            answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            writer.write(answer + body)
            await writer.drain()
        finally:
            writer.close()


async def test_both_hosts_of_a_site_are_asked_through_the_proxy_by_the_authority_of_tls(tmp_path: Path) -> None:
    site = Site(tmp_path)
    async with site.running() as port:
        sink = make_sink(
            site="datadoghq.eu",
            proxy=f"http://me:p%40ss@127.0.0.1:{port}",
            tls={"ca_file": site.certificate},
        )
        assert await probed(sink) == "https://http-intake.logs.datadoghq.eu answers; the key is valid"
    assert site.asked == [
        ("http-intake.logs.datadoghq.eu:443", "POST /api/v2/logs HTTP/1.1"),
        ("api.datadoghq.eu:443", "GET /api/v1/validate HTTP/1.1"),
    ]
    assert site.authorization == [base64.b64encode(b"me:p@ss").decode()] * 2


async def test_an_authority_that_is_not_trusted_gets_no_key(tmp_path: Path) -> None:
    site = Site(tmp_path)
    async with site.running() as port:
        sink = make_sink(proxy=f"http://127.0.0.1:{port}")
        assert "WARNING" in await sink.key_verdict("https://api.datadoghq.eu")
    assert site.asked == []
