"""A tenant on a socket: does what `Tenant` decides, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Generic, TypeVar

from aiohttp import web

from shipper.simulator.answer import Answer, Asked
from shipper.simulator.logto import LogtoTenant
from shipper.simulator.options import Options
from shipper.simulator.served import Served
from shipper.simulator.tenant import Tenant

__all__ = ["Running", "Serving", "main", "run", "serve"]

_LINES_A_WRITE = 1_000
_LONGEST_LINE = 1 << 16


T = TypeVar("T", bound=Served)


class Serving(Generic[T]):
    """A tenant that listens: `url` is its origin, without a slash at the end."""

    def __init__(self, tenant: T) -> None:
        self.tenant = tenant
        self.url = ""
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until `true()`, asked again at every request and after every answer: for tests, instead of sleeping."""
        if true():
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((true, done))
        await done

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, from any connection."""
        if request.path.startswith("/_simulator/"):
            return await self._inspect(request)
        tenant = self.tenant
        body = await request.read()
        asked = Asked(
            request.method,
            request.path,
            dict(request.query),
            request.headers,
            tenant.now(),
            body,
            target_bytes=len(request.raw_path),
        )
        tenant.record(asked)
        self._woken()
        answer = await self._scripted(asked) or tenant.answer(asked)
        try:
            return await _send(request, answer)
        finally:
            self._woken()

    async def _scripted(self, asked: Asked) -> Answer | None:
        scripted = self.tenant.scripted(asked)
        if scripted is None or isinstance(scripted, Answer):
            return scripted
        answer = scripted(asked)
        return await answer if inspect.isawaitable(answer) else answer

    def _woken(self) -> None:
        for entry in [one for one in self._waiting if one[0]()]:
            self._waiting.remove(entry)
            if not entry[1].done():
                entry[1].set_result(None)

    async def _inspect(self, request: web.BaseRequest) -> web.StreamResponse:
        match request.path:
            case "/_simulator/count":
                return web.json_response({"issued": self.tenant.count()})
            case "/_simulator/ids":
                return await _lines(request, (position.encode() for position in self.tenant.ids()))
            case "/_simulator/issued":
                return await _lines(request, (raw for _, raw in self.tenant.issued()))
            case _:
                return web.Response(status=404)


Running = Serving[Tenant]
"""An Auth0 tenant that listens."""


async def _send(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    if answer.delay_secs:
        await asyncio.sleep(answer.delay_secs)
    if answer.cut_after is None and answer.body_after is None:
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = len(answer.body)
    if answer.cut_after is None or answer.cut_after >= 0:
        await response.prepare(request)
    if answer.body_after is not None:
        await answer.body_after.wait()
    if answer.cut_after is None:
        await response.write(answer.body)
        return response
    if answer.cut_after > 0:
        await response.write(answer.body[: answer.cut_after])
    _tear_down(request, politely=answer.cut_after >= 0)
    return response


def _tear_down(request: web.BaseRequest, *, politely: bool) -> None:
    if request.transport is None:
        return
    # Aborting throws away what is still unsent: a cut in the body must let the bytes before it arrive.
    if politely:
        request.transport.close()
    else:
        request.transport.abort()


async def _lines(request: web.BaseRequest, lines: Iterable[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    held: list[bytes] = []
    for line in lines:
        held.append(line)
        if len(held) == _LINES_A_WRITE:
            await response.write(b"\n".join(held) + b"\n")
            held.clear()
    if held:
        await response.write(b"\n".join(held) + b"\n")
    await response.write_eof()
    return response


@contextlib.asynccontextmanager
async def serve(tenant: T, tls: ssl.SSLContext | None = None) -> AsyncIterator[Serving[T]]:
    """Listen for `tenant` at its options' host and port while the block runs. Raises OSError if that fails."""
    running = Serving(tenant)
    # A long request is the tenant's to refuse.
    server = web.Server(running.handle, access_log=None, max_line_size=_LONGEST_LINE)
    runner = web.ServerRunner(server, shutdown_timeout=0.05)
    await runner.setup()
    try:
        site = web.TCPSite(runner, tenant.options.host, tenant.options.port, ssl_context=tls)
        await site.start()
        host, port = runner.addresses[0][:2]
        running.url = f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{port}"
        yield running
    finally:
        await runner.cleanup()


def run(options: Options) -> None:
    """Serve until SIGTERM or SIGINT; one line on stdout says where, once it listens.

    Raises ValueError for an option that can't work, OSError if the events can't be read or the port not taken.
    """
    asyncio.run(_serve_until_stopped(LogtoTenant(options) if options.kind == "logto" else Tenant(options)))


def main(**options: Any) -> None:
    """`run` with the fields of Options as keywords."""
    run(Options(**options))


async def _serve_until_stopped(tenant: Served) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serve(tenant) as running:
        words = f"{tenant.described} issued={tenant.count()} rate={tenant.options.rate:g}"
        sys.stdout.write(f"tenant {running.url} {words}\n")
        sys.stdout.flush()
        await stop.wait()
