"""The daemon of a soak: `shipper run` as a process that is killed and started again, and everything that it prints."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from soak.destinations import line_event
from soak.oracle import Held
from soak.weather import Weather

ROOT = Path(__file__).resolve().parents[2]
ENDS_WITHIN_SECS = 40.0
TOKEN, API_KEY, CLIENT_SECRET = "canary-hec-token-11d2", "canary-dd-key-93b8", "canary-client-secret-40aa"
BATCH = 200
JOURNAL_BYTES = 40_000_000
MOST_PENDING = 4
CONFIG = """\
state_dir = "{state}"
shutdown_secs = 5
[admin]
listen = "127.0.0.1:0"
[journal]
max_bytes = {journal_bytes}
keep_days = 0
[sources.acme]
type = "auth0"
domain = "acme.us.auth0.com"
base_url = "{tenant}"
client_id = "simulated-client"
client_secret = "{secret}"
poll_interval_secs = 0.3
[sinks.siem]
type = "splunk_hec"
url = "{siem}"
token = "{token}"
{common}
[sinks.indexers]
type = "splunk_hec"
url = "{indexers}"
token = "{token}"
acknowledgements = {{ enabled = true, timeout_secs = 4, max_pending = {pending} }}
{common}
[sinks.observability]
type = "datadog"
url = "{observability}"
api_key = "{api_key}"
add_tenant_name = false
batch.max_events = {batch}
request.timeout_secs = 2
[sinks.archive]
type = "s3"
bucket = "{bucket}"
region = "us-east-1"
endpoint_url = "{archive}"
add_tenant_name = false
batch.timeout_secs = 2
request.timeout_secs = 5
request.retry_max_duration_secs = 5
[sinks.console]
type = "stdout"
{common}
"""
COMMON = f"""\
add_tenant_name = false
batch.max_events = {BATCH}
request.timeout_secs = 2
request.retry_max_duration_secs = 5"""
LANES = ("siem", "indexers", "observability", "archive", "console")


class Daemon:
    """One state directory with one daemon at a time. place: where its configuration and all that it prints go."""

    def __init__(self, place: Path, console: Held, weather: Weather, keys: tuple[str, str]) -> None:
        self.place = place
        self.config, self.log, self.seen = place / "config.toml", place / "daemon.log", place / "scraped"
        self._clock = place / "clock"
        self._console, self._weather = console, weather
        self._log_from = 0
        self._keys = keys
        self.set_clock(0.0)

    def configure(self, **values: Any) -> None:
        """Writes the configuration: addresses by the names of sinks, and state, tenant and bucket."""
        fixed = {
            "secret": CLIENT_SECRET,
            "token": TOKEN,
            "api_key": API_KEY,
            "batch": BATCH,
            "journal_bytes": JOURNAL_BYTES,
            "pending": MOST_PENDING,
        }
        self.config.write_text(CONFIG.format(common=COMMON, **fixed, **values))

    def set_clock(self, wrong_secs: float) -> None:
        """Steps the daemon's wall clock: it is wrong by so much from now on."""
        beside = self._clock.with_suffix(".new")
        beside.write_text(str(wrong_secs))
        beside.replace(self._clock)

    def start(self) -> None:
        """Starts it and reads what it prints."""
        self.started_at = time.monotonic()
        self._log_from = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "soak.clock", str(self._clock), "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=self._environ(), cwd=ROOT,
            )  # fmt: skip
        self._reader = threading.Thread(target=self._read, args=[self.process.stdout], name="console")
        self._reader.start()

    def _environ(self) -> dict[str, str]:
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("SHIPPER_", "AWS_"))}
        ours = {"AWS_ACCESS_KEY_ID": self._keys[0], "AWS_SECRET_ACCESS_KEY": self._keys[1]}
        paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        return {**keep, **ours, "AWS_EC2_METADATA_DISABLED": "true", "PYTHONPATH": paths}

    def _read(self, stdout: Any) -> None:
        rest = b""
        with stdout:
            while data := os.read(stdout.fileno(), 1 << 16):
                while self._weather.fault() == "nobody_reads":
                    time.sleep(0.05)
                *lines, rest = (rest + data).split(b"\n")
                # A kill may cut the last line; its event was not acknowledged, so it comes again.
                self._console.add(line_event(line) for line in lines if line)
                self._weather.through()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit status; it is killed where it does not end."""
        try:
            return self.process.wait(ENDS_WITHIN_SECS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def end(self) -> int:
        """Its exit status, once all that it printed is read."""
        status = self.wait()
        self._reader.join()
        return status

    def kill(self) -> None:
        """Leaves nothing of it behind, however it was doing."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        self.end()

    @property
    def ended(self) -> bool:
        """Whether it has ended, by itself or not."""
        return self.process.poll() is not None

    def address(self) -> str:
        """Where this process's admin server listens, "" before it does."""
        with self.log.open("rb") as log:
            log.seek(self._log_from)
            for line in log:
                if b'"started"' in line and line.endswith(b"\n"):
                    return str(json.loads(line)["admin"])
        return ""

    def scrape(self) -> dict[str, Any]:
        """Its status, {} where it does not answer. The metrics are kept for the search for secrets."""
        found: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError), self.seen.open("ab") as seen:
            address = self.address()
            for path in ("/metrics", "/api/status") if address else ():
                with urllib.request.urlopen(f"http://{address}{path}", timeout=2) as answer:
                    body = answer.read()
                seen.write(body)
                found = json.loads(body) if path == "/api/status" else {}
        return found

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another command of the program's, with the same configuration."""
        command = [sys.executable, "-m", "shipper", *words, "--config", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, env=self._environ(), cwd=ROOT, check=False)
