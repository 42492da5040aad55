"""What the tests of the Logto source share: events, and a rig with a simulated tenant whose time is ours."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from source_case import START, AnyRig, Clock, journal_at, made_with

from shipper.journal.sqlite import SqliteJournal
from shipper.secret import Secret
from shipper.simulator.answer import Asked
from shipper.simulator.logto import LogtoTenant
from shipper.simulator.server import Serving, serve
from shipper.sources.logto import LogtoSource
from shipper.sources.logto_config import LogtoConfig
from shipper.sources.logto_window import Checkpoint

LOGS, TOKEN = "/api/logs", "/oidc/token"
NOW = int(START * 1000)
"""When the simulated clock begins, in milliseconds since 1970."""
MARGIN = 10_000


class LogtoRig(AnyRig):
    """A source of a Logto tenant."""

    source: LogtoSource

    def another(self, **changes: Any) -> LogtoSource:
        return LogtoSource(self.name, self.config.model_copy(update=changes), self.handle, **made_with(self))

    @property
    def tenant(self) -> LogtoTenant:
        tenant: LogtoTenant = self.running.tenant
        return tenant

    @property
    def asked(self) -> list[Asked]:
        return self.asked_at(LOGS)

    @property
    def token_requests(self) -> int:
        return len(self.asked_at(TOKEN))

    @property
    def checkpoint(self) -> Checkpoint:
        data = self.handle.figures.checkpoint
        assert data is not None
        return Checkpoint.decode(data)


def event(at_ms: int, number: int = 0, *, key: str = "Interaction.SignIn.Submit", more: bytes = b"") -> bytes:
    """One with this createdAt, and an id made of the number."""
    id_ = f"{number * 2_654_435_761 % 36**6:06d}x{number:014d}"
    return b'{"tenantId":"default","id":"%s","key":"%s","payload":{"key":"%s","result":"Success"%s},"createdAt":%d}' % (
        id_.encode(),
        key.encode(),
        key.encode(),
        more,
        at_ms,
    )


def events(count: int, *, upto: int = NOW - MARGIN, step_ms: int = 1000) -> list[bytes]:
    """So many, one each step, the last of them at `upto`."""
    return [event(upto - (count - 1 - number) * step_ms, number) for number in range(count)]


def id_of(raw: bytes) -> str:
    return str(json.loads(raw)["id"])


@asynccontextmanager
async def logto_reading(
    journal: SqliteJournal, running: Serving[LogtoTenant], clock: Clock, *, name: str = "acme", **settings: Any
) -> AsyncIterator[LogtoRig]:
    """A source on a journal and a tenant that are there already."""
    fixed: dict[str, Any] = {
        "type": "logto",
        "endpoint": running.url,
        "app_id": "simulated-client",
        "app_secret": Secret("simulated-secret"),
        "proxy": "none",
    }
    config = LogtoConfig.model_validate({**fixed, **settings})
    handle, _ = await journal.source(name, config.tenant_key)
    lane, _ = await journal.lane(name, "probe")
    rig = LogtoRig(running, journal, handle, lane, clock, config, name)
    try:
        yield rig
    finally:
        await rig.source.close()


@asynccontextmanager
async def logto_rigged(
    place: Path,
    *,
    clock: Clock | None = None,
    tenant: dict[str, Any] | None = None,
    journal: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[LogtoRig]:
    """Everything: a tenant with these options on a socket, a journal, a source with these settings."""
    clock = clock or Clock()
    options = {"clock": clock.wall, "logs_tokens": False, "gzip": False, **(tenant or {})}
    async with (
        serve(LogtoTenant(**options)) as running,
        journal_at(place, **(journal or {})) as opened,
        logto_reading(opened, running, clock, **settings) as rig,
    ):
        yield rig


def asked_for(asked: Iterable[Asked]) -> list[dict[str, str]]:
    """The requests' queries."""
    return [dict(one.query) for one in asked]
