"""The daemon with a configuration that changes under it, and what its destinations hold in the end."""

import json
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from daemon_case import SECRETS, Daemon, TenantThread

from shipper.simulator.server import Running
from shipper.simulator.tenant import Tenant

SIGHUP = 1
Tables = dict[str, dict[str, Any] | None]
"""`sinks.NAME` or `sources.NAME` → its settings; None: not there."""


CLIENT: dict[str, Any] = {"client_id": "canary-client", "client_secret": SECRETS["client_secret"], "plan": "none"}
EVERY_SECS = 0.002


class Stream:
    """A tenant in which something happens all the time, until `end`."""

    def __init__(self, **options: Any) -> None:
        self._events = Tenant(count=1_000_000, **CLIENT, **options).issued()
        self._thread = TenantThread(Tenant(events=[next(self._events)[1]], **CLIENT, **options))
        self._over = threading.Event()
        self._adding = threading.Thread(target=self._add, daemon=True)

    def __enter__(self) -> Self:
        self.running: Running = self._thread.__enter__()
        self._adding.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.end()
        self._thread.__exit__()

    def _add(self) -> None:
        while not self._over.wait(EVERY_SECS):
            self.running.tenant.add(next(self._events)[1])

    def end(self) -> list[bytes]:
        """All that ever happened."""
        self._over.set()
        self._adding.join()
        return issued(self.running)


def issued(running: Running) -> list[bytes]:
    """A tenant's events as it sends them, in its order."""
    return [raw for _, raw in running.tenant.issued()]


def hec(url: str, **more: Any) -> dict[str, Any]:
    """A sink's settings."""
    common = {"add_tenant_name": False, "request.retry_max_duration_secs": 0.2, "batch.max_events": 20}
    return {"type": "splunk_hec", "url": url, "token": SECRETS["token"], **common, **more}


def tenant(url: str, domain: str = "acme.us.auth0.com", **more: Any) -> dict[str, Any]:
    """A source's settings."""
    client = {"client_id": "canary-client", "client_secret": SECRETS["client_secret"]}
    return {"type": "auth0", "domain": domain, "base_url": url, **client, "poll_interval_secs": 0.1, **more}


class Reloaded(Daemon):
    """`shipper run`, told to read its configuration again."""

    def __init__(self, place: Path, **tables: Any) -> None:
        super().__init__(place, "", "")
        self.head = f'state_dir = "{place / "state"}"\nshutdown_secs = 1.5\nadmin.listen = "127.0.0.1:0"\n'
        self.tables: Tables = {name.replace("__", "."): table for name, table in tables.items()}
        self.write()

    def write(self, **changes: Any) -> None:
        """The file with these tables as they are now; replaced whole, as a careful editor does."""
        self.tables |= {name.replace("__", "."): table for name, table in changes.items()}
        lines = [self.head]
        for name, table in self.tables.items():
            if table is not None:
                lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        new = self.config.with_suffix(".new")
        new.write_text("\n".join(lines))
        new.rename(self.config)

    def reload(self, outcome: str = "applied", **changes: Any) -> None:
        """Changes the file, says so, and waits for what becomes of it."""
        self.write(**changes)
        before = self.reloads(outcome)
        self.process.send_signal(SIGHUP)
        self.until(lambda: self.reloads(outcome) > before, f"{outcome}: {changes}")

    def reloads(self, outcome: str) -> int:
        return int(self.figure("shipper_config_reloads_total", outcome=outcome))

    def figure(self, name: str, **labels: str) -> float:
        """One figure of /metrics. Raises StopIteration where there is none."""
        wanted = ",".join(f'{key}="{labels[key]}"' for key in sorted(labels))
        lines = self.get("/metrics")[1].splitlines()
        return float(next(line for line in lines if line.startswith(f"{name}{{{wanted}}} ")).split()[-1])

    def lanes(self) -> dict[str, dict[str, Any]]:
        """`source sink` → what the status says of it."""
        found = json.loads(self.get("/api/status")[1])["lanes"]
        return {f"{lane['source']} {lane['sink']}": lane for lane in found}
