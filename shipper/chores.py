"""What goes on beside the lanes: giving up what may go, keeping what is settled, closing days in archives."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from shipper.archive import Archive
from shipper.archive.closing import Closing
from shipper.config import Settings
from shipper.desk import Desk
from shipper.journal import NoRoomError
from shipper.journal.letters import Chosen
from shipper.journal.sqlite import SqliteJournal
from shipper.metrics import Metrics
from shipper.recovery import FORGOTTEN, SettledFile
from shipper.scene import Scene
from shipper.secret import Secret

UPKEEP_EVERY_SECS = 5.0
SETTLED_EVERY_SECS = 10.0
DIGEST_EVERY_SECS = 5.0
PURGE_EVERY_SECS = 600.0


class Chores:
    """Every few seconds: gives up what may go, and lets what is held try again when its secret changed.

    secrets: those in use, with the name of the source or sink that has them. retry: makes that try at once.
    """

    def __init__(
        self,
        journal: SqliteJournal,
        settings: Settings,
        metrics: Metrics,
        log: Any,
        secrets: Callable[[], Sequence[tuple[str, list[Secret]]]],
        retry: Callable[[str], int],
    ) -> None:
        self._journal, self._metrics, self._log = journal, metrics, log
        self._secrets, self._retry = secrets, retry
        self._oldest_ms = settings.journal.dead_letters_max_age_days * 86_400_000
        self._settled = SettledFile(settings.state_dir)
        self._settle_at = self._purge_at = 0.0

    async def run(self) -> None:
        """Goes on until it is cancelled. Raises JournalBrokenError."""
        while True:
            await asyncio.sleep(UPKEEP_EVERY_SECS)
            # On a full disk nothing can be given up either; it is counted, and tried again.
            with suppress(NoRoomError):
                await self._journal.trim()
                await self._keep_settled()
                await self._purge()
            for name, secrets in self._secrets():
                changed = [secret.changed() for secret in secrets]
                if any(changed):
                    self._log.info("a secret has changed", name=name, tries=self._retry(name))

    async def _purge(self) -> None:
        """Gives up dead letters that are too old, where that is set. All of them are looked through, so not often."""
        now = time.monotonic()
        if self._oldest_ms and now >= self._purge_at:
            self._purge_at = now + PURGE_EVERY_SECS
            await self._journal.purge(Chosen(before=int(time.time() * 1000 - self._oldest_ms)), "")

    async def _keep_settled(self) -> None:
        """At most every 10 seconds, and never as part of a commit: it may be old, and must not be ahead."""
        now = time.monotonic()
        if now < self._settle_at:
            return
        self._settle_at = now + SETTLED_EVERY_SECS
        try:
            forgotten = [s.tenant for s in self._journal.figures.sources.values() if s.start == FORGOTTEN]
            await self._journal.run(self._settled.write, await self._journal.settled(), forgotten)
        except OSError:
            # What stands there is old, and right; the next time may go better.
            self._metrics.journal_error("io")


async def close_days(journal: SqliteJournal, scene: Scene, archive: Archive, lane: tuple[str, str], log: Any) -> None:
    """Writes the digests of one lane into an archive, until it is cancelled. Raises JournalError."""
    closing = Closing(archive, *lane, Desk(journal).answer, log)
    while True:
        horizon = scene.lane_horizon(*lane)
        if horizon is not None:
            await closing.run_once(scene.server_now[lane[0]](), horizon)
        await asyncio.sleep(DIGEST_EVERY_SECS)
