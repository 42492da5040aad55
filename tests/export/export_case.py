"""What the tests of the export share: a tenant whose events are given, and the command without its process."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shipper.config import Settings, load
from shipper.export.session import Request, export
from shipper.simulator.answer import Answer, Asked
from shipper.simulator.served import Served
from shipper.simulator.server import Running, serve
from shipper.simulator.tenant import Tenant
from shipper.sources.selection import EVER, Selection

NOW_MS = 1_790_000_000_000
"""The tenant's time."""
LOGS = "/api/v2/logs"


def made(ms: int, number: int = 0, *, date: int | None = None, **fields: Any) -> bytes:
    """An event that was indexed so many milliseconds before NOW_MS, with a date of its own or the same."""
    indexed = datetime.fromtimestamp((NOW_MS - ms) / 1000, UTC)
    dated = datetime.fromtimestamp((NOW_MS - (ms if date is None else date)) / 1000, UTC)
    log_id = f"900{indexed:%Y%m%d%H%M%S}{indexed.microsecond // 1000:03d}000{number:033d}"
    told = {"date": f"{dated:%Y-%m-%dT%H:%M:%S}.{dated.microsecond // 1000:03d}Z", "type": "s", **fields}
    # Numbers and spaces that no encoder would write this way: bytes have to arrive as they are.
    return json.dumps({**told, "log_id": log_id, "_id": log_id})[:-1].encode() + b', "n":1.50e0}'


def spread(count: int, step_ms: int = 1_000, **fields: Any) -> list[bytes]:
    """So many events, the last one a step before NOW_MS."""
    return [made((count - number) * step_ms, number + 1, **fields) for number in range(count)]


class Naps:
    """Waits that are over at once, and counted."""

    def __init__(self) -> None:
        self.secs: list[float] = []

    async def __call__(self, secs: float) -> None:
        self.secs.append(secs)
        await asyncio.sleep(0)


async def cut_off(work: Coroutine[Any, Any, object], tenant: Served, request: int) -> bool:
    """Works until this request and no further. Returns whether there were so many."""
    run = asyncio.create_task(work)

    def stop(_: Asked) -> None:
        run.cancel()

    tenant.script[:] = [*[lambda _: None] * (request - 1), stop]
    await asyncio.wait([run])
    tenant.script.clear()
    return run.cancelled()


class Scene:
    """A tenant, a configuration that names it, and a directory for what is exported."""

    def __init__(self, place: Path, running: Running) -> None:
        self.place, self.running = place, running
        self.out = place / "out.ndjson"
        self.progress = place / "out.ndjson.progress"
        self.naps = Naps()
        self.settings = self.configured()

    def configured(self, source: str = "") -> Settings:
        """The settings, from a file."""
        file = self.place / "config.toml"
        file.write_text(
            f'state_dir = "{self.place / "state"}"\n'
            f'[sources.acme]\ntype = "auth0"\ndomain = "acme.us.auth0.com"\nbase_url = "{self.running.url}"\n'
            'client_id = "simulated-client"\nclient_secret = "simulated-secret"\nretention_days = 3650\n'
            f'proxy = "none"\n{source}\n[sinks.console]\ntype = "stdout"\n'
        )
        return load(file, {})

    @property
    def tenant(self) -> Tenant:
        return self.running.tenant

    @property
    def asked(self) -> list[Asked]:
        """Requests for events."""
        return [one for one in self.tenant.requests if one.path.startswith("/api/v2/")]

    def request(self, *, since: int = EVER[0], until: int | None = None, **typed: Any) -> Request:
        """What was typed, into the file and raw unless it says otherwise. since, until: milliseconds since 1970."""
        of_request = {name: typed.pop(name) for name in ("output", "to", "format", "resume") if name in typed}
        return Request(
            source="acme",
            selection=Selection(**typed),
            since=since,
            until=until if until is not None else EVER[1],
            times=f"from {since} until {until}",
            page_secs=0.0,
            **{"output": str(self.out), "format": "raw", **of_request},
        )

    async def export(self, **typed: Any) -> int:
        """The exit status."""
        return await export(self.settings, self.request(**typed), sleep=self.naps)

    def lines(self) -> list[bytes]:
        """What stands in the file."""
        data = self.out.read_bytes()
        assert data == b"" or data.endswith(b"\n")
        return data.splitlines()


@asynccontextmanager
async def scene(place: Path, events: Sequence[bytes], **options: Any) -> AsyncIterator[Scene]:
    """With the tenant's clock at NOW_MS."""
    clock = options.pop("clock", lambda: NOW_MS / 1000)
    async with serve(Tenant(events=events, clock=clock, **{"plan": "none", **options})) as running:
        yield Scene(place, running)


def by_date(events: Sequence[bytes], *, newest_first: bool = False) -> list[str]:
    """Their dates in order."""
    return sorted((json.loads(raw)["date"] for raw in events), reverse=newest_first)


def dates(lines: Sequence[bytes]) -> list[str]:
    """As they stand."""
    return [json.loads(line)["date"] for line in lines]


def at_page(page: int, then: Callable[[Tenant], Any], tenant: Tenant) -> Callable[[Asked], Awaitable[Answer | None]]:
    """A scripted answer that is as usual; before the first one to this page of a search something happens."""
    done: list[int] = []

    async def answer(asked: Asked) -> Answer | None:
        if asked.query.get("page") == str(page) and not done:
            done.append(page)
            then(tenant)
        return None

    return answer
