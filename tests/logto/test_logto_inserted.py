"""Nothing is lost and nothing is doubled, whatever comes into the list between any two answers."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import structlog
from direct_case import DirectHttp
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_case import in_memory
from logto_case import event
from source_case import EVERYTHING, Clock, journal_at
from structlog.testing import LogCapture

from shipper.event import Event
from shipper.health import Health
from shipper.metrics import Metrics
from shipper.secret import Secret
from shipper.simulator.logto import LogtoTenant
from shipper.sources.logto import LogtoSource
from shipper.sources.logto_config import LogtoConfig

MARGIN_SECS = 10.0
LATEST_COMMIT_MS = 9_000
"""A second less than the margin, since a server's `Date` is cut to seconds."""


POLLS = 12
CONFIG = LogtoConfig.model_validate(
    {
        "type": "logto",
        "endpoint": "https://acme.logto.app",
        "app_id": "simulated-client",
        "app_secret": Secret("simulated-secret"),
        "resource": "https://default.logto.app/api",
        "window_margin_secs": MARGIN_SECS,
    }
)


class KilledError(BaseException):
    """The process is gone between two of its requests."""


@dataclass
class Story:
    """What happens while the log is read. All of it is drawn from one seed, but for what hypothesis should shrink."""

    seed: int
    rows: int
    spread_ms: int
    steps: list[int]
    knows_times: bool = True
    inclusive: bool = True
    kills: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.knows_times and self.spread_ms < 100:
            # More rows of one time than a page holds can only be read there while nothing comes in: a test of its own.
            self.rows = min(self.rows, 90)
        self.draw = Random(self.seed)
        self.clock = Clock()
        self.number = 0
        self.requests = 0
        self.over = False
        self.tenant = LogtoTenant(
            events=[self._row(self.draw.randrange(self.spread_ms + 1)) for _ in range(self.rows)],
            clock=self.clock.wall,
            knows_times=self.knows_times,
            inclusive=self.inclusive,
            logs_tokens=False,
            gzip=False,
            seed=self.seed,
        )
        # Between the query that counts and the one that reads, too.
        self.tenant.between = lambda: self._insert(self.draw.randrange(3))

    def _row(self, age_ms: int) -> bytes:
        self.number += 1
        now = int(self.clock.wall() * 1000)
        # Few different times, so that many rows share one.
        coarse = self.draw.choice((1, 10, 500) if self.knows_times else (1, 10))
        return event((now - age_ms) // coarse * coarse, self.number)

    def _insert(self, count: int) -> None:
        """Rows are committed now, with times of the last seconds."""
        if not self.over:
            for _ in range(count):
                age = self.draw.choice((0, 0, 1, self.draw.randrange(LATEST_COMMIT_MS - 500)))
                self.tenant.add(self._row(age), micro=self.draw.randrange(-400, 400))

    def before(self, path: str) -> None:
        """Between two answers."""
        self.requests += 1
        self._insert(self.steps[self.requests % len(self.steps)])
        self.clock.secs += self.draw.choice((0.0, 0.01, 0.3))
        if self.requests in self.kills:
            raise KilledError


class OverError(BaseException):
    """The story ends in one of the source's waits."""


async def told(story: Story, place: Path) -> tuple[list[Event], float]:
    """All that is stored at its end, in order, and how many of it came late."""
    metrics = Metrics()
    log = structlog.wrap_logger(None, processors=[LogCapture()])
    waits = 0

    async def sleep(secs: float) -> None:
        nonlocal waits
        waits += 1
        story.clock.secs += secs
        if waits > POLLS:
            raise OverError

    async with journal_at(place) as journal:
        handle, _ = await journal.source("acme", CONFIG.tenant_key)
        lane, _ = await journal.lane("acme", "probe")
        while True:
            source = LogtoSource(
                "acme",
                CONFIG,
                handle,
                health=Health(log, story.clock.monotonic),
                metrics=metrics.source("acme"),
                log=log,
                sleep=sleep,
                clock=story.clock.monotonic,
                wall=story.clock.wall,
                http=DirectHttp(story.tenant, story.before),
            )
            try:
                await source.run(once=story.over)
            except KilledError:
                await source.close()
                continue
            except OverError:
                story.over = True
                story.clock.secs += 2 * MARGIN_SECS
                await source.close()
                continue
            stretch = await lane.read(0, EVERYTHING)
            late = metrics.registry.get_sample_value("shipper_late_events_total", {"source": "acme"})
            doubled = metrics.registry.get_sample_value("shipper_events_duplicate_total", {"source": "acme"})
            assert doubled == 0 or story.kills
            return list(stretch.events) if stretch else [], late or 0.0


def assert_whole(story: Story, events: list[Event]) -> None:
    issued = Counter(raw for _, raw in story.tenant.issued())
    stored = Counter(event.raw for event in events)
    assert not issued - stored, "lost"
    assert not stored - issued, "doubled or invented"


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    rows=st.sampled_from((0, 1, 99, 100, 101, 250, 1_100)),
    spread_ms=st.sampled_from((0, 3, 2_000, 90_000)),
    steps=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    knows_times=st.booleans(),
    inclusive=st.booleans(),
    kills=st.lists(st.integers(1, 40), max_size=4, unique=True),
)
def test_rows_inserted_between_any_two_answers_are_neither_lost_nor_doubled_nor_out_of_order(**drawn: Any) -> None:
    story = Story(**drawn)
    with in_memory() as place:
        events, late = asyncio.run(told(story, Path(place)))
    assert_whole(story, events)
    assert late == 0
    assert [event.time for event in events] == sorted(event.time for event in events)
