"""A destination shaped like Splunk's HTTP Event Collector: takes bodies, counts events, can be told to be down.

`/_bench/count` answers events and bodies so far as JSON; a POST to `/_bench/down` or `/_bench/up` switches it.
"""

import asyncio
import re
import signal
import sys

from aiohttp import web
from isal import isal_zlib

SUCCESS = b'{"text":"Success","code":0}'
BUSY = b'{"text":"Server is busy","code":9}'
ENVELOPE = re.compile(rb'"event": ?\{"log_id"')
"""Where an envelope begins its event; with or without the blank that the plain script's `json.dumps` puts there."""


class Destination:
    """What came in."""

    def __init__(self) -> None:
        self.events = self.bodies = 0
        self.down = False

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """A write, or a word from the bench."""
        body = await request.read()
        if request.path.startswith("/_bench/"):
            self.down = {"/_bench/down": True, "/_bench/up": False}.get(request.path, self.down)
            return web.json_response({"events": self.events, "bodies": self.bodies})
        if self.down:
            return web.Response(status=503, body=BUSY, content_type="application/json")
        plain = isal_zlib.decompress(body, wbits=31) if request.headers.get("Content-Encoding") == "gzip" else body
        self.events += len(ENVELOPE.findall(plain))
        self.bodies += 1
        return web.Response(body=SUCCESS, content_type="application/json")


async def main() -> None:
    """Serves on a free port, which the first line on stdout names, until SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = web.Server(Destination().handle, access_log=None, auto_decompress=False)
    runner = web.ServerRunner(server, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"destination http://127.0.0.1:{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
