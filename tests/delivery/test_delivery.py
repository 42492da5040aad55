"""Each row of the sink contract, over the real journal."""

import asyncio
from collections.abc import Collection
from pathlib import Path

import pytest
from lane_case import Destination, Step, lane_of, number_of

from shipper import Batch, Fatal, Reason, Rejected, Unavailable


def fails(error: Exception) -> Step:
    def step(batch: Batch) -> None:
        raise error

    return step


def refuses(bad: Collection[int]) -> Step:
    """Refuses a batch as a whole when one of these is in it."""

    def step(batch: Batch) -> None:
        if any(number_of(event) in bad for event in batch.events):
            raise Rejected("refused", detail="no, thanks")

    return step


ALL_500 = list(range(1, 501))


async def test_a_write_that_returns_moves_the_position(tmp_path: Path) -> None:
    sink = Destination(batch={"max_events": 200})
    async with lane_of(tmp_path, sink, 500) as lane:
        await lane.deliver()
        assert [len(batch) for batch in sink.asked] == [200, 200, 100]
        assert sink.held == ALL_500
        assert (lane.figures.position, lane.figures.lag, lane.figures.delivered) == (500, 0, 500)
        assert lane.waits == []
        assert lane.written("delivered") == 3


async def test_batches_end_at_max_bytes_and_hold_at_least_one_event(tmp_path: Path) -> None:
    sink = Destination(batch={"max_bytes": 1})
    async with lane_of(tmp_path, sink, 3) as lane:
        await lane.deliver()
        assert sink.asked == [[1], [2], [3]]


async def test_a_number_is_a_rest_before_the_next_write(tmp_path: Path) -> None:
    sink = Destination([lambda batch: 2.5], batch={"max_events": 5})
    async with lane_of(tmp_path, sink, 10) as lane:
        await lane.deliver()
        assert lane.waits == [2.5]
        assert lane.figures.delivered == 10


async def test_unavailable_brings_the_same_batch_again_for_ever(tmp_path: Path) -> None:
    sink = Destination([fails(Unavailable("server_error", "HTTP 503"))] * 5, batch={"max_events": 5})
    async with lane_of(tmp_path, sink, 5) as lane:
        await lane.deliver()
        assert sink.asked == [[1, 2, 3, 4, 5]] * 6
        assert sink.attempts == [1, 2, 3, 4, 5, 6]
        assert lane.waits == [1, 2, 4, 8, 16]
        assert lane.figures.delivered == 5
        assert lane.written("unavailable") == 5


async def test_retry_after_is_a_floor_for_the_wait(tmp_path: Path) -> None:
    asked = Unavailable("throttled", "HTTP 429", retry_after=40.0)
    sink = Destination([fails(Unavailable("server_error"))] * 3 + [fails(asked)])
    async with lane_of(tmp_path, sink, 1) as lane:
        await lane.deliver()
        assert lane.waits == [1, 2, 4, 40.0]
        assert sink.held == [1]


@pytest.mark.parametrize("reason", ["auth", "forbidden", "not_found", "redirected", "tls"])
async def test_what_a_person_must_mend_holds_the_lane_and_gives_nothing_up(tmp_path: Path, reason: Reason) -> None:
    sink = Destination(rule=fails(Unavailable(reason, "HTTP 4xx")))
    async with lane_of(tmp_path, sink, 3) as lane:
        await lane.deliver()
        assert (lane.delivery.health.state, lane.delivery.health.reason) == ("held", reason)
        assert lane.figures.lag == 3
        assert await lane.dead() == []


async def test_a_failure_that_is_about_no_event_is_no_delivery(tmp_path: Path) -> None:
    sink = Destination([fails(Unavailable("throttled", only=()))])
    async with lane_of(tmp_path, sink, 3) as lane:
        await lane.deliver()
        assert sink.asked == [[1, 2, 3]] * 2
        assert lane.waits == [1.0]
        assert lane.written("unavailable") == 1


