"""The decisions of a lane, without journal or clock."""

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.plan import Ack, Plan


def acked(ack: Ack | None) -> tuple[int, list[int]] | None:
    return None if ack is None else (ack.upto, [burial.number for burial in ack.dead])


def test_a_dead_letter_beyond_the_half_that_is_acked_waits_for_its_own_half() -> None:
    plan = Plan(0, 100)
    written = plan.take(1, 4)
    assert plan.refused({4: "bad"}, "refused", own=False) is None
    written = plan.take(1, 4)
    assert written == [1, 2, 3]
    assert plan.halve(written, "too_large", "", own=False) is None
    assert (plan.after, plan.upto) == (0, 2)
    assert plan.take(1, 2) == [1, 2]
    assert acked(plan.delivered()) == (2, [])
    assert (plan.after, plan.upto) == (2, 4)
    assert plan.take(3, 4) == [3]
    assert acked(plan.delivered()) == (4, [4])


def test_everything_left_out_of_only_counts_as_delivered() -> None:
    plan = Plan(10, 100)
    plan.delivered_but({12}, plan.take(11, 13))
    assert plan.take(11, 13) == [12]


def test_nothing_is_proven_when_the_destination_has_none_of_them() -> None:
    plan = Plan(0, 100)
    written = plan.take(1, 2)
    plan.delivered_but({1, 2}, written)
    plan.halve(written, "refused", "", own=False)
    assert acked(plan.halve(plan.take(1, 1), "refused", "", own=False)) is None


def test_after_the_limit_the_first_refusal_is_tried_alone() -> None:
    plan = Plan(0, 2)
    for number in (1, 2):
        plan.take(number, number)
        plan.refused({number: ""}, "refused", own=False)
    assert plan.refuses_everything
    plan.start_over()
    assert (plan.after, plan.upto) == (0, 1)
    plan.take(1, 1)
    assert acked(plan.delivered()) == (1, [])
    assert not plan.refuses_everything
    assert (plan.after, plan.upto) == (1, None)


@settings(max_examples=300, deadline=None)
@given(
    bad=st.sets(st.integers(1, 60)),
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=12),
    names_them=st.booleans(),
    limit=st.integers(1, 200),
    unwanted=st.just(set()) | st.sets(st.integers(1, 60)),
)
def test_every_event_up_to_the_position_is_delivered_or_dead_or_left_out_and_never_two_of_these(
    bad: set[int], sizes: list[int], names_them: bool, limit: int, unwanted: set[int]
) -> None:
    """Where the destination refuses everything, someone mends it at once, and it takes all."""
    plan, position, cuts = Plan(0, limit), 0, iter(sizes)
    has: set[int] = set()
    dead: list[int] = []
    left_out: set[int] = set()
    for _ in range(400):
        last = plan.upto or min(60, plan.after + next(cuts, 20))
        if plan.after >= 60:
            break
        first = plan.after + 1
        if plan.upto is None and first in unwanted:
            # The journal hands out alone what is left out before the first that is wanted.
            last = next((n for n in range(first, last) if n + 1 not in unwanted), last)
        without = plan.left_out if plan.upto else [range(n, n + 1) for n in range(first, last + 1) if n in unwanted]
        assert {n for hole in without for n in hole} == {n for n in range(first, last + 1) if n in unwanted}
        written = plan.take(first, last, without)
        assert unwanted.isdisjoint(written)
        culprits = [n for n in written if n in bad]
        if not written:
            ack: Ack | None = plan.passed()
        elif not culprits:
            has.update(written)
            ack = plan.delivered()
        elif names_them:
            ack = plan.refused({culprits[0]: ""}, "refused", own=False)
        else:
            ack = plan.halve(written, "refused", "", own=False)
        if plan.refuses_everything:
            assert ack is None
            plan.start_over()
            bad = set(dead)
            assert plan.after == position
            assert plan.upto == next(n for n in range(position + 1, 61) if n not in unwanted)
        if ack is not None:
            assert ack.upto > position
            dead += [burial.number for burial in ack.dead]
            now = [n for hole in ack.left_out for n in hole]
            assert all(position < n <= ack.upto for n in now)
            left_out.update(now)
            position = ack.upto
            assert has.isdisjoint(dead)
            assert left_out.isdisjoint(has | set(dead))
            assert set(range(1, position + 1)) == {n for n in has if n <= position} | set(dead) | left_out
    assert dead == sorted(set(dead))
    assert set(dead) <= bad
    assert plan.after >= 60


def test_a_limit_of_one_holds_the_lane_at_the_first_refusal_and_gives_nothing_up() -> None:
    plan = Plan(0, 1)
    plan.take(1, 1)
    assert acked(plan.delivered()) == (1, [])
    plan.take(2, 2)
    assert plan.refused({2: ""}, "refused", own=False) is None
    assert plan.refuses_everything
    plan.start_over()
    assert (plan.after, plan.upto) == (1, 2)


def test_accepted_refusals_are_settled_although_the_destination_took_nothing() -> None:
    plan = Plan(0, 2)
    for number in (1, 2):
        plan.take(number, number)
        plan.refused({number: ""}, "refused", own=False)
    plan.start_over()
    plan.accept_dead(2)
    for number in (1, 2):
        plan.take(number, number)
        assert acked(plan.refused({number: ""}, "refused", own=False)) == (number, [number])
    plan.take(3, 3)
    assert plan.refused({3: ""}, "refused", own=False) is None
