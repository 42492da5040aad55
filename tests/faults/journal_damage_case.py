"""A small journal whose every committed state is known, and a verdict on what is left of it after damage."""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from shipper import Event
from shipper.event import Page
from shipper.journal import Burial, JournalError, Limits
from shipper.journal.sqlite import SqliteJournal
from shipper.scripted import make_event

EVERYTHING = Limits(100_000, 1 << 30)
PAGES, PAGE = 4, 15
ISSUED: Sequence[Event] = [make_event(number, noise=os.urandom(40).hex()) for number in range(1, PAGES * PAGE + 1)]

State = tuple[Any, ...]
"""Everything that a journal promises to know: how much is stored, the checkpoint, positions, dead letters."""


async def opened(state_dir: Path) -> SqliteJournal:
    return await SqliteJournal.open(state_dir, max_bytes=1 << 20)


async def make(state_dir: Path, crashed: Path) -> list[State]:
    """A journal that was closed, and what a crash would have left of it just before; returns all states on the way."""
    journal = await opened(state_dir)
    states = [await state_of(journal)]
    source, _ = await journal.source("acme", "auth0:acme.us.auth0.com")
    states.append(await state_of(journal))
    for sink in ("siem", "archive"):
        ahead, _ = await journal.lane("acme", sink)
        states.append(await state_of(journal))
    for number in range(PAGES):
        first = number * PAGE
        page = ISSUED[first : first + PAGE]
        await source.append(Page(page, b"checkpoint %d" % number, page[-1].time, page[-1].id))
        states.append(await state_of(journal))
        await ahead.ack(first + 10, [Burial(first + 5, "refused", f"words about event {first + 5}")])
        states.append(await state_of(journal))
    shutil.copytree(state_dir, crashed)
    await journal.close()
    return states


async def state_of(journal: SqliteJournal) -> State:
    """Reads everything. Raises JournalError where damage is noticed, AssertionError for what is not as issued."""
    figures = journal.figures.sources.get("acme")
    if figures is None:
        return ()
    lanes = {}
    for sink, lane in figures.lanes.items():
        handle, _ = await journal.lane("acme", sink)
        events: list[Event] = []
        while len(events) < lane.lag:
            stretch = await handle.read(lane.position + len(events), EVERYTHING)
            assert stretch is not None, "fewer events than the figures say"
            events += stretch.events
        issued = ISSUED[lane.position : figures.stored]
        assert [(event.id, event.raw) for event in events] == [(event.id, event.raw) for event in issued], (
            "wrong events"
        )
        lanes[sink] = (lane.began, lane.position, lane.filtered, lane.lag)
    letters = [(letter.sink, letter.number, letter.reason) for letter in await journal.dead_letters()]
    return figures.stored, figures.checkpoint, figures.horizon, figures.start, lanes, letters


async def verdict(state_dir: Path, states: Sequence[State]) -> str:
    """What a start after damage leads to: "refused", "right", "earlier" (a committed state), or what is wrong."""
    try:
        journal = await opened(state_dir)
    except JournalError:
        return "refused"
    try:
        state = await state_of(journal)
    except JournalError:
        return "refused"
    except AssertionError as error:
        return str(error)
    finally:
        with suppress(JournalError):
            await journal.close()
    if state == states[-1]:
        return "right"
    return "earlier" if state in states else f"a state that never was: {state}"
