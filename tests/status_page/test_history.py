"""The last minutes that a status page gets when it is opened."""

from typing import Any

import pytest

from shipper.history import KEPT, History
from shipper.journal import Figures, LaneFigures, SourceFigures
from shipper.scene import Scene

AT = 1_795_000_000_000


class Played:
    """A scene whose figures a test sets. now: the tenants' clock in milliseconds."""

    def __init__(self) -> None:
        self.now = AT
        self.sources: dict[str, SourceFigures] = {}
        self.scene = Scene(lambda: Figures(self.sources, 0, 1, full=False, dead_bytes=0))

    def grow(self, name: str, stored: int, **positions: int) -> None:
        """So many events are stored, of which each sink has got as many as its position says."""
        lanes = {
            sink: LaneFigures(
                sink, began=0, position=position, lag=stored - position,
                oldest=AT if position < stored else None, filtered=0, dead={}, dead_kept=0,
            )
            for sink, position in positions.items()
        }  # fmt: skip
        self.sources[name] = SourceFigures(name, f"{name}.example", stored, None, "", self.now, 0, None, lanes)
        self.scene.server_now[name] = lambda: self.now


@pytest.fixture
def played() -> Played:
    return Played()


def test_columns_hold_what_each_count_was_at_each_time(played: Played) -> None:
    history = History(played.scene)
    played.grow("acme", 10, siem=10)
    history.sample(AT)
    played.now = AT + 4_000
    played.grow("acme", 30, siem=12)
    history.sample(AT + 10_000)
    assert history.since(0) == {
        "every_seconds": 10.0,
        "whole": True,
        "times": [AT, AT + 10_000],
        "sources": [{"source": "acme", "events": [10, 30]}],
        "lanes": [
            {
                "source": "acme",
                "sink": "siem",
                "delivered": (10, 12),
                "lag_events": (0, 18),
                "lag_seconds": (0.0, 4.0),
            }
        ],
    }


def test_who_has_the_newest_gets_nothing_and_who_has_some_the_rest(played: Played) -> None:
    history = History(played.scene)
    played.grow("acme", 10, siem=10)
    for step in range(3):
        history.sample(AT + step)
    assert history.since(AT + 1)["times"] == [AT + 2]
    assert history.since(AT + 2) == {"every_seconds": 10.0, "whole": False, "times": [], "sources": [], "lanes": []}


@pytest.mark.parametrize("after", [0, AT - 1, AT + 99])
def test_who_has_seen_another_history_gets_all_of_this_one(played: Played, after: int) -> None:
    history = History(played.scene)
    played.grow("acme", 10, siem=10)
    history.sample(AT)
    assert (history.since(after)["whole"], history.since(after)["times"]) == (True, [AT])
    assert History(played.scene).since(after)["whole"]


def test_the_oldest_is_given_up_and_a_clock_that_was_set_back_begins_anew(played: Played) -> None:
    history = History(played.scene)
    played.grow("acme", 10, siem=10)
    for step in range(KEPT + 5):
        history.sample(AT + step)
    assert history.since(0)["times"] == [AT + step for step in range(5, KEPT + 5)]
    history.sample(AT)
    assert history.since(AT + KEPT)["times"] == [AT]


def test_who_comes_or_goes_has_null_where_it_was_not(played: Played) -> None:
    history = History(played.scene)
    played.grow("acme", 10, siem=10)
    history.sample(AT)
    del played.sources["acme"]
    played.grow("beta", 20, siem=20, archive=0)
    history.sample(AT + 1)
    found: dict[str, Any] = history.since(0)
    assert {one["source"]: one["events"] for one in found["sources"]} == {"acme": [10, None], "beta": [None, 20]}
    lags = {(one["source"], one["sink"]): one["lag_events"] for one in found["lanes"]}
    assert lags == {("acme", "siem"): (0, None), ("beta", "siem"): (None, 0), ("beta", "archive"): (None, 20)}
