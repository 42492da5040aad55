"""A search read page by page: nothing that was there is missing where it is called whole, whatever moves meanwhile."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.event import Event
from shipper.sources.trouble import Trouble
from shipper.sources.walk import CAP, READS_TOGETHER, Came, Walk, Window


def event(id_: str) -> Event:
    return Event(id_, 0, "", "s", b"{}")


def walked(walk: Walk, rows: list[str], per_page: int, between: Any = lambda _rows: None) -> Came:
    """Asks a list, newest first, to the end. between: may change the list after each page."""
    for _ in range(READS_TOGETHER * (CAP // per_page + 2)):
        at = walk.page * per_page
        assert at + per_page <= CAP, "beyond what can be asked for"
        came = walk.take([event(id_) for id_ in rows[at : at + per_page]])
        if came is not None:
            return came
        between(rows)
    raise AssertionError("it does not end")


@pytest.mark.parametrize("per_page", [1, 7, 50, 100])
@pytest.mark.parametrize("count", [0, 1, 49, 50, 99, 100, 101, 250, 899, 900, 901, 994, 999, 1000, 1001, 3000])
def test_a_search_at_rest_is_whole_or_has_too_many(count: int, per_page: int) -> None:
    rows = [str(number) for number in range(count)]
    walk = Walk(per_page)
    came = walked(walk, rows, per_page)
    fits = count <= CAP - CAP % per_page - per_page
    assert came is (Came.WHOLE if fits else Came.TOO_MANY)
    if fits:
        assert ([one.id for one in walk.events], walk.short) == (rows, 0)


@pytest.mark.parametrize(("count", "had"), [(950, 950), (999, 999), (1000, 1000), (1500, 1000)])
def test_to_the_end_takes_what_can_be_had(count: int, had: int) -> None:
    walk = Walk(100, to_the_end=True)
    came = walked(walk, [str(number) for number in range(count)], 100)
    assert came is (Came.WHOLE if count < CAP else Came.TOO_MANY)
    assert len(walk.events) == had


def test_too_many_are_known_after_two_pages() -> None:
    walk = Walk(100)
    assert walk.take([event(str(number)) for number in range(100)]) is None
    assert walk.page == 9
    assert walk.take([event("x")]) is Came.TOO_MANY


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 1 << 32), count=st.integers(0, 60), changes=st.integers(0, 12))
def test_what_is_there_from_beginning_to_end_is_in_a_whole_search(seed: int, count: int, changes: int) -> None:
    """Events come in anywhere, and those of the oldest moment leave; those of one moment change places."""
    chance = random.Random(seed)
    moments = sorted((chance.randrange(6) for _ in range(count)), reverse=True)
    rows = [f"{moment}-{number}" for number, moment in enumerate(moments)]
    stay = set(rows)
    left = changes

    def between(rows: list[str]) -> None:
        nonlocal left
        if left == 0:
            return
        left -= 1
        match chance.randrange(3):
            case 0:
                moment = chance.randrange(6)
                rows.append(f"{moment}-late-{left}")
            case 1 if rows:
                gone = {row for row in rows if row[0] == rows[-1][0]}
                stay.difference_update(gone)
                rows[:] = [row for row in rows if row not in gone]
        chance.shuffle(rows)
        rows.sort(key=lambda row: int(row[0]), reverse=True)

    walk = Walk(5)
    if walked(walk, rows, 5, between) is Came.WHOLE:
        assert stay <= {one.id for one in walk.events}
        assert len(walk.events) == len({one.id for one in walk.events})


@pytest.mark.parametrize("count", [2, 6, 23])
def test_events_without_an_order_come_together_from_several_reads(count: int) -> None:
    chance = random.Random(count)
    rows = [str(number) for number in range(count)]
    walk = Walk(10, together=True)
    assert walked(walk, rows, 10, chance.shuffle) is Came.WHOLE
    assert {one.id for one in walk.events} == set(rows)


def test_a_search_that_never_adds_up_says_how_many_are_lacking() -> None:
    walk = Walk(2)
    came = None
    while came is None:
        came = walk.take([event("a"), event("b")] if walk.page == 0 else [event("b")] if walk.page == 1 else [])
    assert (came, walk.short) == (Came.UNSTEADY, 1)


def test_events_without_an_id_of_their_own_are_never_taken_for_one_another() -> None:
    walk = Walk(2)
    same = event("sha256-00")
    pages = {0: [same, same], 499: [], 1: [same], 2: []}
    came = None
    while came is None:
        came = walk.take(pages[walk.page])
    assert (came, len(walk.events)) == (Came.WHOLE, 3)


def test_nonsense_is_trouble() -> None:
    walk = Walk(2)
    with pytest.raises(Trouble, match="more events than a page"):
        walk.take([event("a"), event("b"), event("c")])
    walk.take([event("a"), event("b")])
    walk.take([])
    with pytest.raises(Trouble, match="same events for two pages"):
        walk.take([event("a"), event("b")])


def test_windows_are_halved_down_to_a_millisecond() -> None:
    assert Window(0, 3).halves() == (Window(0, 1), Window(1, 3))
    assert Window(5, 6).halves() is None
    assert (Window(5, 6).holds(5), Window(5, 6).holds(6), Window(None, None).holds(0)) == (True, False, True)
