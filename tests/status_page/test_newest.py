"""What the newest events tell of: counted by the table of event types, when someone looks."""

from collections import Counter
from pathlib import Path

import pytest

from shipper.event import Event, Page
from shipper.journal.sqlite import SqliteJournal
from shipper.newest import EVERY_SECS, MOST, Newest, counted


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def page(first: int, types: list[str]) -> Page:
    events = [Event(f"{first + n:056}", 1_000 * n, "", type_, b"{}") for n, type_ in enumerate(types)]
    return Page(events, b"", 0, events[-1].id)


def test_types_become_outcomes_and_categories_and_a_strangers_word_comes_out_nowhere() -> None:
    strange = "<b>a type that nobody has published</b>"
    found = counted(Counter({"s": 6, "f": 3, "fp": 1, strange: 2, "Interaction.SignIn.Submit": 1}))
    assert found["events"] == 13
    assert found["outcomes"] == {"success": 6, "failure": 4, "other": 0, "untold": 3}
    assert found["categories"][0] == {"category": "auth.login.success", "events": 6}
    assert strange not in str(found)
    assert sum(category["events"] for category in found["categories"]) <= 13


async def test_only_the_newest_are_counted_and_seldom(tmp_path: Path) -> None:
    clock = Clock()
    journal = await SqliteJournal.open(tmp_path, max_bytes=100_000_000)
    try:
        newest = Newest(journal, clock)
        assert await newest.look() == []
        handle, _ = await journal.source("acme", "auth0:acme.example")
        assert [(each["source"], each["events"]) for each in await newest.look()] == [("acme", 0)]
        clock.now += EVERY_SECS
        await handle.append(page(1, ["f"] * 30))
        assert (await newest.look())[0]["outcomes"]["failure"] == 30
        for first in range(31, 31 + MOST, 100):
            await handle.append(page(first, ["s"] * 100))
        clock.now += EVERY_SECS / 2
        assert (await newest.look())[0]["outcomes"]["failure"] == 30, "it was counted a moment ago"
        clock.now += EVERY_SECS / 2
        assert (await newest.look())[0]["outcomes"] == {"success": MOST, "failure": 0, "other": 0, "untold": 0}
        await journal.forget("source", "acme", "nobody")
        clock.now += EVERY_SECS
        assert [each["source"] for each in await newest.look()] == list(journal.figures.sources)
    finally:
        await journal.close()


@pytest.mark.parametrize("name", ["nobody", ""])
async def test_a_source_that_is_not_there_has_none(tmp_path: Path, name: str) -> None:
    journal = await SqliteJournal.open(tmp_path, max_bytes=100_000_000)
    try:
        assert await journal.newest_types(name, MOST) == Counter()
    finally:
        await journal.close()
