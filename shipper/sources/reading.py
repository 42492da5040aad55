"""The loop in which every kind of source reads its tenant: page after page, waiting out whatever is in the way."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from shipper.health import Health
from shipper.journal import SourceHandle
from shipper.metrics import SourceMetrics
from shipper.reasons import HELD
from shipper.retry import Backoff
from shipper.sources.tenant_api import TenantApi
from shipper.sources.trouble import Trouble

GIVE_UP_SECS = 60.0
"""So long may trouble last where the source is read only once."""


class Reading(ABC):
    """A source that is read step by step. sleep: seconds."""

    def __init__(
        self,
        api: TenantApi,
        journal: SourceHandle,
        *,
        health: Health,
        metrics: SourceMetrics,
        sleep: Callable[[float], Awaitable[None]],
        backoff: Backoff | None,
    ) -> None:
        self._tenant, self._journal = api, journal
        self.health, self._metrics, self._sleep = health, metrics, sleep
        self._backoff = backoff or Backoff()
        self._begun = asyncio.Event()

    def server_now(self) -> int:
        """The tenant's time, milliseconds since 1970 UTC."""
        return self._tenant.server.now()

    async def close(self) -> None:
        """Ends what is under way and closes the connections."""
        await self._drop()
        await self._tenant.close()

    async def tell_first_start(self) -> None:
        """Logs how much there is to read, where nothing was read so far.

        To be started before `run`, whose first page it waits for, so that reading never waits for it.
        """
        if self._journal.figures.checkpoint is None:
            await self._begun.wait()
            await self._tell_first_start()

    async def run(self, *, once: bool = False) -> None:
        """Polls and stores, for ever or until it is caught up. Trouble is waited out: nothing is skipped.

        once: also ends, in trouble, when that has lasted for a minute.
        """
        try:
            await self._run(once=once)
        finally:
            self._begun.set()

    @abstractmethod
    async def _step(self) -> tuple[bool, float]:
        """One page, from request to journal. Returns whether we are caught up, and seconds to wait. Raises Trouble."""

    @abstractmethod
    async def _drop(self) -> None:
        """Ends the requests that are under way, whatever they were doing."""

    @abstractmethod
    def _interrupted(self) -> None:
        """There is trouble: the next answer may come late."""

    @abstractmethod
    async def _tell_first_start(self) -> None: ...

    @abstractmethod
    async def _between_polls(self) -> None:
        """What there is to do once caught up, after the wait."""

    async def _run(self, *, once: bool) -> None:
        failures = 0
        while True:
            if not await self._room(once=once):
                return
            try:
                caught_up, wait = await self._step()
            except Trouble as trouble:
                await self._drop()
                self._interrupted()
                failures += 1
                self._metrics.failed(trouble.reason)
                self.health.trouble("held" if trouble.reason in HELD else "waiting", trouble.reason, trouble.note)
                if once and self.health.troubled_secs >= GIVE_UP_SECS:
                    return
                await self._sleep(self._patience(trouble, failures))
                continue
            failures = 0
            self._begun.set()
            self.health.fine()
            if caught_up and once:
                return
            if wait:
                await self._sleep(wait)
            if caught_up:
                await self._between_polls()

    def _patience(self, trouble: Trouble, failures: int) -> float:
        # Whoever says when it is our turn is asked then: backing off further would leave all turns to others. The
        # jitter keeps several readers of one tenant from asking together.
        if trouble.retry_after:
            return trouble.retry_after + self._backoff.delay(1)
        return self._backoff.delay(failures)

    async def _room(self, *, once: bool) -> bool:
        """Waits until this source may poll; False where a run that shall end has waited for a minute."""
        paused = self._journal.figures.paused
        if paused is None:
            return True
        await self._drop()
        self._interrupted()
        full = "the journal is full, and this source has its share of it"
        self.health.trouble("paused", paused, full if paused == "journal_full" else "the disk is full")
        try:
            async with asyncio.timeout(GIVE_UP_SECS if once else None):
                await self._journal.room()
        except TimeoutError:
            return False
        return True