async def test_only_what_the_destination_does_not_have_comes_again(tmp_path: Path) -> None:
    sink = Destination([fails(Unavailable("throttled", only={1, 3}))])
    async with lane_of(tmp_path, sink, 5) as lane:
        await lane.deliver()
        assert sink.asked == [[1, 2, 3, 4, 5], [2, 4]]
        assert lane.figures.delivered == 5
        assert lane.waits == [1.0]


async def test_what_the_destination_names_counts_in_what_it_was_sent_last(tmp_path: Path) -> None:
    """Not in the batch as it was at first: other events would be taken for delivered."""
    script = [
        fails(Unavailable("throttled", only={1, 3, 5})),  # of 1 to 6: 2, 4 and 6 are left
        fails(Unavailable("throttled", only={1, 2})),  # 4 and 6
        fails(Rejected("refused", only={1: "bad"}, others_delivered=True)),  # 6
    ]
    sink = Destination(script)
    async with lane_of(tmp_path, sink, 6) as lane:
        await lane.deliver()
        assert sink.asked == [[1, 2, 3, 4, 5, 6], [2, 4, 6], [4, 6]]
        assert [letter.number for letter in await lane.dead()] == [6]
        assert lane.figures.delivered == 5


async def test_an_index_that_is_not_in_the_batch_is_a_bug_and_keeps_the_data(tmp_path: Path) -> None:
    sink = Destination([fails(Unavailable("throttled", only={7})), fails(Rejected("refused", only={9: ""}))])
    async with lane_of(tmp_path, sink, 2) as lane:
        await lane.deliver()
        assert sink.asked == [[1, 2]] * 3
        assert lane.written("bug") == 2
        assert await lane.dead() == []


async def test_one_bad_event_of_500_costs_one_dead_letter_and_some_18_requests(tmp_path: Path) -> None:
    sink = Destination(rule=refuses({333}))
    async with lane_of(tmp_path, sink, 500) as lane:
        await lane.deliver()
        assert len(sink.asked) <= 20
        assert sink.held == [n for n in ALL_500 if n != 333]
        assert [(letter.number, letter.reason, letter.detail) for letter in await lane.dead()] == [
            (333, "refused", "no, thanks")
        ]
        assert (lane.figures.lag, lane.figures.delivered, lane.figures.dead) == (0, 499, {"refused": 1})


async def test_a_batch_that_is_too_large_goes_in_halves(tmp_path: Path) -> None:
    def at_most_100(batch: Batch) -> None:
        if len(batch.events) > 100:
            raise Rejected("too_large", "HTTP 413")

    sink = Destination(rule=at_most_100)
    async with lane_of(tmp_path, sink, 500) as lane:
        await lane.deliver()
        assert sink.held == ALL_500
        assert await lane.dead() == []


async def test_events_said_to_be_refused_leave_and_all_others_go_again(tmp_path: Path) -> None:
    """A destination that takes a prefix, refuses one event and drops the rest, saying nothing of the others."""
    holds: set[int] = set()

    def prefix_then_drop(batch: Batch) -> None:
        for index, one in enumerate(batch.events):
            if number_of(one) in (100, 200):
                raise Rejected("refused", only={index: "bad"})
            holds.add(number_of(one))

    sink = Destination(rule=prefix_then_drop)
    async with lane_of(tmp_path, sink, 500) as lane:
        await lane.deliver()
        assert holds == set(ALL_500) - {100, 200}
        assert [letter.number for letter in await lane.dead()] == [100, 200]
        assert len(sink.asked) == 3


async def test_refused_events_whose_others_are_delivered_move_the_position(tmp_path: Path) -> None:
    sink = Destination([fails(Rejected("refused", only={2: "bad"}, others_delivered=True))])
    async with lane_of(tmp_path, sink, 5) as lane:
        await lane.deliver()
        assert len(sink.asked) == 1
        assert (lane.figures.lag, lane.figures.delivered, lane.figures.dead) == (0, 4, {"refused": 1})


