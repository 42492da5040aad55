"""The admin server: metrics, probes, status and its page. GET and HEAD only; it changes nothing and shows no event.

On the Unix socket beside the journal (0600) the same server also takes what an operator asks (see `desk.py`).
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from shipper.config.settings import AdminConfig
from shipper.desk import SOCKET_NAME, Desk
from shipper.history import History
from shipper.journal import JournalError
from shipper.journal.sqlite import SqliteJournal
from shipper.newest import Newest
from shipper.scene import Scene
from shipper.status_page import PAGE, POLICY

ALIVE_WITHIN_SECS = 5.0
MOST_ASKED_BYTES = 1 << 20
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every answer: no browser keeps it, guesses at it, or shows or gives it to another site's page."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Admin:
    """Two listeners: TCP for machines and people that look, the Unix socket for the operator."""

    def __init__(
        self, journal: SqliteJournal, scene: Scene, history: History, registry: CollectorRegistry, desk: Desk
    ) -> None:
        self._journal, self._scene, self._history, self._registry, self._desk = journal, scene, history, registry, desk
        self._newest = Newest(journal)
        self._runners: list[web.AppRunner] = []
        self.ready = False

    async def start(self, config: AdminConfig, journal_dir: Path, runtime_dir: Path | None) -> str:
        """Listens; returns the address, "" where there is none. Raises OSError.

        The operator's socket is in runtime_dir, where there is one; then a link beside the journal leads there, so that
        whoever knows the state directory finds it.
        """
        operator = web.Application(client_max_size=MOST_ASKED_BYTES)
        operator.router.add_post("/api/op/{what}", self._operate)
        control = await self._runner(operator, shows_status=True)
        known = journal_dir / SOCKET_NAME
        path = runtime_dir / SOCKET_NAME if runtime_dir else known
        for old in (known, path):
            old.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            await web.UnixSite(control, str(path)).start()
        finally:
            os.umask(before)
        if path != known:
            known.symlink_to(path)
        if not config.listen:
            return ""
        host, _, port = config.listen.rpartition(":")
        private = is_loopback(host)
        app = web.Application(client_max_size=1, middlewares=[only_by_loopback_names] if private else [])
        runner = await self._runner(app, shows_status=private or config.status_page)
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        bound = runner.addresses[0]
        return f"{bound[0]}:{bound[1]}"

    async def _runner(self, app: web.Application, *, shows_status: bool) -> web.AppRunner:
        routes: dict[str, Handler] = {
            "/": self._page if shows_status else _not_here,
            "/metrics": self._metrics,
            "/-/healthy": self._healthy,
            "/-/ready": self._is_ready,
            "/api/status": self._status if shows_status else _not_here,
        }
        for path, handler in routes.items():
            app.router.add_get(path, handler)
        app.on_response_prepare.append(_with_headers)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0, keepalive_timeout=15)
        await runner.setup()
        self._runners.append(runner)
        return runner

    async def stop(self) -> None:
        """Closes both listeners."""
        for runner in self._runners:
            await runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def _healthy(self, _request: web.Request) -> web.Response:
        """The loop answers, so it lives; the journal's thread is asked. Nothing upstream: no restart heals that."""
        try:
            async with asyncio.timeout(ALIVE_WITHIN_SECS):
                await self._journal.alive()
        except TimeoutError:
            return web.Response(status=503, text="the journal's thread does not answer\n")
        return web.Response(text="alive\n")

    async def _is_ready(self, _request: web.Request) -> web.Response:
        return web.Response(text="ready\n") if self.ready else web.Response(status=503, text="starting\n")

    async def _status(self, request: web.Request) -> web.Response:
        """`?after=`, from the page: with what came in, and the history behind that time, 0 for all of it."""
        status = self._scene.status()
        if (after := request.query.get("after")) is not None:
            if not (after.isascii() and after.isdecimal() and len(after) <= 15):
                return web.Response(status=400, text="after: milliseconds since 1970\n")
            status["history"] = self._history.since(int(after))
            status["newest"] = await self._newest.look()
        return web.Response(body=msgspec.json.encode(status), content_type="application/json")

    async def _page(self, _request: web.Request) -> web.Response:
        return web.Response(
            body=PAGE, content_type="text/html", charset="utf-8", headers={"Content-Security-Policy": POLICY}
        )

    async def _operate(self, request: web.Request) -> web.Response:
        try:
            answer = await self._desk.answer(request.match_info["what"], await request.json())
        except JournalError as error:
            return web.json_response({"refused": str(error), "reason": error.reason}, status=409)
        return web.json_response({"answer": answer})


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches this host, as it stands in an address or a URL."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@web.middleware
async def only_by_loopback_names(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A stranger's page can give its own name this machine's address, and would then read what is served here.

    The browser still sends that name along.
    """
    try:
        name = urlsplit(f"//{request.headers.get('Host', 'localhost')}").hostname or ""
    except ValueError:
        name = ""
    if not is_loopback(name):
        return web.Response(status=421, text="ask for this by localhost or a loopback address\n")
    return await handler(request)


async def _with_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


async def _not_here(_request: web.Request) -> web.Response:
    """More than this machine can ask here."""
    return web.Response(status=403, text="this is shown here where admin.status_page = true\n")
