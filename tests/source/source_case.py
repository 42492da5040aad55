"""What the tests of the source share: a real journal, the real source, and a simulated tenant whose time is ours."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from multidict import CIMultiDict
from structlog.testing import LogCapture

from shipper.event import Event
from shipper.health import Health
from shipper.journal import Limits
from shipper.journal.sqlite import SqliteJournal, SqliteLane, SqliteSource
from shipper.metrics import Metrics
from shipper.retry import Backoff
from shipper.secret import Secret
from shipper.simulator.answer import Answer, Asked
from shipper.simulator.served import Served
from shipper.simulator.server import Running, Serving, serve
from shipper.simulator.tenant import Tenant
from shipper.sources.auth0 import Auth0Source
from shipper.sources.auth0_config import Auth0Config
from shipper.sources.chain import Checkpoint

START = 1_790_000_000.0
"""When the simulated clock begins, in seconds since 1970."""
LOGS, TOKEN = "/api/v2/logs", "/oauth/token"
EVERYTHING = Limits(100_000, 1 << 30)


class Clock:
    """Time that only moves when the source sleeps, or a test says so."""

    def __init__(self) -> None:
        self.secs = 0.0

    def monotonic(self) -> float:
        return self.secs

    def wall(self) -> float:
        return START + self.secs


class Sleeps:
    """The source's waits: over at once in real time, until `hold_at` parks them. `then` is called in each."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.secs: list[float] = []
        self.then: Callable[[int], Awaitable[None]] | None = None
        self.held = asyncio.Event()
        self._hold_at = 1 << 30

    def hold_at(self, number: int) -> None:
        self._hold_at = number

    async def __call__(self, secs: float) -> None:
        self.secs.append(secs)
        if self.then is not None:
            await self.then(len(self.secs))
        if len(self.secs) >= self._hold_at:
            self.held.set()
            await asyncio.Event().wait()
        self._clock.secs += secs
        await asyncio.sleep(0)


@dataclass
class AnyRig(ABC):
    """One source of one tenant of any kind, on a journal."""

    running: Serving[Any]
    journal: SqliteJournal
    handle: SqliteSource
    lane: SqliteLane
    clock: Clock
    config: Any
    name: str = "acme"
    metrics: Metrics = field(default_factory=Metrics)
    capture: LogCapture = field(default_factory=LogCapture)
    backoff: Backoff = field(default_factory=lambda: Backoff(draw=lambda: 1.0))

    def __post_init__(self) -> None:
        self.log: Any = structlog.wrap_logger(None, processors=[self.capture])
        self.sleeps = Sleeps(self.clock)
        self.source = self.another()

    @abstractmethod
    def another(self, **changes: Any) -> Any:
        """A source as a restart would make it."""

    async def restart(self, **changes: Any) -> None:
        await self.source.close()
        self.source = self.another(**changes)

    def asked_at(self, path: str) -> list[Asked]:
        return [one for one in self.running.tenant.requests if one.path == path]

    def count(self, name: str, **labels: str) -> float:
        value = self.metrics.registry.get_sample_value(name, {"source": self.name, **labels})
        return value if value is not None else 0.0

    def notes(self) -> list[str]:
        """What the log says of trouble."""
        return [str(line["note"]) for line in self.capture.entries if "note" in line]

    async def events(self) -> list[Event]:
        """All that is stored, in order."""
        stretch = await self.lane.read(0, EVERYTHING)
        return list(stretch.events) if stretch is not None else []

    async def stored(self) -> list[bytes]:
        return [event.raw for event in await self.events()]

    def issued(self) -> list[bytes]:
        return [raw for _, raw in self.running.tenant.issued()]

    async def drained(self) -> list[bytes]:
        """Reads until it is caught up, and returns all that is stored."""
        await self.source.run(once=True)
        return await self.stored()


class Rig(AnyRig):
    """Of an Auth0 tenant."""

    source: Auth0Source

    def another(self, **changes: Any) -> Auth0Source:
        return Auth0Source(self.name, self.config.model_copy(update=changes), self.handle, **made_with(self))

    @property
    def tenant(self) -> Tenant:
        tenant: Tenant = self.running.tenant
        return tenant

    @property
    def asked(self) -> list[Asked]:
        """Requests to the logs endpoint."""
        return self.asked_at(LOGS)

    @property
    def token_requests(self) -> int:
        return len(self.asked_at(TOKEN))

    @property
    def position(self) -> str:
        checkpoint = self.handle.figures.checkpoint
        return Checkpoint.decode(checkpoint).last if checkpoint is not None else ""


def made_with(rig: AnyRig) -> dict[str, Any]:
    """What every kind of source is made with, here with time that is ours."""
    return {
        "health": Health(rig.log, rig.clock.monotonic),
        "metrics": rig.metrics.source(rig.name),
        "log": rig.log,
        "sleep": rig.sleeps,
        "clock": rig.clock.monotonic,
        "wall": rig.clock.wall,
        "backoff": rig.backoff,
    }


