"""What tests of TLS and proxies share: real certificates, a real server, a real proxy, and clients of both."""

import asyncio
import base64
import json
import socket
import ssl
import subprocess
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from structlog.testing import LogCapture

from shipper import Batch, Event, Origin, Sink, Unavailable
from shipper.metrics import Metrics
from shipper.secret import Secret
from shipper.sources.auth0_api import Auth0Api
from shipper.sources.auth0_config import Auth0Config
from shipper.sources.start import EARLIEST
from shipper.sources.trouble import Trouble
from sinks.datadog import Datadog
from sinks.s3 import S3
from sinks.splunk_hec import SplunkHec

HOST = "destination.example"
"""Everything is served under this name, and on 127.0.0.1."""
CLIENTS = ("page", "token", "hec")
"""Of those that share our own way of doing HTTP, some that differ in what they do with it."""
LIBRARIES = ("s3", "key")
"""boto3, and Datadog's own client, which is asked whether the key is valid: HTTP and TLS of their own."""
BEARER, CLIENT_SECRET, HEC_TOKEN = "c4n4ry-bearer", "c4n4ry-client-secret", "c4n4ry-hec-token"
API_KEY = "c4n4ry-api-key"
CREDENTIALS = tuple(word.encode() for word in (BEARER, CLIENT_SECRET, HEC_TOKEN))
_HERE = f"DNS:{HOST},IP:127.0.0.1"


def make_certificates(folder: Path) -> Path:
    """An authority, and what it signed: `good`, `other` for another host, `old` that has expired, `client`.

    `stranger` is good as well, and an authority of its own.
    """
    _openssl(folder, "req", "-x509", *_new_key("authority"), "-days", "2", "-out", "authority.pem")
    here = ["-addext", f"subjectAltName={_HERE}"]
    _openssl(folder, "req", "-x509", *_new_key("stranger"), *here, "-days", "2", "-out", "stranger.pem")
    for name, alternative, days in (
        ("good", _HERE, "2"),
        ("other", "DNS:other.example", "2"),
        ("old", _HERE, "-1"),
        ("client", "DNS:client.example", "2"),
    ):
        _openssl(folder, "req", *_new_key(name), "-addext", f"subjectAltName={alternative}", "-out", "request")
        sign = ["-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial", "-copy_extensions", "copy"]
        _openssl(folder, "x509", "-req", "-in", "request", *sign, "-days", days, "-out", f"{name}.pem")
    return folder


def _new_key(name: str) -> list[str]:
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    return ["-new", *curve, "-subj", f"/CN={name}", "-keyout", f"{name}.key"]


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def serving(
    certificates: Path, name: str = "good", *, demand_client: bool = False, old: bool = False
) -> ssl.SSLContext:
    """A server's side of TLS. old: it speaks nothing newer than TLS 1.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    if demand_client:
        context.load_verify_locations(certificates / "authority.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    if old:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
    return context


class Site(ThreadingHTTPServer):
    """A tenant, a Splunk, a Datadog and an S3 store in one, which takes every credential.

    With blocking sockets, since asyncio's servers hang up where others send an alert.
    """

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Visit)
        self.tls = tls
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.hangs = False
        self.closing = threading.Event()

    def get_request(self) -> tuple[socket.socket, Any]:
        # The handshake is done in the visit's own thread.
        visitor, address = super().get_request()
        return self.tls.wrap_socket(visitor, server_side=True, do_handshake_on_connect=False), address

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def named_url(self) -> str:
        """Its address by a name that only a proxy can find."""
        return f"https://{HOST}:{self.port}"


class _Visit(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def handle(self) -> None:
        try:
            self.request.do_handshake()
        except OSError:
            with suppress(OSError):
                # Else what is still unread would turn the alert into a reset.
                self.request.shutdown(socket.SHUT_WR)
                while self.request.recv(65536):
                    pass
            return
        with suppress(OSError):
            super().handle()

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        self.server.requests.append((path, dict(self.headers)))
        if self.server.hangs:
            self.server.closing.wait()
        answers: dict[str, object] = {
            "/oauth/token": {"access_token": BEARER, "expires_in": 86_400},
            "/api/v2/logs": [] if self.command == "GET" else {},
            "/api/v1/validate": {"valid": True},
        }
        told = json.dumps(answers.get(path, {"text": "Success", "code": 0})).encode()
        body = b"" if self.command == "PUT" else told
        self.send_response(202 if (self.command, path) == ("POST", "/api/v2/logs") else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("ETag", '"made-up"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815  the library's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
        """Says nothing."""


@contextmanager
def site(tls: ssl.SSLContext) -> Iterator[Site]:
    with Site(tls) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            found.closing.set()
            found.shutdown()
            thread.join()


class Proxy:
    """Connects whoever says CONNECT to a port of this machine, whatever the host's name is, and listens to both."""

    def __init__(self, password: str = "") -> None:
        self.asked: list[str] = []
        """The first line of each request."""
        self.heard = bytearray()
        """Every byte that came from clients."""
        self.hangs = False
        self.port = 0
        self.to_port = 0
        """Where connections lead, in place of the port that they ask for; 0: that one."""
        self._expected = base64.b64encode(password.encode()).decode() if password else ""

    def url(self, user: str = "") -> str:
        return f"http://{f'{user}@' if user else ''}127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heard += head
            line, *headers = head.decode().split("\r\n")
            self.asked.append(line)
            method, target, _ = line.split(" ")
            if method != "CONNECT":
                writer.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            elif self._expected and f"Proxy-Authorization: Basic {self._expected}" not in headers:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            else:
                if self.hangs:
                    await asyncio.Event().wait()
                await self._join(int(target.rpartition(":")[2]), reader, writer)
            await writer.drain()
        finally:
            writer.close()

    async def _join(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self.to_port or port)
        except OSError:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(self._pump(reader, other_writer, keep=True), self._pump(other_reader, writer))
        finally:
            other_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, keep: bool = False) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if keep:
                    self.heard += data
                writer.write(data)
                await writer.drain()
        with suppress(OSError):
            writer.close()


