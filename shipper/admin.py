"""The admin server: metrics, probes and status. GET and HEAD only; it changes nothing and shows no event's content.

On the Unix socket beside the journal (0600) the same server also lists dead letters, and takes what an operator asks
of a daemon that runs: another try, or to give up or rename what is not in use.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from shipper.journal import UnknownNameError
from shipper.journal.sqlite import SqliteJournal
from shipper.scene import Scene

SOCKET_NAME = "control.sock"
ALIVE_WITHIN_SECS = 5.0
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Operated(Protocol):
    """What the daemon does when an operator asks."""

    def retry(self, name: str, accept_dead: int) -> int:
        """Wakes what waits, of one source or sink or of all. Returns how many lanes and sources that were."""

    def in_use(self, name: str) -> bool:
        """Whether a source or sink of this name is running."""


class Admin:
    """Two listeners: TCP for machines that look, the Unix socket for the operator."""

    def __init__(self, journal: SqliteJournal, scene: Scene, registry: CollectorRegistry, daemon: Operated) -> None:
        self._journal, self._scene, self._registry, self._daemon = journal, scene, registry, daemon
        self._runners: list[web.AppRunner] = []
        self.ready = False

    async def start(self, listen: str, socket_dir: Path) -> str:
        """Listens; returns the address, "" where there is none. Raises OSError."""
        control = await self._runner(operator=True)
        path = socket_dir / SOCKET_NAME
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            await web.UnixSite(control, str(path)).start()
        finally:
            os.umask(before)
        if not listen:
            return ""
        host, _, port = listen.rpartition(":")
        runner = await self._runner(operator=False)
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        bound = runner.addresses[0]
        return f"{bound[0]}:{bound[1]}"

    async def _runner(self, *, operator: bool) -> web.AppRunner:
        app = web.Application(client_max_size=1)
        routes: dict[str, Handler] = {
            "/metrics": self._metrics,
            "/-/healthy": self._healthy,
            "/-/ready": self._is_ready,
            "/api/status": self._status,
        }
        if operator:
            routes["/api/dead"] = self._dead
        for path, handler in routes.items():
            app.router.add_get(path, handler)
        if operator:
            for path, handler in {"retry": self._retry, "forget": self._forget, "rename": self._rename}.items():
                app.router.add_post(f"/api/{path}", handler)
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

    async def _status(self, _request: web.Request) -> web.Response:
        return web.json_response(self._scene.status())

    async def _dead(self, request: web.Request) -> web.Response:
        def wanted(key: str) -> str:
            return request.query.get(key, "")

        letters = await self._journal.dead_letters(
            source=wanted("source"), sink=wanted("sink"), reason=wanted("reason")
        )
        return web.json_response([letter.listed() for letter in letters])

    async def _retry(self, request: web.Request) -> web.Response:
        woken = self._daemon.retry(request.query.get("name", ""), int(request.query.get("accept_dead", "0")))
        return web.json_response({"woken": woken})

    async def _forget(self, request: web.Request) -> web.Response:
        name = request.query["name"]
        if self._daemon.in_use(name):
            return _refused(f"{name} is in use: take it out of the configuration, or disable it, and restart first")
        try:
            waiting = await self._journal.forget(request.query["kind"], name, request.query["who"])
        except UnknownNameError as error:
            return _refused(str(error))
        return web.json_response({"given_up": waiting})

    async def _rename(self, request: web.Request) -> web.Response:
        old, new = request.query["old"], request.query["new"]
        if self._daemon.in_use(old) or self._daemon.in_use(new):
            return _refused("one of the two is in use: stop the daemon first")
        try:
            await self._journal.rename(old, new, request.query["who"])
        except UnknownNameError as error:
            return _refused(str(error))
        return web.json_response({})


def _refused(why: str) -> web.Response:
    return web.json_response({"refused": why}, status=409)
