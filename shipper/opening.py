"""Opening the journal for a run, and what has to be known before anything begins: nothing begins anew by itself."""

import asyncio
import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from shipper.archive import Archive, Damaged
from shipper.archive.recover import holds
from shipper.config import Settings
from shipper.journal import JournalDamagedError, WrongTenantError
from shipper.journal.files import expect_own
from shipper.journal.sqlite import SqliteJournal
from shipper.metrics import Metrics
from shipper.recovery import expect_journal, recover, start_afresh, unknown_sources
from shipper.sink import Rejected, Unavailable

ARCHIVE_WITHIN_SECS = 10.0


async def open_journal(
    settings: Settings, metrics: Metrics, log: Any, *, recovering: bool, fresh: bool
) -> SqliteJournal:
    """The journal of a run. Raises the journal's errors, a damaged one being moved aside.

    recovering: a damaged or lost journal is begun anew from what every lane had settled. fresh: from nothing.
    """
    expect_own(settings.state_dir)
    if not fresh and not recovering:
        expect_journal(settings.state_dir)
    opened = partial(
        SqliteJournal.open,
        settings.state_dir,
        max_bytes=_within_disk(settings),
        keep_days=settings.journal.keep_days,
        dead_letters_max_bytes=settings.journal.dead_letters_max_bytes,
        observe=metrics.committed,
        failed=metrics.journal_error,
        aside=True,
    )
    try:
        journal = await opened(thorough=recovering)
    except JournalDamagedError as error:
        if not recovering:
            raise
        log.error("the journal is damaged", note=str(error))  # noqa: TRY400  its place says nothing
        journal = await opened()
    if fresh:
        start_afresh(settings.state_dir)
    elif recovering:
        sources = {name: config.tenant_key for name, config in settings.sources.items() if config.enabled}
        await _recover(journal, settings, unknown_sources(journal, sources), log)
    return journal


async def _recover(journal: SqliteJournal, settings: Settings, sources: Mapping[str, str], log: Any) -> None:
    if not sources:
        log.warning("nothing to recover: the journal is whole", do="Leave --recover away.")
    resumed = await recover(journal, settings.state_dir, sources)
    for name in sources:
        if name in resumed:
            behind = datetime.fromtimestamp(resumed[name].horizon / 1000, UTC).isoformat(timespec="seconds")
            log.warning("the source goes on behind what every lane had settled", source=name, behind=behind)
        else:
            log.error("nothing says what was settled of this source, so it begins at its start", source=name)


async def expect_not_archived(archives: Iterable[tuple[str, str, Archive]], log: Any) -> None:
    """An empty journal beside an archive that has the source's events was lost: beginning anew would repeat them.

    archives: source, sink and its archive, of lanes that are new. Raises WrongTenantError. Where an archive does not
    answer the start goes on, since it must not need a destination.
    """
    for source, sink, archive in archives:
        try:
            async with asyncio.timeout(ARCHIVE_WITHIN_SECS):
                held = await holds(archive, source)
        except (TimeoutError, Unavailable, Rejected, Damaged) as error:
            reason = getattr(error, "reason", "timeout")
            log.warning("can't see whether this source was archived before", source=source, sink=sink, reason=reason)
            continue
        if held:
            raise WrongTenantError(
                "operator",
                f"the journal is empty, but the destination of sinks.{sink} holds events of {source}: "
                f"`shipper checkpoint recover --from-sink {sink}` goes on there; `shipper run --fresh` begins anew",
            )


def _within_disk(settings: Settings) -> int:
    """The journal's limit: what is configured, or 80 % of the file system where that is less."""
    place = settings.state_dir
    while not place.exists():
        place = place.parent
    return min(settings.journal.max_bytes, shutil.disk_usage(place).total * 8 // 10)
