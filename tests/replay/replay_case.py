"""What the tests of replay and verify share: a tenant, a journal, a real S3 store and a SIEM, filled by real parts."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
from daemon_case import envelopes, raw_of
from rich.console import Console
from s3_case import Bucket
from source_case import START, event, log_id
from structlog.testing import LogCapture

from shipper.config import Settings, load
from shipper.delivery import Delivery
from shipper.desk import Desk
from shipper.event import Event, Page
from shipper.health import Health
from shipper.journal.sqlite import SqliteJournal
from shipper.metrics import Metrics
from shipper.replay.names import opened, source_named
from shipper.replay.session import Request, replay_all
from shipper.scripted import Destination, Received, Reply
from shipper.simulator.server import Running, serve
from shipper.simulator.tenant import Tenant
from shipper.sources.kinds import kind_of
from shipper.tally import HOUR_MS
from shipper.verify import session as verifying
from shipper.verify.run import hour_text

SUCCESS = Reply(200, b'{"text":"Success","code":0}')
START_MS = int(START * 1000) // HOUR_MS * HOUR_MS
"""The first hour's beginning: ids and times count from there."""
OFFSET = START_MS / 1000 - START


def at(secs: float, number: int = 0) -> bytes:
    """An event so many seconds behind the first hour's beginning."""
    return event(OFFSET + secs, number)


def id_at(secs: float, number: int = 0) -> str:
    """The log_id of `at`."""
    return log_id(OFFSET + secs, number)


