"""The admin server: metrics, probes and status. GET and HEAD only; it changes nothing and shows no event's content.

On the Unix socket beside the journal (0600) the same server also takes what an operator asks (see `desk.py`).
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from shipper.desk import SOCKET_NAME, Desk
from shipper.journal import JournalError
from shipper.journal.sqlite import SqliteJournal
from shipper.scene import Scene

ALIVE_WITHIN_SECS = 5.0
MOST_ASKED_BYTES = 1 << 20
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Admin:
    """Two listeners: TCP for machines that look, the Unix socket for the operator."""

    def __init__(self, journal: SqliteJournal, scene: Scene, registry: CollectorRegistry, desk: Desk) -> None:
        self._journal, self._scene, self._registry, self._desk = journal, scene, registry, desk
        self._runners: list[web.AppRunner] = []
        self.ready = False

    async def start(self, listen: str, journal_dir: Path, runtime_dir: Path | None) -> str:
        """Listens; returns the address, "" where there is none. Raises OSError.

        The operator's socket is in runtime_dir, where there is one; then a link beside the journal leads there, so that
        whoever knows the state directory finds it.
        """
        control = await self._runner(operator=True)
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
        if not listen:
            return ""
        host, _, port = listen.rpartition(":")
        runner = await self._runner(operator=False)
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        bound = runner.addresses[0]
        return f"{bound[0]}:{bound[1]}"

    async def _runner(self, *, operator: bool) -> web.AppRunner:
        app = web.Application(client_max_size=MOST_ASKED_BYTES if operator else 1)
        routes: dict[str, Handler] = {
            "/metrics": self._metrics,
            "/-/healthy": self._healthy,
            "/-/ready": self._is_ready,
            "/api/status": self._status,
        }
        for path, handler in routes.items():
            app.router.add_get(path, handler)
        if operator:
            app.router.add_post("/api/op/{what}", self._operate)
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

    async def _operate(self, request: web.Request) -> web.Response:
        try:
            answer = await self._desk.answer(request.match_info["what"], await request.json())
        except JournalError as error:
            return web.json_response({"refused": str(error), "reason": error.reason}, status=409)
        return web.json_response({"answer": answer})