async def test_a_destination_that_refuses_everything_does_not_eat_the_log(tmp_path: Path) -> None:
    sink = Destination(rule=fails(Rejected("refused", "HTTP 400")), max_dead_in_a_row=20)
    async with lane_of(tmp_path, sink, 500) as lane:
        await lane.deliver()
        assert lane.delivery.health.state == "held"
        assert lane.figures.lag == 500
        assert await lane.dead() == []
        sink.rule = None
        lane.now += 60
        lane.restart()
        await lane.deliver()
        assert sink.held == ALL_500
        assert await lane.dead() == []


async def test_a_held_lane_tries_its_first_event_alone_and_goes_on_when_that_is_taken(tmp_path: Path) -> None:
    sink = Destination(rule=fails(Rejected("refused", "HTTP 400")), max_dead_in_a_row=5)
    async with lane_of(tmp_path, sink, 50) as lane:
        lane.during_wait = lambda: setattr(sink, "rule", None) if len(lane.waits) == 2 else None
        await lane.deliver()
        assert sink.asked[-3:-1] == [[1], [1]]
        assert sink.held == list(range(1, 51))
        assert await lane.dead() == []


async def test_refusals_until_the_first_delivery_are_committed_with_it(tmp_path: Path) -> None:
    sink = Destination(rule=refuses({1, 2, 3}), batch={"max_events": 1})
    async with lane_of(tmp_path, sink, 3) as lane:
        await lane.deliver()
        assert (lane.figures.position, await lane.dead()) == (0, [])
        await lane.store(4, 4)
        await lane.deliver()
        assert lane.figures.position == 4
        assert [letter.number for letter in await lane.dead()] == [1, 2, 3]


async def test_a_refusal_right_after_a_delivery_is_settled_at_once(tmp_path: Path) -> None:
    sink = Destination(rule=refuses({2, 3}), batch={"max_events": 1})
    async with lane_of(tmp_path, sink, 3) as lane:
        await lane.deliver()
        assert lane.figures.position == 2
        assert [letter.number for letter in await lane.dead()] == [2]


async def test_a_crash_before_the_next_delivery_forgets_refusals_that_were_held_back(tmp_path: Path) -> None:
    sink = Destination(rule=refuses({1, 2}), batch={"max_events": 1})
    async with lane_of(tmp_path, sink, 2) as lane:
        await lane.deliver()
        lane.restart()
        sink.rule = None
        await lane.deliver()
        assert sink.held == [1, 2]
        assert await lane.dead() == []


async def test_what_our_own_sink_decides_says_nothing_about_the_destination(tmp_path: Path) -> None:
    def too_old(batch: Batch) -> None:
        raise Rejected("too_old", only=dict.fromkeys(range(len(batch.events)), ""), own=True)

    sink = Destination(rule=too_old, max_dead_in_a_row=5)
    async with lane_of(tmp_path, sink, 300) as lane:
        await lane.deliver()
        assert (lane.figures.lag, lane.figures.dead) == (0, {"too_old": 300})


async def test_position_and_dead_letters_move_together_or_not_at_all(tmp_path: Path) -> None:
    sink = Destination([fails(Rejected("refused", only={0: ""}))])
    async with lane_of(tmp_path, sink, 2, dead_letters_max_bytes=1) as lane:
        seen: list[tuple[int, int]] = []

        def look() -> None:
            seen.append((lane.figures.position, lane.figures.dead_kept))
            if len(seen) == 3:
                lane.journal._store._letters._max_bytes = 10**6

        lane.during_wait = look
        await lane.deliver()
        assert seen == [(0, 0)] * 3
        assert (lane.figures.position, lane.figures.dead_kept) == (2, 1)
        assert sink.asked == [[1, 2], [2]]


async def test_a_write_over_its_time_counts_as_a_timeout_and_comes_again(tmp_path: Path) -> None:
    class Slow(Destination):
        async def write(self, batch: Batch) -> float | None:
            if not self.asked:
                self.asked.append([])
                await asyncio.Event().wait()
            return await super().write(batch)

    sink = Slow(request={"timeout_secs": 0.01})
    async with lane_of(tmp_path, sink, 2) as lane:
        await lane.deliver()
        assert sink.held == [1, 2]
        assert lane.written("timeout") == 1