@asynccontextmanager
async def journal_at(place: Path, **options: Any) -> AsyncIterator[SqliteJournal]:
    journal = await SqliteJournal.open(place, **{"max_bytes": 1 << 30, **options})
    try:
        yield journal
    finally:
        await journal.close()


@asynccontextmanager
async def reading(
    journal: SqliteJournal, running: Running, clock: Clock, *, name: str = "acme", **settings: Any
) -> AsyncIterator[Rig]:
    """A source on a journal and a tenant that are there already."""
    fixed: dict[str, Any] = {
        "type": "auth0",
        "domain": running.tenant.options.domain,
        "base_url": running.url,
        "proxy": "none",
    }
    if not settings.keys() & {"token", "private_key"}:
        fixed |= {"client_id": "simulated-client", "client_secret": Secret("simulated-secret")}
    config = Auth0Config.model_validate({**fixed, **settings})
    handle, _ = await journal.source(name, config.tenant_key)
    lane, _ = await journal.lane(name, "probe")
    rig = Rig(running, journal, handle, lane, clock, config, name)
    try:
        yield rig
    finally:
        await rig.source.close()


@asynccontextmanager
async def rigged(
    place: Path,
    *,
    clock: Clock | None = None,
    tenant: dict[str, Any] | None = None,
    journal: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[Rig]:
    """Everything: a tenant with these options on a socket, a journal, a source with these settings."""
    clock = clock or Clock()
    options = {"plan": "none", "clock": clock.wall, **(tenant or {})}
    async with (
        serve(Tenant(**options)) as running,
        journal_at(place, **(journal or {})) as opened,
        reading(opened, running, clock, **settings) as rig,
    ):
        yield rig


def log_id(secs: float, number: int = 0) -> str:
    """The id of an event that was indexed so many seconds after START."""
    moment = datetime.fromtimestamp(START + secs, UTC)
    return f"900{moment:%Y%m%d%H%M%S%f}{number:033d}"


def event(secs: float, number: int = 0, *, date: float | None = None, more: bytes = b"") -> bytes:
    """An event with an id of this time, and a date (both in seconds after START)."""
    dated = datetime.fromtimestamp(START + (secs if date is None else date), UTC)
    text = f'"date":"{dated:%Y-%m-%dT%H:%M:%S.%f}"'[:-4]
    return b'{%s","type":"s"%s,"log_id":"%s"}' % (text.encode(), more, log_id(secs, number).encode())


def events(count: int) -> list[bytes]:
    """So many events, one a second, up to START."""
    return [event(number - count, number) for number in range(count)]


def altered(tenant: Served, change: Callable[[Asked, Answer], Answer]) -> Callable[[Asked], Answer]:
    """A scripted answer: the tenant's own, changed."""
    return lambda asked: change(asked, tenant.answer(asked))


def with_links(tenant: Served, *links: str) -> Callable[[Asked], Answer]:
    """A scripted answer: the tenant's own page, but with these Link lines; ORIGIN and LAST are filled in."""

    def change(asked: Asked, answer: Answer) -> Answer:
        found = answer.headers["Link"]
        last = found.split("from=")[1].split("&")[0]
        headers = CIMultiDict((name, value) for name, value in answer.headers.items() if name != "Link")
        for link in links:
            headers.add("Link", link.replace("ORIGIN", f"http://{asked.headers['Host']}").replace("LAST", last))
        return replace(answer, headers=headers)

    return altered(tenant, change)


def always(tenant: Served, answer: Callable[[Asked], Answer | None]) -> None:
    """Answers all requests for logs."""
    tenant.script.extend([answer] * 1_000)


def dated(tenant: Served, answer: Answer) -> Answer:
    """With the tenant's Date, which a scripted answer has not."""
    return tenant._finished(answer, Asked("GET", LOGS, {}, {}, tenant.now()))


async def round_trips(running: Running, count: int = 3) -> None:
    """Some exchanges with the server: whatever else was on its way to it has arrived by then."""
    async with aiohttp.ClientSession() as client:
        for _ in range(count):
            async with client.get(f"{running.url}/_simulator/count", headers={"Connection": "close"}) as response:
                await response.read()


async def until(journal: SqliteJournal, name: str, true: Callable[[], bool]) -> None:
    """Waits until the journal's figures of a source are so."""
    while True:
        news = journal.news(name)
        if true():
            return
        await news.wait()


def our_tasks() -> list[str]:
    """Tasks of the source that are still there."""
    names = []
    for task in asyncio.all_tasks():
        code = getattr(task.get_coro(), "cr_code", None)
        if code is not None and "shipper/sources/" in code.co_filename:
            names.append(code.co_qualname)
    return names


def takes(asked: Iterable[Asked]) -> list[int]:
    return [int(one.query["take"]) for one in asked]