@asynccontextmanager
async def proxy(password: str = "", tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """password: as "user:password", where the proxy asks for one. tls: it is itself spoken to over TLS."""
    found, talks = Proxy(password), set[asyncio.Task[None]]()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.create_task(found.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


async def ask(client: str, url: str, **settings: Any) -> tuple[str, str]:
    """One exchange of a client with the site: ("ok", ""), or reason and note. settings: proxy, tls, request."""
    try:
        if client in ("page", "token"):
            await _read(client, url, settings)
        elif client == "key":
            verdict = await Datadog(Datadog.Config(api_key=Secret(API_KEY), **settings)).key_verdict(url)
            return ("ok", "") if verdict == "the key is valid" else ("tls", verdict)
        else:
            await _write(client, url, settings)
    except (Trouble, Unavailable) as error:
        return error.reason, error.note
    return "ok", ""


async def _read(client: str, url: str, settings: dict[str, Any]) -> None:
    proof = {"client_id": "c", "client_secret": Secret(CLIENT_SECRET)} if client == "token" else {}
    config = Auth0Config.model_validate(
        {
            "type": "auth0",
            "domain": "acme.us.auth0.com",
            "base_url": url,
            **(proof or {"token": Secret(BEARER)}),
            **settings,
        }
    )
    log = structlog.wrap_logger(None, processors=[LogCapture()])
    api = Auth0Api(config, Metrics().source("acme"), log)
    try:
        if client == "token":
            await api.token.get()
        else:
            await api.get(f"/api/v2/logs?from={EARLIEST}&take=1")
    finally:
        await api.close()


async def _write(client: str, url: str, settings: dict[str, Any]) -> None:
    sinks: dict[str, Callable[[], Sink]] = {
        "hec": lambda: SplunkHec(SplunkHec.Config(url=url, token=Secret(HEC_TOKEN), **settings)),
        "datadog": lambda: Datadog(Datadog.Config(url=url, api_key=Secret(API_KEY), **settings)),
        "s3": lambda: S3(S3.Config(endpoint_url=url, bucket="logs", region="us-east-1", **settings)),
    }
    sink = sinks[client]()
    event = Event(id="9" * 56, time=0, date="", type="s", raw=b"{}")
    await sink.open()
    try:
        await sink.write(Batch(source=Origin("acme", "auth0", "acme.us.auth0.com", "acme"), events=[event], now=0))
    finally:
        await sink.close()


def hosts(asked: list[str]) -> set[str]:
    """Which hosts a proxy was asked to connect to."""
    return {str(urlsplit("//" + line.split(" ")[1]).hostname) for line in asked}