async def test_a_bug_keeps_the_data_and_is_logged_by_place_without_its_message(tmp_path: Path) -> None:
    sink = Destination([fails(KeyError("user jane@example.com"))] * 3)
    async with lane_of(tmp_path, sink, 2) as lane:
        await lane.deliver()
        assert sink.held == [1, 2]
        assert lane.written("bug") == 3
        lines = str(lane.log.calls)
        assert "KeyError at test_delivery.py" in lines
        assert "jane@example.com" not in lines
        assert len(lane.log.calls) == 2


async def test_fatal_ends_the_program_with_the_position_unmoved(tmp_path: Path) -> None:
    sink = Destination(rule=fails(Fatal("io", "stdout was closed")))
    async with lane_of(tmp_path, sink, 2) as lane:
        with pytest.raises(Fatal):
            await lane.deliver()
        assert lane.figures.lag == 2


async def test_fatal_holds_the_lane_when_other_sinks_are_in_use(tmp_path: Path) -> None:
    sink = Destination(rule=fails(Fatal("io", "stdout was closed")))
    async with lane_of(tmp_path, sink, 2) as lane:
        lane.restart(alone=False)
        await lane.deliver()
        assert lane.delivery.health.state == "held"
        assert lane.figures.lag == 2


async def test_a_lane_that_backs_off_gives_its_slot_back(tmp_path: Path) -> None:
    sink = Destination([fails(Unavailable("server_error"))])
    async with lane_of(tmp_path, sink, 2) as lane:
        free: list[bool] = []
        lane.during_wait = lambda: free.append(not lane.slots.locked())
        await lane.deliver()
        assert free == [True]


async def test_dead_letters_at_their_limit_hold_the_lane_and_nothing_is_sent_again(tmp_path: Path) -> None:
    sink = Destination(rule=refuses({2}), batch={"max_events": 1})
    async with lane_of(tmp_path, sink, 3, dead_letters_max_bytes=1) as lane:
        letters = lane.journal._store._letters
        lane.during_wait = lambda: setattr(letters, "_max_bytes", 10**6) if lane.now > 20 else None
        await lane.deliver()
        assert sink.asked == [[1], [2], [3]]
        assert "held" in lane.logged()
        assert (lane.figures.lag, lane.figures.dead) == (0, {"refused": 1})


async def test_stop_lets_the_write_in_hand_finish_and_keeps_its_ack(tmp_path: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Patient(Destination):
        async def write(self, batch: Batch) -> float | None:
            begun.set()
            await go_on.wait()
            return await super().write(batch)

    sink = Patient(batch={"max_events": 1})
    async with lane_of(tmp_path, sink, 3) as lane:
        task = asyncio.create_task(lane.delivery.run())
        await begun.wait()
        lane.delivery.stop(task)
        go_on.set()
        await task
        assert lane.figures.position == 1


async def test_stop_ends_a_waiting_lane_at_once(tmp_path: Path) -> None:
    async with lane_of(tmp_path, Destination(), 0) as lane:
        task = asyncio.create_task(lane.delivery.run())
        await asyncio.sleep(0)
        lane.delivery.stop(task)
        await asyncio.wait([task])
        assert task.cancelled()


async def test_a_sink_that_replays_batches_gets_the_same_ranges_after_a_crash(tmp_path: Path) -> None:
    class Replaying(Destination):
        replays_batches = True

    sink = Replaying([fails(Unavailable("timeout"))] * 50, batch={"max_events": 3})
    async with lane_of(tmp_path, sink, 4) as lane:
        await lane.deliver()
        await lane.store(5, 10)
        sink.script, sink.config = [], Destination(batch={"max_events": 9}).config
        lane.restart()
        await lane.deliver()
        assert sink.asked[-2:] == [[1, 2, 3], [4, 5, 6, 7, 8, 9, 10]]
