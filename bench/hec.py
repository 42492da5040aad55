"""A destination shaped like three: Splunk's HTTP Event Collector, Datadog's intake, a bucket of S3.

It takes bodies, counts events by who sent them, and can be told to be down. `/_bench/count` answers the counts so far
as JSON; a POST to `/_bench/down` or `/_bench/up` switches it. With a number of seconds as its argument, each body of
the collector's gets an `ackId`, which `/services/collector/ack` calls true when that time is over.
"""

import asyncio
import json
import re
import signal
import sys
import time

from aiohttp import hdrs, web
from isal import isal_zlib

SUCCESS = b'{"text":"Success","code":0}'
BUSY = b'{"text":"Server is busy","code":9}'
GZIP = b"\x1f\x8b"
BEGINS = {
    "hec": re.compile(rb'"event": ?\{"log_id"'),
    "datadog": re.compile(rb'"ddsource":'),
    "s3": re.compile(rb"\n"),
}
"""What each event has once; the collector's with or without the blank that the plain script's `json.dumps` puts."""


class Destination:
    """What came in. ack_secs: how long the indexers take; None: acknowledgement is disabled."""

    def __init__(self, ack_secs: float | None) -> None:
        self.events = dict.fromkeys(BEGINS, 0)
        self.down = False
        self._ack_secs = ack_secs
        self._posted: list[float] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """A write, a question after acknowledgements, or a word from the bench."""
        if request.headers.get(hdrs.EXPECT):
            # boto3 asks before each body, and would wait a second for this answer.
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await request.content.read()
        if request.path.startswith("/_bench/"):
            self.down = {"/_bench/down": True, "/_bench/up": False}.get(request.path, self.down)
            return web.json_response(self.events)
        if self.down:
            return web.Response(status=503, body=b"" if request.method == "PUT" else BUSY)
        if request.path == "/services/collector/ack":
            return self._acknowledged(body)
        kind = {"/api/v2/logs": "datadog"}.get(request.path, "s3" if request.method == "PUT" else "hec")
        plain = isal_zlib.decompress(body, wbits=31) if body.startswith(GZIP) else body
        self.events[kind] += sum(1 for _ in BEGINS[kind].finditer(plain))
        return self._thanks(kind)

    def _thanks(self, kind: str) -> web.Response:
        if kind == "s3":
            return web.Response(headers={hdrs.ETAG: '"taken"'})
        if kind == "datadog":
            return web.json_response({}, status=202)
        if self._ack_secs is None:
            return web.Response(body=SUCCESS, content_type="application/json")
        self._posted.append(time.monotonic())
        return web.json_response({"text": "Success", "code": 0, "ackId": len(self._posted) - 1})

    def _acknowledged(self, body: bytes) -> web.Response:
        until = time.monotonic() - (self._ack_secs or 0.0)
        return web.json_response({"acks": {str(id_): self._posted[id_] <= until for id_ in json.loads(body)["acks"]}})


async def main(ack_secs: float | None) -> None:
    """Serves on a free port, which the first line on stdout names, until SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = web.Server(Destination(ack_secs).handle, access_log=None, auto_decompress=False)
    runner = web.ServerRunner(server, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"destination http://127.0.0.1:{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else None))
