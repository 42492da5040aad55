"""The daemon as its users run it: a process, a configuration file, two destinations that remember what they hold."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from shipper.scripted import Destination, Received, Reply
from shipper.simulator.served import Served
from shipper.simulator.server import Serving

SECRETS = {"client_secret": "canary-client-secret", "token": "canary-hec-token"}
SUCCESS = Reply(200, b'{"text":"Success","code":0}')
AUTH0 = (
    'type = "auth0"\ndomain = "acme.us.auth0.com"\nbase_url = "TENANT"\n'
    f'client_id = "canary-client"\nclient_secret = "{SECRETS["client_secret"]}"\n'
)
LOGTO = (
    'type = "logto"\nendpoint = "TENANT"\nwindow_margin_secs = 1.0\n'
    f'app_id = "canary-client"\napp_secret = "{SECRETS["client_secret"]}"\n'
)
WITHIN_SECS = 30.0
STARTED: list["subprocess.Popen[Any]"] = []
"""Every process of a test, for the fixture that leaves none behind."""


class Hec:
    """An HTTP Event Collector that keeps the bytes of every event, in the order in which they came."""

    def __init__(self) -> None:
        self.envelopes: list[bytes] = []

    def __call__(self, request: Received) -> Reply:
        self.envelopes += envelopes(request.body)
        return SUCCESS


def envelopes(body: bytes) -> list[bytes]:
    """The bytes behind `"event":` of each concatenated object."""
    found, decoder, text, at = [], json.JSONDecoder(strict=False), body.decode("utf-8", "surrogateescape"), 0
    while at < len(text):
        _, end = decoder.raw_decode(text, at)
        one = text[at:end].encode("utf-8", "surrogateescape")
        found.append(one[one.index(b'"event":') + 8 : -1])
        at = end
    return found


def raw_of(envelope: bytes) -> bytes:
    """The event's own bytes in `{"log_id":…,"data":…}`."""
    return envelope[envelope.index(b'"data":') + 7 : -1]


class Daemon:
    """`shipper run` in a directory of its own."""

    def __init__(
        self, place: Path, tenant: str, hec: str, *, extra: str = "", siem: str = "", source: str = AUTH0
    ) -> None:
        """extra, siem: more lines for the sinks console and siem. hec: its address, "" for no such sink.

        source: the lines of its table, in which TENANT stands for the tenant's address.
        """
        self.place = place
        self.log: list[str] = []
        self.lines: list[bytes] = []
        self.config = place / "config.toml"
        sink = f'[sinks.siem]\ntype = "splunk_hec"\nurl = "{hec}"\ntoken = "{SECRETS["token"]}"\n' if hec else ""
        common = "add_tenant_name = false\nrequest.retry_max_duration_secs = 0.2\n"
        self.config.write_text(
            f'state_dir = "{place / "state"}"\nshutdown_secs = 1.5\n[admin]\nlisten = "127.0.0.1:0"\n'
            f"[sources.acme]\n{source.replace('TENANT', tenant)}poll_interval_secs = 0.1\n"
            f"{sink}{common if sink else ''}{siem}"
            f'[sinks.console]\ntype = "stdout"\n{common}{extra}'
        )

    def start(
        self,
        *words: str,
        stdout: int = subprocess.PIPE,
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Starts it and reads what it prints. before: words before its command. environment: more of it."""
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "shipper", "run", "--config", str(self.config), *words],
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=environ() | dict(environment or {}),
        )
        STARTED.append(self.process)
        self._readers = []
        for stream, keep in ((self.process.stdout, self._keep_line), (self.process.stderr, self._keep_log)):
            if stream is not None:
                reader = threading.Thread(target=self._read, args=[stream, keep], daemon=True)
                reader.start()
                self._readers.append(reader)

    def _read(self, stream: IO[bytes], keep: Any) -> None:
        with stream:
            for line in stream:
                if line.endswith(b"\n"):
                    keep(line[:-1])

    def _keep_line(self, line: bytes) -> None:
        self.lines.append(line)

    def _keep_log(self, line: bytes) -> None:
        self.log.append(line.decode())

    def kill(self) -> None:
        """What a power switch would do."""
        self.process.kill()
        self.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """The exit status."""
        status = self.process.wait(WITHIN_SECS)
        for reader in self._readers:
            reader.join(WITHIN_SECS)
        return status

    def until(self, condition: Any, what: str = "") -> None:
        """Waits until something is true of what it printed or delivered."""
        until(condition, lambda: f"{what}; log: {self.log[-5:]}")

    def records(self, event: str = "") -> list[dict[str, Any]]:
        """Its log as objects, of one kind or all."""
        found = [json.loads(line) for line in self.log if line.startswith("{")]
        return [record for record in found if event in ("", record["event"])]

    @property
    def address(self) -> str:
        """Where it listens, once it has said so."""
        self.until(lambda: self.records("started"), "it never listens")
        return f"http://{self.records('started')[-1]['admin']}"

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        """One request to its admin server."""
        request = urllib.request.Request(self.address + path, method=method)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Another command with the same configuration."""
        return command(*words, "--config", str(self.config))


def until(condition: Any, what: Any = lambda: "") -> None:
    """Waits for another process or thread; there is nobody who could tell us."""
    end = time.monotonic() + WITHIN_SECS
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"this never came true: {what()}")
        threading.Event().wait(0.01)


def environ() -> dict[str, str]:
    """The environment without settings of whoever runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SHIPPER_")}


def command(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """One command to its end."""
    typed = [sys.executable, "-m", "shipper", *words]
    return subprocess.run(typed, capture_output=True, text=True, env={**environ(), **environment}, timeout=WITHIN_SECS)


T = TypeVar("T", bound=Served)


class TenantThread(Generic[T]):
    """A simulated tenant on an event loop of its own, so that plain tests may wait in any way they like."""

    def __init__(self, tenant: T) -> None:
        import asyncio

        self.tenant = tenant
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Serving[T]:
        import asyncio

        from shipper.simulator.server import serve

        self._thread.start()
        self._serving = serve(self.tenant)
        return asyncio.run_coroutine_threadsafe(self._serving.__aenter__(), self._loop).result(WITHIN_SECS)

    def __exit__(self, *error: object) -> None:
        import asyncio

        asyncio.run_coroutine_threadsafe(self._serving.__aexit__(None, None, None), self._loop).result(WITHIN_SECS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WITHIN_SECS)
        self._loop.close()


__all__ = ["Daemon", "Destination", "Hec", "Reply", "TenantThread", "command", "envelopes", "raw_of", "until"]
