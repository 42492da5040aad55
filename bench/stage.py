"""What stands around a measurement: a tenant, a destination, and the daemon or a baseline between them."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from bench.program import Program, Usage
from bench.sinks import CREDENTIALS, HEC_TOKEN, only_hec

DOMAIN = "acme.us.auth0.com"
CLIENT = ("simulated-client", "simulated-secret")
LONGEST_RUN_SECS = 900.0


class Stage:
    """A temporary directory with the programs of one row in it. Each daemon gets a journal of its own.

    sinks: the lines of a daemon's configuration for its sinks, from the destination's address. source: those of its
    source, from a tenant's domain and address.
    """

    def __init__(
        self, directory: Path, sinks: Callable[[str], list[str]], source: Callable[[str, str], list[str]]
    ) -> None:
        self.directory = directory
        self._sinks, self._source = sinks, source
        self._printed = 0
        self.tenant_url = self.hec_url = ""
        self._made = 0

    @contextmanager
    def tenant(self, *options: str) -> Iterator[None]:
        """`shipper simulate` with these options, in its own process, without rate limits."""
        arguments = ("-m", "shipper", "simulate", "--plan", "none", "--port", "0", *options)
        with Program(self._name("tenant"), self.directory, *arguments) as program:
            self.tenant_url = program.line("tenant http").split()[1]
            yield

    @contextmanager
    def destination(self, *options: str) -> Iterator[None]:
        """The destination of all sinks but stdout, in its own process."""
        with Program(self._name("hec"), self.directory, "-m", "bench.hec", *options) as program:
            self.hec_url = program.line("destination http").split()[1]
            yield

    def tell(self, word: str) -> dict[str, int]:
        """Says `count`, `down` or `up` to the destination; returns how many events each kind of sink has brought.

        stdout: those of daemons that have ended.
        """
        with urlopen(Request(f"{self.hec_url}/_bench/{word}", method="POST"), timeout=60) as answer:
            return {**json.load(answer), "stdout": self._printed}

    def script(self, name: str) -> Usage:
        """A baseline from its start to its end."""
        environment = {
            "TENANT_URL": self.tenant_url, "TENANT_DOMAIN": DOMAIN, "CLIENT_ID": CLIENT[0], "CLIENT_SECRET": CLIENT[1],
            "HEC_URL": self.hec_url, "HEC_TOKEN": HEC_TOKEN,
        }  # fmt: skip
        with Program(self._name(name), self.directory, "-m", f"bench.{name}", environment=environment) as program:
            return program.end(LONGEST_RUN_SECS)

    def run_once(self) -> tuple[Usage, int]:
        """`shipper run --once` from its start to its end; and the bytes of the journal that it leaves."""
        state = self.directory / self._name("state")
        config = self.config(state, {DOMAIN: self.tenant_url})
        arguments = ("-m", "shipper", "run", "--once", "--config", str(config))
        with self._shipper(arguments) as program:
            usage = program.end(LONGEST_RUN_SECS)
        journal = sum(path.stat().st_size for path in (state / "journal").glob("journal.sqlite*"))
        shutil.rmtree(state)
        return usage, journal

    @contextmanager
    def daemon(self, tenants: dict[str, str]) -> Iterator["Daemon"]:
        """`shipper run` over these tenants (domain → address)."""
        state = self.directory / self._name("state")
        arguments = ("-m", "shipper", "run", "--config", str(self.config(state, tenants)))
        with self._shipper(arguments) as program:
            started = json.loads(program.line('"event": "started"'))
            yield Daemon(program, started["admin"])

    @contextmanager
    def _shipper(self, arguments: tuple[str, ...]) -> Iterator[Program]:
        with Program(
            self._name("shipper"), self.directory, *arguments, environment=CREDENTIALS, counted=True
        ) as program:
            yield program
        self._printed += program.printed()

    def config(self, state: Path, tenants: dict[str, str]) -> Path:
        """A configuration with defaults for all that matters; backoff is short, so that a row ends soon."""
        lines = [f'state_dir = "{state}"', "[admin]", 'listen = "127.0.0.1:0"']
        for number, (domain, url) in enumerate(tenants.items()):
            lines += [f"[sources.tenant{number}]", *self._source(domain, url)]
        lines += self._sinks(self.hec_url)
        path = self.directory / self._name("config.toml")
        path.write_text("\n".join(lines) + "\n")
        return path

    def _name(self, what: str) -> str:
        self._made += 1
        return f"{self._made}-{what}"


class Daemon:
    """A running daemon and its status page."""

    def __init__(self, program: Program, address: str) -> None:
        self.program = program
        self._address = address

    def events(self) -> tuple[int, int]:
        """Events stored, and events that wait for delivery, over all sources."""
        with urlopen(f"http://{self._address}/api/status", timeout=30) as answer:
            status: dict[str, Any] = json.load(answer)
        return sum(s["events"] for s in status["sources"]), sum(lane["lag_events"] for lane in status["lanes"])

    def until(self, true: Callable[[int, int], bool], every_secs: float = 0.25) -> None:
        """Asks again and again, until (stored, waiting) is as wanted."""
        end = time.monotonic() + LONGEST_RUN_SECS
        while not true(*self.events()):
            if time.monotonic() > end:
                raise RuntimeError(f"the daemon did not get there in {LONGEST_RUN_SECS:g} s")
            time.sleep(every_secs)


def auth0(domain: str, url: str) -> list[str]:
    """A source of an Auth0 tenant."""
    client = [f'client_id = "{CLIENT[0]}"', f'client_secret = "{CLIENT[1]}"']
    return ['type = "auth0"', f'domain = "{domain}"', f'base_url = "{url}"', *client]


def logto(_domain: str, url: str) -> list[str]:
    """A source of a Logto tenant."""
    return ['type = "logto"', f'endpoint = "{url}"', f'app_id = "{CLIENT[0]}"', f'app_secret = "{CLIENT[1]}"']


@contextmanager
def stage(
    sinks: Callable[[str], list[str]] = only_hec, source: Callable[[str, str], list[str]] = auth0
) -> Iterator[Stage]:
    """A stage in a temporary directory, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as directory:
        yield Stage(Path(directory), sinks, source)
