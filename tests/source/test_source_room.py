"""A journal without room: polling pauses, a page is stored whole or not at all, and comes again."""

import asyncio
from pathlib import Path

from source_case import (
    EVERYTHING,
    Rig,
    our_tasks,
    rigged,
    round_trips,
    until,
)


async def test_a_full_journal_stops_polling_until_there_is_room_again(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"count": 6_000}, journal={"max_bytes": 300_000}) as rig:
        polling = asyncio.create_task(rig.source.run(once=True))
        await until(rig.journal, "acme", lambda: rig.handle.figures.paused is not None)
        await round_trips(rig.running)
        assert (rig.source.health.state, rig.source.health.reason) == ("paused", "journal_full")
        assert our_tasks() == ["Reading.run"]
        asked, stored = len(rig.asked), rig.handle.figures.stored
        await round_trips(rig.running)
        assert (len(rig.asked), rig.handle.figures.stored) == (asked, stored)
        seen: list[bytes] = []
        while not polling.done():
            seen += await handed_out(rig)
            await rig.journal.trim()
            await asyncio.sleep(0)
        await polling
        seen += await handed_out(rig)
        assert seen == rig.issued()
        assert rig.count("shipper_events_duplicate_total") == 0
        assert rig.source.health.state == "running"


async def handed_out(rig: Rig) -> list[bytes]:
    """What waits, delivered as a lane would."""
    stretch = await rig.lane.read(rig.lane.figures.position, EVERYTHING)
    if stretch is None:
        return []
    await rig.lane.ack(stretch.last)
    return [event.raw for event in stretch.events]


async def test_a_full_disk_stores_nothing_by_halves_and_the_same_page_comes_again(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"count": 2_000}) as rig:

        def most_pages(number: int) -> None:
            rig.journal._store._db._db.execute(f"PRAGMA max_page_count={number}")

        figures: list[tuple[int, str]] = []

        async def free(number: int) -> None:
            figures.append((rig.handle.figures.stored, rig.position))
            if number == 3:
                await rig.journal.run(most_pages, 1 << 30)

        await rig.journal.run(most_pages, 60)
        rig.sleeps.then = free
        assert await rig.drained() == rig.issued()
        # The disk was full three times, with the checkpoint just behind what was stored.
        assert len(figures) == 3
        assert len(set(figures)) == 1
        stored, position = figures[0]
        assert 0 < stored < 2_000
        assert position == list(rig.tenant.ids())[stored - 1]
        assert rig.count("shipper_source_failures_total", reason="disk_full") == 3
        assert rig.count("shipper_events_duplicate_total") == 0
