"""A lane with a filter, over the real journal: who is left out is settled and counted, and nothing else changes."""

from pathlib import Path

import pytest
from lane_case import Destination, Lane, Step, lane_of, number_of
from test_delivery import fails, refuses

from shipper import Batch, Rejected, Unavailable
from shipper.journal import outside

FAILURES = {"include_categories": ["auth.login.fail"]}
NOTHING = {"exclude_categories": ["auth"]}


def settled(lane: Lane) -> tuple[int, int, int, int]:
    """delivered, filtered, dead, waiting."""
    figures = lane.figures
    return figures.delivered, figures.filtered, sum(figures.dead.values()), figures.lag


def test_numbers_outside_of_what_is_left_out() -> None:
    assert list(outside([], 3, 5)) == [3, 4, 5]
    assert list(outside([range(1, 4), range(5, 6)], 3, 7)) == [4, 6, 7]
    assert list(outside([range(3, 9), range(20, 30)], 3, 7)) == []
    assert list(outside([range(6, 9)], 3, 7)) == [3, 4, 5]


async def test_only_what_is_wanted_goes_out_and_the_rest_is_counted(tmp_path: Path) -> None:
    sink = Destination(filter=FAILURES, batch={"max_events": 30})
    failed = range(10, 1000, 10)
    async with lane_of(tmp_path, sink, 1000, failed) as lane:
        await lane.deliver()
        assert sink.held == list(failed)
        # Batches are filled with what is wanted, however far apart that lies.
        assert [len(batch) for batch in sink.asked] == [30, 30, 30, 9]
        assert settled(lane) == (99, 901, 0, 0)
        assert await lane.dead() == []


async def test_what_is_wholly_left_out_moves_the_position_without_a_write(tmp_path: Path) -> None:
    sink = Destination(filter=NOTHING)
    async with lane_of(tmp_path, sink, 500) as lane:
        await lane.deliver()
        assert (sink.asked, settled(lane)) == ([], (0, 500, 0, 0))
        assert (lane.written("delivered"), lane.waits, lane.logged()) == (0, [], [])


async def test_a_lane_without_a_filter_is_not_asked(tmp_path: Path) -> None:
    sink = Destination()
    assert sink.config.filter.wants() is None
    async with lane_of(tmp_path, sink, 100, range(1, 50)) as lane:
        await lane.deliver()
        assert settled(lane) == (100, 0, 0, 0)


async def test_the_same_batch_comes_again_while_the_destination_is_away(tmp_path: Path) -> None:
    sink = Destination([fails(Unavailable("unreachable"))] * 3, filter=FAILURES, batch={"max_events": 2})
    async with lane_of(tmp_path, sink, 40, [5, 6, 9, 30]) as lane:
        await lane.deliver()
        assert sink.asked == [[5, 6]] * 4 + [[9, 30]]
        assert settled(lane) == (4, 36, 0, 0)


@pytest.mark.parametrize("bad", [{7}, {7, 15}, {33}, {3, 33}, {15, 21, 27}])
async def test_halves_leave_out_what_the_whole_left_out(tmp_path: Path, bad: set[int]) -> None:
    failed = set(range(3, 40, 4)) | {33, 21}
    sink = Destination(rule=refuses(bad), filter=FAILURES)
    async with lane_of(tmp_path, sink, 40, failed) as lane:
        await lane.deliver()
        await lane.store(41, 50, [45])
        await lane.deliver()
        assert sorted(sink.held) == sorted((failed | {45}) - bad)
        assert [letter.number for letter in await lane.dead()] == sorted(bad & failed)
        dead = len(bad & failed)
        assert settled(lane) == (len(failed) + 1 - dead, 50 - len(failed) - 1, dead, 0)


async def test_what_is_left_out_proves_nothing_of_a_destination_that_refuses(tmp_path: Path) -> None:
    def refuse(batch: Batch) -> None:
        raise Rejected("refused")

    sink = Destination([refuse], filter=FAILURES)
    async with lane_of(tmp_path, sink, 3, [2]) as lane:
        await lane.deliver()
        # Refused right after the start: held back, with all that is left out behind it.
        await lane.store(4, 300)
        await lane.deliver()
        assert (settled(lane), await lane.dead()) == ((0, 1, 0, 299), [])
        await lane.store(301, 302, [302])
        await lane.deliver()
        assert settled(lane) == (1, 300, 1, 0)
        assert [letter.number for letter in await lane.dead()] == [2]


async def test_a_lane_that_is_held_begins_again_at_the_first_that_is_wanted(tmp_path: Path) -> None:
    def refuse(batch: Batch) -> None:
        raise Rejected("refused")

    sink = Destination([refuse] * 2, filter=FAILURES, max_dead_in_a_row=2, batch={"max_events": 1})
    async with lane_of(tmp_path, sink, 30, [5, 12, 20]) as lane:
        await lane.deliver()
        assert sink.asked == [[5], [12], [5], [12], [20]]
        assert settled(lane) == (3, 27, 0, 0)
        assert await lane.dead() == []


async def test_parts_that_the_destination_has_are_not_written_again(tmp_path: Path) -> None:
    def has_all_but(*left: int) -> Step:
        def step(batch: Batch) -> None:
            only = [i for i, event in enumerate(batch.events) if number_of(event) in left]
            raise Unavailable("throttled", only=only)

        return step

    sink = Destination([has_all_but(9, 30), has_all_but(30)], filter=FAILURES)
    async with lane_of(tmp_path, sink, 40, [5, 6, 9, 30]) as lane:
        await lane.deliver()
        assert sink.asked == [[5, 6, 9, 30], [9, 30], [30]]
        assert settled(lane) == (4, 36, 0, 0)


async def test_dead_letters_and_what_is_left_out_of_one_batch_are_one_transaction(tmp_path: Path) -> None:
    def one_bad(batch: Batch) -> None:
        raise Rejected("too_old", only={1: "old"}, others_delivered=True)

    sink = Destination([one_bad], filter=FAILURES)
    async with lane_of(tmp_path, sink, 40, [5, 6, 9, 30]) as lane:
        await lane.deliver()
        assert settled(lane) == (3, 36, 1, 0)
        entries = {(e.outcome, e.tally.events) for e in await lane.journal.ledger("acme", 0, 1 << 40)}
        assert entries == {("stored", 40), ("delivered", 3), ("filtered", 36), ("dead", 1)}
