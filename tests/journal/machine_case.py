"""The journal beside its model: both hold the same after every step, whatever the steps are."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant
from journal_case import EVERYTHING, Clock, check_file, in_memory
from model_case import Lane, Letter, Source

from shipper.journal import LaneFigures, NoRoomError
from shipper.journal.census import RESUME_BELOW
from shipper.journal.letters import OVERHEAD
from shipper.journal.store import Store

T = TypeVar("T")

DEAD_LIMIT = 3_000
HUGE = 1 << 40


class NothingDoneError(Exception):
    """The disk is full, and the operation was refused as a whole."""


class CheckedJournal(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = in_memory()
        self.clock = Clock()
        self.lives = 0
        self.sources = [Source("acme", "acme.example"), Source("globex", "globex.example")]
        self.letters: list[Letter] = []
        self.audits: list[tuple[str, str]] = []
        self.max_bytes, self.keep_days = HUGE, 1.0
        self.full = self.starved = False
        self.set_back = 0.0

    @property
    def now(self) -> int:
        return int(self.clock.now * 1000)

    @property
    def dead_bytes(self) -> int:
        return sum(len(letter.event.raw) + len(letter.detail.encode()) + OVERHEAD for letter in self.letters)

    def do(self, operation: Callable[..., T], *values: Any) -> T:
        """Asks the store, which may refuse while the disk is full, and then changes nothing."""
        figures = self.store.figures
        try:
            done = operation(*values)
        except NoRoomError as error:
            if not self.full or error.reason != "disk_full":
                raise
            if operation == self.store.append:
                self.starved = True
            assert self.store.figures == figures
            raise NothingDoneError from None
        if operation == self.store.append:
            self.starved = False
        return done

    @initialize()
    def first_start(self) -> None:
        self.directory = Path(self.folder.name) / "0"
        self.directory.mkdir()
        self.open(self.directory / "journal.sqlite")

    def open(self, path: Path) -> None:
        self.store = Store(
            path,
            max_bytes=self.max_bytes,
            keep_days=self.keep_days,
            dead_letters_max_bytes=DEAD_LIMIT,
            clock=self.clock,
        )
        self.full = self.starved = False
        for source in self.sources:
            assert self.store.open_source(source.name, source.tenant) == source.name
            source.horizon = source.durable_horizon

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def open_lanes(self) -> list[tuple[Source, str]]:
        return [(source, sink) for source in self.sources for sink, lane in source.lanes.items() if not lane.forgotten]

    def queues(self) -> list[tuple[Source, str]]:
        return [
            (source, sink)
            for source in self.sources
            for sink, lane in source.lanes.items()
            if lane.queue_position < lane.queue_last
        ]

    def queue(self, source: Source, sink: str) -> list[Letter]:
        found = [x for x in self.letters if (x.source, x.sink) == (source.name, sink) and x.queued is not None]
        return sorted(found, key=lambda letter: letter.queued or 0)

    # -- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def every_lane_can_read_exactly_what_is_behind_its_position(self) -> None:
        for source, sink in self.open_lanes():
            lane, stored = source.lanes[sink], len(source.events)
            upto = stored if not lane.pending and stored > lane.position else None
            stretch = self.store.read(source.name, sink, lane.position, EVERYTHING, upto)
            source.seek(lane)
            behind = source.events[lane.position :] if not lane.pending else []
            if upto is None and lane.reserved == (0, 0):
                assert (list(stretch.events) if stretch else []) == behind
            elif stretch is not None:
                assert list(stretch.events) == behind[: len(stretch.events)]

    @invariant()
    def the_figures_are_the_models(self) -> None:
        assert set(self.store.figures.sources) == {source.name for source in self.sources}
        for source in self.sources:
            figures = self.store.figures.sources[source.name]
            assert (figures.stored, figures.gaps) == (len(source.events), len(source.gaps))
            assert (figures.checkpoint, figures.horizon) == (source.checkpoint, source.horizon)
            assert (figures.tenant, figures.start) == (source.tenant, source.start)
            assert set(figures.lanes) == set(source.lanes)
            for sink, lane in source.lanes.items():
                self.lane_figures_are_the_models(figures.lanes[sink], source, lane)

    def lane_figures_are_the_models(self, figures: LaneFigures, source: Source, lane: Lane) -> None:
        stored = len(source.events)
        waiting = 0 if lane.forgotten else stored - lane.position
        assert (figures.began, figures.position, figures.lag) == (lane.began, lane.position, waiting)
        assert figures.oldest == (source.events[lane.position].time if waiting else None)
        assert Counter(figures.dead) == lane.dead
        kept = sum(letter.sink == figures.sink and letter.source == source.name for letter in self.letters)
        assert (figures.dead_kept, figures.dead_removed) == (kept, lane.removed)
        assert (figures.given_up, figures.requeued, figures.replayed) == (lane.given_up, lane.requeued, lane.replayed)
        assert (figures.queue_position, figures.queue_last) == (lane.queue_position, lane.queue_last)
        assert figures.filtered == lane.filtered
        if not lane.forgotten:
            settled = figures.delivered + figures.filtered + lane.dead.total() + figures.given_up
            assert stored - figures.began == settled + figures.lag

    @invariant()
    def dead_letters_are_kept_with_their_bytes(self) -> None:
        found = self.store.dead_letters()
        kept = [(d.source, d.sink, d.number, d.reason, d.raw, d.at, d.queued) for d in found]
        assert kept == [
            (x.source, x.sink, x.number, x.reason, x.event.raw, x.at, x.queued is not None) for x in self.letters
        ]
        assert self.store.figures.dead_bytes == self.dead_bytes <= DEAD_LIMIT
        for source, sink in self.queues():
            queue = self.store.read_queue(source.name, sink, source.lanes[sink].queue_position, EVERYTHING)
            assert queue is not None
            assert list(queue.events) == [letter.event for letter in self.queue(source, sink)]

    @invariant()
    def the_ledger_is_the_sum_of_what_happened(self) -> None:
        for source in self.sources:
            assert self.store.ledger(source.name, 0, 1 << 40) == source.ledger.entries()

    @invariant()
    def gaps_and_audits_are_kept(self) -> None:
        assert [(who, what) for _, _, who, what in self.store.audits(0, 1_000)] == self.audits
        for source in self.sources:
            assert sorted(self.store.gaps(source.name)) == sorted(source.gaps)

    @invariant()
    def who_begins_where_all_is_settled_misses_nothing(self) -> None:
        settled = {place.name: place for place in self.store.settled()}
        for source in self.sources[:1]:  # the orderly one
            if source.name in settled:
                place = int(settled[source.name].checkpoint)
                assert all(at > place for at in source.places[source.settled() :])

    @invariant()
    def events_of_a_time_are_found_while_they_are_kept(self) -> None:
        for source in self.sources:
            found, _, whole_from, _ = self.store.events(source.name, 0, 1 << 62, 0, 1 << 30)
            kept = list(enumerate(source.events, 1))[source.trimmed :]
            assert found == kept
            if whole_from is not None:
                assert all(e.time < whole_from for e in source.events[source.given_up : source.trimmed])

    @invariant()
    def only_a_full_journal_pauses_and_only_who_has_a_backlog(self) -> None:
        figures = self.store.figures
        if figures.used_bytes >= self.max_bytes:
            assert figures.full
        if figures.used_bytes < RESUME_BELOW * self.max_bytes:
            assert not figures.full
        for name, source in figures.sources.items():
            waits = not source.lanes or any(lane.lag for lane in source.lanes.values())
            assert not source.paused or (figures.full and waits), name

    @invariant()
    def the_file_is_consistent(self) -> None:
        check_file(self.store)