def hours_of_events(hours: int, each: int) -> list[bytes]:
    """So many events in each of so many hours."""
    return [at(hour * 3600 + number * (3600 // (each + 1)), number) for hour in range(hours) for number in range(each)]


class Siem:
    """An HTTP Event Collector that keeps what it took."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []

    def __call__(self, request: Received) -> Reply:
        self.batches.append([raw_of(one) for one in envelopes(request.body)])
        return SUCCESS

    @property
    def events(self) -> list[bytes]:
        return [raw for batch in self.batches for raw in batch]


class Scene:
    """Everything, with the journal open: what an operator asks is answered by the real desk."""

    def __init__(
        self,
        place: Path,
        running: Running,
        bucket: Bucket,
        destination: Destination,
        siem: Siem,
        journal: SqliteJournal,
    ) -> None:
        self.place, self.running, self.bucket = place, running, bucket
        self.destination, self.siem, self.journal = destination, siem, journal
        self.metrics = Metrics()
        self.log: Any = structlog.wrap_logger(None, processors=[LogCapture()])
        self.settings = self.configured()
        self.asked: list[tuple[str, Any]] = []
        self._desk = Desk(journal)

    def configured(self, more: str = "", source: str = "", archive: str = "") -> Settings:
        """The settings, from a file. more (of the siem), source, archive: more of them."""
        file = self.place / "config.toml"
        file.write_text(
            f'state_dir = "{self.place / "state"}"\n'
            f'[sources.acme]\ntype = "auth0"\ndomain = "acme.us.auth0.com"\nbase_url = "{self.running.url}"\n'
            'client_id = "simulated-client"\nclient_secret = "simulated-secret"\nretention_days = 3650\n'
            f'proxy = "none"\n{source}\n'
            f'[sinks.archive]\ntype = "s3"\nbucket = "{self.bucket.name}"\nendpoint_url = "{self.bucket.url}"\n'
            'region = "eu-west-1"\nprefix = "auth0"\nproxy = "none"\nadd_tenant_name = false\nbatch.max_events = 40\n'
            f"{archive}"
            f'[sinks.siem]\ntype = "splunk_hec"\nurl = "{self.destination.url}"\ntoken = "made-up"\nproxy = "none"\n'
            "add_tenant_name = false\nbatch.max_events = 10\nrequest.retry_initial_backoff_secs = 0.01\n"
            f"request.retry_max_duration_secs = 0.02\n{more}"
        )
        return load(file, {})

    async def ask(self, what: str, question: Any) -> Any:
        """As the daemon's socket would answer: nothing but JSON goes over it."""
        self.asked.append((what, question))
        return json.loads(json.dumps(await self._desk.answer(what, json.loads(json.dumps(question)))))

    async def fill(self, *sinks: str) -> None:
        """Reads the tenant to its end and delivers to these sinks."""
        config = source_named(self.settings, "acme")
        handle, _ = await self.journal.source("acme", config.tenant_key)
        for sink in ("archive", "siem"):
            await self.journal.lane("acme", sink)
        health, metrics = Health(self.log, lambda: 0.0), self.metrics.source("acme")
        reader = kind_of(config)
        source = reader.source("acme", handle, health=health, metrics=metrics, log=self.log, sleep=asyncio.sleep)
        try:
            await source.run(once=True)
        finally:
            await source.close()
        for sink in sinks:
            await self.deliver(sink)

    async def deliver(self, name: str) -> None:
        """What waits for a sink, until nothing does."""
        wants = self.settings.sinks[name].filter.wants()
        lane, _ = await self.journal.lane("acme", name, wants=wants)
        origin = kind_of(source_named(self.settings, "acme")).origin("acme")
        async with opened(self.settings, name) as sink:
            delivery = Delivery(
                lane,
                sink,
                origin,
                slots=asyncio.Semaphore(1),
                health=Health(self.log, lambda: 0.0),
                metrics=self.metrics.lane("acme", name),
                eager=True,
            )
            task = asyncio.create_task(delivery.run())
            delivery.finish(task)
            await asyncio.wait([task])

    async def store(self, *raws: bytes) -> None:
        """Puts events into the journal that the tenant does not have."""
        config = source_named(self.settings, "acme")
        handle, _ = await self.journal.source("acme", config.tenant_key)
        figures = handle.figures
        ids = [json.loads(raw)["log_id"] for raw in raws]
        events = [Event(id_, START_MS, "", "s", raw) for id_, raw in zip(ids, raws, strict=True)]
        assert figures.checkpoint is not None
        assert figures.horizon is not None
        await handle.append(Page(events, figures.checkpoint, figures.horizon))

    async def replay(self, to: str, **typed: Any) -> int:
        """`shipper replay` over all hours, unless typed otherwise. The exit status."""
        request = {"since": START_MS, "until": START_MS + 10 * HOUR_MS, "page_secs": 0.0, **typed}
        return await replay_all(self.settings, self.ask, Request(to=to, **request))

    async def verify(self, sink: str = "archive", **typed: Any) -> tuple[int, str]:
        """`shipper verify` over all hours, unless typed otherwise. The exit status, and what was printed."""
        request = {"since": START_MS, "until": START_MS + 10 * HOUR_MS, "page_secs": 0.0, **typed}
        console = Console(file=io.StringIO(), width=400, highlight=False, markup=False)
        status = await verifying.verify_all(self.settings, self.ask, verifying.Request(sink=sink, **request), console)
        assert isinstance(console.file, io.StringIO)
        return status, console.file.getvalue()

    def hour(self, number: int) -> str:
        """One of the hours as verify writes it."""
        return hour_text(START_MS // HOUR_MS + number)

    def keys_of(self, number: int) -> list[str]:
        """The bucket's objects of an hour."""
        day, clock = self.hour(number).split(" ")
        keys = self.bucket.keys()
        return [key for key in keys if f"/dt={day}/hour={clock[:2]}/" in key]

    def archived(self) -> list[bytes]:
        """The events in the bucket."""
        return [raw_of(line) for lines in self.bucket.lines().values() for line in lines]


@asynccontextmanager
async def scene(
    place: Path, bucket: Bucket, events: list[bytes], *, now_hours: float = 9.0, **journal: Any
) -> AsyncIterator[Scene]:
    """now_hours: the tenant's time, in hours behind the first one's beginning."""
    siem = Siem()
    now = START_MS / 1000 + now_hours * 3600
    tenant = Tenant(plan="none", events=events, clock=lambda: now)
    async with serve(tenant) as running:
        with Destination(default=siem) as destination:
            opened_journal = await SqliteJournal.open(place / "state", **{"max_bytes": 1 << 30, **journal})
            try:
                yield Scene(place, running, bucket, destination, siem, opened_journal)
            finally:
                await opened_journal.close()
