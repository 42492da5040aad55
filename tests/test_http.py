import asyncio
import gzip
import json
import os
import ssl
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDictProxy

from shipper.http import Answer, HttpClient, HttpError, proxy_for, reason_of_status
from shipper.testing import Destination, Reply
from shipper.tls import Tls

Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(conversation: Conversation, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that says exactly these bytes: what no HTTP library would let out."""
    talks: list[asyncio.Task[None]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await conversation(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the other side hangs up where that is what the test is about
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.create_task(talk(reader, writer)))

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    host, port = listener.sockets[0].getsockname()
    try:
        yield f"{'https' if tls else 'http'}://{host}:{port}/path"
    finally:
        listener.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


def says(*parts: bytes, then_hang: bool = False) -> Conversation:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
        if then_hang:
            await asyncio.Event().wait()
        writer.close()
        await writer.wait_closed()

    return conversation


def whole(body: bytes, headers: bytes = b"", status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), headers, body)


GZIP = b"Content-Encoding: gzip\r\n"


async def exchange(url: str, tls: Tls | None = None, proxy: str = "none", **options: Any) -> Answer:
    client = HttpClient(proxy=proxy, tls=tls)
    try:
        return await client.exchange("POST", url, **{"max_bytes": 1000, "timeout_secs": 5, "body": b"x", **options})
    finally:
        await client.close()


async def failure(url: str, **options: Any) -> HttpError:
    with pytest.raises(HttpError) as caught:
        await exchange(url, **options)
    return caught.value


# Whole answers


async def test_an_answer_has_status_headers_of_any_case_and_body() -> None:
    async with server(says(whole(b"hello", b"X-Thing: 7\r\n", b"418 Teapot"))) as url:
        answer = await exchange(url)
    assert (answer.status, answer.headers["x-tHING"], answer.body) == (418, "7", b"hello")


async def test_a_request_arrives_as_it_was_made() -> None:
    with Destination() as destination:
        await exchange(f"{destination.url}/a%2Fb?q=%20x", headers={"X-One": "1"}, body=b"body")
        [request] = destination.requests
    assert (request.method, request.path, request.body) == ("POST", "/a%2Fb?q=%20x", b"body")
    assert (request.headers["X-One"], request.headers["Accept-Encoding"]) == ("1", "gzip")


async def test_headers_are_told_before_the_body_is_there() -> None:
    told = asyncio.Event()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nLink: <next>\r\n\r\n")
        await told.wait()
        writer.write(b"ok")
        await writer.drain()
        await reader.read()

    seen: list[tuple[int, str]] = []

    def on_headers(status: int, headers: CIMultiDictProxy[str]) -> None:
        seen.append((status, headers["link"]))
        told.set()

    async with server(conversation) as url:
        assert (await exchange(url, on_headers=on_headers)).body == b"ok"
    assert seen == [(200, "<next>")]


async def test_an_answer_that_comes_before_the_request_was_read_is_an_answer() -> None:
    async with server(says(whole(b"no", status=b"413 Too Large"), then_hang=True)) as url:
        answer = await exchange(url, body=os.urandom(20_000_000))
    assert (answer.status, answer.body) == (413, b"no")


async def test_no_cookie_is_kept() -> None:
    with Destination([Reply(200, headers={"Set-Cookie": "session=1; Path=/"})]) as destination:
        client = HttpClient(proxy="none")
        for _ in range(2):
            await client.exchange("POST", destination.url, max_bytes=10, timeout_secs=5)
        await client.close()
        assert "Cookie" not in destination.requests[1].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_is_not_followed(status: int) -> None:
    with Destination() as other, Destination([Reply(status, b"gone", {"Location": other.url})]) as destination:
        answer = await exchange(destination.url, headers={"Authorization": "made-up"})
        assert (answer.status, answer.body) == (status, b"gone")
        assert not other.requests


# Compression and limits


@pytest.mark.parametrize("encoding", [b"gzip", b"GZIP", b"x-gzip", b" gzip "])
async def test_gzip_is_inflated(encoding: bytes) -> None:
    async with server(says(whole(gzip.compress(b"hello" * 100), b"Content-Encoding: %b\r\n" % encoding))) as url:
        assert (await exchange(url)).body == b"hello" * 100


async def test_gzip_of_several_members_is_inflated_wherever_it_is_cut() -> None:
    body = gzip.compress(b"first,") + gzip.compress(b"") + gzip.compress(b"second")
    parts = [body[at : at + 7] for at in range(0, len(body), 7)]
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + GZIP + b"\r\n"
    async with server(says(head, *chunks, b"0\r\n\r\n")) as url:
        assert (await exchange(url)).body == b"first,second"


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (2 << 20) + 3, (5 << 20) - 258])
@pytest.mark.parametrize("kind", ["zeros", "noise"])
async def test_gzip_of_any_size_is_inflated_whole(size: int, kind: str) -> None:
    data = bytes(size) if kind == "zeros" else os.urandom(size)
    with Destination(default=Reply(200, gzip.compress(data, 1), {"Content-Encoding": "gzip"})) as destination:
        assert (await exchange(destination.url, max_bytes=16 << 20)).body == data


async def test_no_body_needs_no_gzip() -> None:
    async with server(says(whole(b"", GZIP, b"401 Unauthorized"))) as url:
        assert (await exchange(url)).body == b""


@pytest.mark.parametrize("encoding", [b"br", b"deflate", b"zstd", b"gzip, gzip", b"gzip;q=1"])
async def test_an_encoding_that_was_not_asked_for_is_refused(encoding: bytes) -> None:
    async with server(says(whole(b"hello", b"Content-Encoding: %b\r\n" % encoding))) as url:
        error = await failure(url)
    assert error.reason == "bad_answer"
    assert "encoding" in str(error)


@pytest.mark.parametrize("cut", [1, 5, 9, 10, 15, -1, -8])
async def test_a_truncated_gzip_is_refused(cut: int) -> None:
    body = gzip.compress(os.urandom(300))[:cut]
    async with server(says(whole(body, GZIP))) as url:
        assert (await failure(url)).reason == "bad_answer"


@pytest.mark.parametrize(
    "body", [b"<html>no gzip</html>", b"\x1f\x8b\x08\x00" + b"garbage" * 9, gzip.compress(b"x", mtime=0) + b"tail"]
)
async def test_what_only_says_that_it_is_gzip_is_refused(body: bytes) -> None:
    async with server(says(whole(body, GZIP))) as url:
        assert (await failure(url)).reason == "bad_answer"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("size", "fits"), [(999, True), (1000, True), (1001, False), (100_000, False)])
async def test_an_answer_may_be_as_long_as_its_limit(size: int, *, fits: bool, compressed: bool) -> None:
    body = b"x" * size
    sent = whole(gzip.compress(body), GZIP) if compressed else whole(body)
    async with server(says(sent)) as url:
        if fits:
            assert (await exchange(url)).body == body
        else:
            assert (await failure(url)).reason == "bad_answer"


async def test_an_endless_answer_is_left_at_its_limit() -> None:
    with Destination(["endless"]) as destination:
        assert (await failure(destination.url, max_bytes=65536)).reason == "bad_answer"
        await destination.left_alone()
        assert destination.sent_bytes < 16 << 20


BOMBED = """
    import asyncio, resource
    from shipper.http import HttpClient, HttpError

    def peak():
        # Not ru_maxrss: that one begins with what the parent held when it started this process.
        return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

    async def main():
        client = HttpClient(proxy="none")
        for max_bytes in MAX_BYTES:
            before = peak()
            try:
                await client.exchange("GET", "URL", max_bytes=max_bytes, timeout_secs=30)
            except HttpError as error:
                print(error.reason, peak() - before)
        await client.close()

    asyncio.run(main())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads a process's peak of memory from /proc")
def test_a_gzip_bomb_adds_at_most_40_mb_of_memory() -> None:
    """128 MiB from 128 KiB, against a destination's and a source's limit; in a process of its own, to measure it."""
    limits = (65536, 16 << 20)
    with Destination(default="gzip_bomb") as destination:
        script = textwrap.dedent(BOMBED).replace("URL", destination.url).replace("MAX_BYTES", repr(limits))
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [reason for reason, _ in lines] == ["bad_answer"] * len(limits)
    assert all(int(kilobytes) < 40_000 for _, kilobytes in lines), lines


# What goes wrong on the way


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"])
async def test_one_deadline_covers_everything(part: bytes) -> None:
    async with server(says(part, then_hang=True)) as url:
        error = await failure(url, timeout_secs=0.1)
    assert error.reason == "timeout"
    assert "127.0.0.1" in str(error)


async def test_a_byte_now_and_then_does_not_put_the_deadline_off() -> None:
    with Destination(["slow_loris"]) as destination:
        async with asyncio.timeout(2):
            assert (await failure(destination.url, timeout_secs=0.3)).reason == "timeout"
        await destination.left_alone()


async def test_cancelling_closes_the_connection() -> None:
    with Destination(["hang"]) as destination:
        client = HttpClient(proxy="none")
        asking = asyncio.create_task(client.exchange("POST", destination.url, max_bytes=10))
        await destination.received(1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await destination.left_alone()
        await client.close()


@pytest.mark.parametrize(
    "part",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_an_answer_that_is_cut_or_is_no_http_is_bad(part: bytes) -> None:
    async with server(says(part)) as url:
        assert (await failure(url)).reason == "bad_answer"


async def test_no_answer_at_all_is_unreachable() -> None:
    async with server(says()) as url:
        assert (await failure(url)).reason == "unreachable"


async def test_a_reset_is_unreachable() -> None:
    with Destination(["reset"]) as destination:
        assert (await failure(destination.url)).reason == "unreachable"


async def test_nobody_there_is_unreachable() -> None:
    with Destination() as destination:
        url = destination.url
    error = await failure(url)
    assert error.reason == "unreachable"
    assert "127.0.0.1" in str(error)


async def test_a_name_that_does_not_exist_is_unreachable() -> None:
    error = await failure("http://no-such-host.invalid/")
    assert error.reason == "unreachable"
    assert "no-such-host.invalid" in str(error)


@pytest.mark.parametrize("header", ["with\r\nnewline", "with\nnewline"])
async def test_a_header_that_cannot_be_sent_is_not_quoted(header: str) -> None:
    with Destination() as destination:
        error = await failure(destination.url, headers={"Authorization": header})
        assert not destination.requests
    assert "newline" not in f"{error}"


async def test_an_error_names_the_host_but_neither_query_nor_content() -> None:
    async with server(says(b"secret words\r\n\r\n")) as url:
        error = await failure(f"{url}?token=made-up", headers={"X": "made-up"}, body=b"made-up")
    assert "127.0.0.1" in str(error)
    assert not [word for word in ("made-up", "secret words", "token") if word in f"{error} {error!r}"]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (200, "bad_answer"),
        (302, "redirected"),
        (401, "auth"),
        (403, "forbidden"),
        (404, "not_found"),
        (418, "bad_answer"),
        (429, "throttled"),
        (503, "server_error"),
    ],
)
def test_a_status_has_one_reason_for_all(status: int, reason: str) -> None:
    assert reason_of_status(status) == reason


# TLS


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Self-signed ones: `good` for 127.0.0.1, `other` for another name, `old` that expired yesterday."""
    folder = tmp_path_factory.mktemp("tls")
    for name, alt, days in (
        ("good", "IP:127.0.0.1", "2"),
        ("other", "DNS:other.example", "2"),
        ("old", "IP:127.0.0.1", "-1"),
    ):
        ask = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        ask += ["-subj", f"/CN={name}", "-addext", f"subjectAltName={alt}", "-keyout", f"{name}.key", "-out", "csr"]
        sign = ["openssl", "x509", "-req", "-in", "csr", "-signkey", f"{name}.key", "-days", days]
        sign += ["-copy_extensions", "copy", "-out", f"{name}.pem"]
        for command in (ask, sign):
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def serving(folder: Path, name: str, **options: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    for option, value in options.items():
        setattr(context, option, value)
    return context


async def test_a_certificate_of_a_configured_authority_is_trusted(certificates: Path) -> None:
    async with server(says(whole(b"hello")), serving(certificates, "good")) as url:
        assert (await exchange(url, tls=Tls(ca_file=certificates / "good.pem"))).body == b"hello"


async def test_a_self_signed_certificate_is_not_trusted(certificates: Path) -> None:
    async with server(says(whole(b"hello")), serving(certificates, "good")) as url:
        error = await failure(url)
    assert error.reason == "tls"
    assert "self-signed" in str(error)


async def test_a_certificate_for_another_name_is_not_trusted(certificates: Path) -> None:
    async with server(says(whole(b"hello")), serving(certificates, "other")) as url:
        assert (await failure(url, tls=Tls(ca_file=certificates / "other.pem"))).reason == "tls"


async def test_an_expired_certificate_is_not_trusted(certificates: Path) -> None:
    async with server(says(whole(b"hello")), serving(certificates, "old")) as url:
        error = await failure(url, tls=Tls(ca_file=certificates / "old.pem"))
    assert error.reason == "tls"
    assert "expired" in str(error)


async def test_a_server_that_speaks_no_tls_is_a_tls_failure() -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()

    async with server(conversation) as url:
        assert (await failure(url.replace("http:", "https:"))).reason == "tls"


def test_tls_is_1_2_or_newer_and_always_checks_certificate_and_name() -> None:
    context = Tls().context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


async def test_a_client_certificate_is_shown(certificates: Path) -> None:
    context = serving(certificates, "good", verify_mode=ssl.CERT_REQUIRED)
    context.load_verify_locations(certificates / "other.pem")
    trust = certificates / "good.pem"
    mine = Tls(ca_file=trust, cert_file=certificates / "other.pem", key_file=certificates / "other.key")
    async with server(says(whole(b"hello")), context) as url:
        assert (await exchange(url, tls=mine)).body == b"hello"
        assert (await failure(url, tls=Tls(ca_file=trust))).reason in ("tls", "unreachable")


def test_tls_files_that_cannot_be_used_are_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    for file in ("missing.pem", "no.pem"):
        with pytest.raises(OSError, match=r"No such file|certificate"):
            Tls(ca_file=tmp_path / file).context()


# Proxies


@pytest.mark.parametrize(
    ("environment", "setting", "url", "expected"),
    [
        ({}, "", "https://a.example/", None),
        ({"HTTPS_PROXY": "http://proxy:1"}, "", "https://a.example/", "http://proxy:1"),
        ({"https_proxy": "http://proxy:1"}, "", "https://a.example/", "http://proxy:1"),
        ({"HTTPS_PROXY": "http://proxy:1"}, "", "http://127.0.0.1/", None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "a.example"}, "", "https://a.example/", None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": ".example"}, "", "https://a.example:8088/", None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "*"}, "", "https://a.example/", None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "b.example"}, "", "https://a.example/", "http://proxy:1"),
        ({"HTTPS_PROXY": "http://proxy:1"}, "none", "https://a.example/", None),
        ({"HTTPS_PROXY": "http://proxy:1"}, "http://own:2", "https://a.example/", "http://own:2"),
        ({"NO_PROXY": "a.example"}, "http://own:2", "https://a.example/", "http://own:2"),
    ],
)
def test_the_setting_goes_before_the_environment(
    environment: dict[str, str], setting: str, url: str, expected: str | None
) -> None:
    """In a process of its own, whose environment is really this one."""
    script = f"import json; from shipper.http import proxy_for; print(json.dumps(proxy_for({url!r}, {setting!r})))"
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", script], env={**kept, **environment}, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == expected


async def test_a_configured_proxy_is_asked_for_the_whole_address() -> None:
    with Destination(default=Reply(200, b"from the proxy")) as proxy:
        answer = await exchange("http://destination.invalid/path?q=1", proxy=proxy.url)
        assert answer.body == b"from the proxy"
        assert [request.path for request in proxy.requests] == ["http://destination.invalid/path?q=1"]


async def test_a_timeout_says_that_a_proxy_was_in_use() -> None:
    with Destination(["hang"]) as proxy:
        error = await failure("http://destination.invalid/", proxy=proxy.url, timeout_secs=0.1)
    assert error.reason == "timeout"
    assert "proxy" in str(error)


async def test_a_proxy_that_is_down_is_named_as_the_cause() -> None:
    with Destination() as proxy:
        url = proxy.url
    error = await failure("http://destination.invalid/", proxy=url)
    assert error.reason == "unreachable"
    assert "proxy" in str(error)


def test_none_means_no_proxy() -> None:
    assert proxy_for("https://a.example/", "none") is None
