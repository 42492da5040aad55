"""A scripted HTTP destination and made-up events: what `shipper.testing` and the tests of a sink are played with.

The destination runs on a thread and an event loop of its own, so that plain and async tests use it alike, and so that
a sink which blocks its event loop is seen doing so instead of stopping the destination with it.
"""

import asyncio
import functools
import json
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

from aiohttp import web
from isal import isal_zlib
from multidict import CIMultiDict, CIMultiDictProxy

from shipper.event import Batch, Event, Origin
from shipper.http import Answer

HANG_SECS = 3.0
"""How long `hang` and `slow_loris` last at most: a sink that can't be stopped must not stop the tests."""
ENDLESS_BYTES = 64 << 20
BOMB_BYTES = 128 << 20

PERSON = "canary.person@example.com"
"""Stands in every made-up event: whatever it turns up in has leaked an event."""


@dataclass(frozen=True)
class Reply:
    """One whole answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


GARBAGE = Reply(200, b"<html><body>Please log in to the hotel's network</body></html>", {"Content-Type": "text/html"})
EMPTY = Reply(200)

Fault = Literal["hang", "reset", "reset_mid_answer", "slow_loris", "endless", "gzip_bomb", "no_http"]


@dataclass(frozen=True)
class Received:
    """One request as it came. path: with its query. body: after decompression."""

    method: str
    path: str
    headers: CIMultiDictProxy[str]
    body: bytes


Step = Reply | Fault | Callable[[Received], Reply | Fault]


class _Server(web.Server):
    """Knows at any time which connections are open."""

    def __init__(self, *args: Any, changed: Callable[[], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.open: dict[object, asyncio.Transport] = {}
        self.accepted = 0
        self._changed = changed

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        self.open[handler] = transport
        self.accepted += 1
        super().connection_made(handler, transport)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self.open.pop(handler, None)
        self._changed()


class Destination:
    """Answers one request after another from its script, then always with `default`; remembers every request.

    with Destination(["reset", Reply(503)], default=Reply(200, b"{}")) as destination:
        ...  # destination.url, destination.requests

    tls: the server's side of it, for one that is spoken to by https.
    """

    def __init__(
        self, script: Iterable[Step] = (), *, default: Step = EMPTY, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.script: deque[Step] = deque(script)
        self.default = default
        self.requests: list[Received] = []
        self.sent_bytes = 0
        """What `endless` got rid of before the other side hung up."""
        self._port = port
        self._tls = tls
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, name="destination", daemon=True)
        self._thread.start()
        self._submit(self._start()).result(timeout=10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._submit(self._stop()).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    @property
    def url(self) -> str:
        """Where it listens: a port of 127.0.0.1."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """The port that it listens on, once entered."""
        return self._port

    @property
    def connections(self) -> int:
        """How many connections are open to it."""
        return len(self._server.open)

    @property
    def accepted(self) -> int:
        """How many connections were made to it so far."""
        return self._server.accepted

    async def received(self, count: int, *, within_secs: float = 10) -> None:
        """Returns once so many requests have come. Raises TimeoutError."""
        await self._wait(lambda: len(self.requests) >= count, within_secs)

    async def left_alone(self, *, within_secs: float = 2) -> None:
        """Returns once no connection is open any more. Raises TimeoutError."""
        await self._wait(lambda: not self._server.open, within_secs)

    async def _wait(self, condition: Callable[[], bool], within_secs: float) -> None:
        await asyncio.wait_for(asyncio.wrap_future(self._submit(self._until(condition))), within_secs)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _submit(self, work: Any) -> "Future[Any]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _start(self) -> None:
        self._changed = asyncio.Event()
        self._server = _Server(
            self._handle, changed=self._changed.set, handler_cancellation=True, auto_decompress=False, access_log=None
        )
        self._runner = web.ServerRunner(self._server, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        # Python 3.11 loses the socket of a connection whose acceptance is under way when its server closes (its
        # `Server._attach` asserts), so those that wait are taken in first: three rounds of the loop each.
        for _ in range(5):
            await asyncio.sleep(0)
        await self._runner.cleanup()
        # A connection may be on its way out even now; a loop that stopped would leave its socket open.
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, timeout=1)
        for transport in list(self._server.open.values()):
            transport.abort()
        await self._until(lambda: not self._server.open)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect") == "100-continue":
            _transport(request).write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await request.content.read()
        if request.headers.get("Content-Encoding") == "gzip" and body:
            body = isal_zlib.decompress(body, wbits=31)
        received = Received(request.method, request.raw_path, request.headers, body)
        step = self.script.popleft() if self.script else self.default
        self.requests.append(received)
        self._changed.set()
        if callable(step):
            step = step(received)
        if isinstance(step, Reply):
            return web.Response(status=step.status, body=step.body, headers=step.headers)
        try:
            return await self._misbehave(step, request)
        except ConnectionError:
            return web.Response()

    async def _misbehave(self, fault: Fault, request: web.BaseRequest) -> web.StreamResponse:
        match fault:
            case "hang":
                await asyncio.sleep(HANG_SECS)
            case "reset_mid_answer":
                await _begin(request, b'{"co', length=1000)
            case "slow_loris":
                response = await _begin(request, b"{", length=100_000)
                for _ in range(int(HANG_SECS / 0.05)):
                    await asyncio.sleep(0.05)
                    await response.write(b" ")
            case "endless":
                response = await _begin(request, b"")
                while self.sent_bytes < ENDLESS_BYTES:
                    await response.write(b" " * 65536)
                    self.sent_bytes += 65536
                return response
            case "gzip_bomb":
                return web.Response(body=gzip_bomb(), headers={"Content-Encoding": "gzip"})
            case "no_http":
                _transport(request).write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
                _transport(request).close()
                return web.Response()
        _reset(_transport(request))
        return web.Response()


async def _begin(request: web.BaseRequest, first: bytes, length: int | None = None) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_length = length
    await response.prepare(request)
    await response.write(first)
    return response


def _transport(request: web.BaseRequest) -> asyncio.Transport:
    if not isinstance(request.transport, asyncio.Transport):
        raise ConnectionResetError("the other side was faster")
    return request.transport


def _reset(transport: asyncio.Transport) -> None:
    # Without this option the end of a connection is a polite one (FIN), not a reset.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


@functools.cache
def gzip_bomb() -> bytes:
    """128 MiB of zeros, compressed."""
    compress, step = isal_zlib.compressobj(level=1, wbits=31), bytes(1 << 20)
    return b"".join([*(compress.compress(step) for _ in range(BOMB_BYTES // len(step))), compress.flush()])


def make_events(count: int, first: int = 1) -> list[Event]:
    """Made-up events, a second apart, whose ids ascend."""
    return [make_event(number) for number in range(first, first + count)]


def make_event(number: int = 1, **members: object) -> Event:
    """A made-up event; `members` are added to it."""
    day, second = 1 + number // 86_400, number % 86_400
    clock = f"{second // 3600:02}:{second % 3600 // 60:02}:{second % 60:02}"
    id_ = f"900202601{day:02}{clock.replace(':', '')}{number:039}"
    date = f"2026-01-{day:02}T{clock}.123Z"
    data = {"date": date, "type": "s", "log_id": id_, "user_name": PERSON, "ip": "192.0.2.7", **members}
    raw = json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()
    return Event(id=id_, time=(1_767_225_600 + number) * 1000 + 123, date=date, type="s", raw=raw)


def odd_events() -> list[Event]:
    """Events that are valid JSON and that decoding and encoding again would change."""
    raws = [
        b'{"zulu":1,"alpha":2,"mike":{"zulu":1,"alpha":2}}',
        b'{"id":123456789012345678901234567890,"small":1e-400,"price":1.10,"exponent":1E5,"minus":-0}',
        '{"name":"Jürgen 🦉 Þór","script":"日本語"}'.encode(),
        b'{"name":"J\\u00fcrgen \\ud83e\\udd89","slash":"a\\/b","tab":"\\t","del":"\x7f"}',
        b'{ "spaced" : [ 1 , 2 ] ,\t"tab":true }',
        b'{"twice":1,"twice":2}',
        b'{"text":"a,b}{\\"c\\":[\\n\\u2028"}',
        b'{"deep":' + b'{"d":' * 60 + b"null" + b"}" * 61,
        b"{}",
    ]
    return [Event(f"odd-{index}", 1_767_225_600_000 + index, "", "", raw) for index, raw in enumerate(raws)]


def make_batch(events: Sequence[Event] | int = 3, *, source: str = "acme", attempt: int = 1) -> Batch:
    """A batch of these events, or of so many made-up ones, of a made-up tenant; written an hour after the first."""
    events = make_events(events) if isinstance(events, int) else events
    origin = Origin(name=source, type="auth0", host=f"{source}.us.auth0.com", tenant=source)
    return Batch(source=origin, events=events, now=1_767_229_200_000, attempt=attempt)


def make_answer(reply: Reply) -> Answer:
    """What a sink gets to judge where its destination answers so."""
    return Answer(reply.status, CIMultiDictProxy(CIMultiDict(reply.headers)), reply.body)
