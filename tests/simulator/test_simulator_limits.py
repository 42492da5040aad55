"""The rate limit's arithmetic, with the time as a parameter; faults by their seed; options."""

from __future__ import annotations

import pytest

from shipper.simulator.faults import Faults
from shipper.simulator.limits import PLANS, Bucket
from shipper.simulator.options import Options, described


def test_a_bucket_allows_its_burst_and_then_refuses() -> None:
    bucket = Bucket(10, 100 / 60, 1_000.0)
    grants = [bucket.take(1_000.0) for _ in range(11)]
    assert [grant.allowed for grant in grants] == [True] * 10 + [False]
    assert [grant.remaining for grant in grants] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]


def test_reset_is_when_one_more_request_is_allowed_not_when_the_bucket_is_full() -> None:
    bucket = Bucket(10, 100 / 60, 1_000.0)
    for _ in range(10):
        last = bucket.take(1_000.0)
    assert last.reset == 1_001
    after = [bucket.take(float(last.reset)) for _ in range(10)]
    assert [grant.allowed for grant in after] == [True] + [False] * 9


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    bucket = Bucket(2, 2.0, 0.0)
    assert [bucket.take(1_000_000.0).allowed for _ in range(3)] == [True, True, False]


def test_a_refused_request_costs_nothing() -> None:
    bucket = Bucket(2, 2.0, 0.0)
    assert [bucket.take(0.0).allowed for _ in range(5)] == [True, True, False, False, False]
    assert bucket.take(0.5).allowed


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(1, 1.0, 100.0)
    assert bucket.take(100.0).allowed
    assert not bucket.take(50.0).allowed


@pytest.mark.parametrize("plan", PLANS)
def test_the_second_named_by_reset_is_always_soon_enough(plan: str) -> None:
    bucket = Bucket(*PLANS[plan], 1_000.3)
    now = 1_000.3
    for _ in range(300):
        grant = bucket.take(now)
        assert grant.allowed
        if grant.remaining == 0:
            now = float(grant.reset)


def test_faults_are_the_same_for_the_same_seed_and_come_about_as_often_as_asked() -> None:
    def drawn(seed: int) -> list[str | None]:
        faults = Faults("429:0.1,reset:0.05,500:0.2", seed)
        return [faults.draw() for _ in range(2_000)]

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    assert 150 < drawn(7).count("429") < 250
    assert 1_200 < drawn(7).count(None) < 1_400


@pytest.mark.parametrize("chances", ["explode:0.1", "200:0.1", "500:2", "500:x", "500", "500:0.6,429:0.6"])
def test_a_fault_that_can_not_be_is_refused(chances: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        Faults(chances, 1)


@pytest.mark.parametrize("wrong", [{"count": 0}, {"rate": -1.0}, {"token_life_secs": 0.0}])
def test_options_that_can_not_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"_secs|rate"):
        Options(**wrong)  # type: ignore[arg-type]


def test_every_option_is_described() -> None:
    about = described()
    assert set(about) == {*Options.__slots__}
    assert all(text for _, text in about.values())
    assert about["host"][0] == "127.0.0.1"
