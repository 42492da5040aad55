"""The journal against a model in plain Python, on a real file, through crashes and restarts."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from journal_case import EPOCH_MS, EVERYTHING, Clock, check_file, crashed, event, hashed, in_memory, page

from shipper.event import Event
from shipper.journal import Burial, LaneFigures, Limits, NoRoomError
from shipper.journal.census import RESUME_BELOW
from shipper.journal.letters import OVERHEAD as DEAD_LETTER_OVERHEAD
from shipper.journal.store import Store

DEAD_LIMIT = 3_000
DAY_MS = 86_400_000
HUGE = 1 << 40
SOURCES = st.sampled_from(["acme", "globex"])
SINKS = st.sampled_from(["siem", "archive", "console"])


@dataclass
class Lane:
    pending: str
    began: int
    position: int
    dead: Counter[str] = field(default_factory=Counter)
    reserved: tuple[int, int] = (0, 0)


@dataclass
class Source:
    events: list[Event] = field(default_factory=list)
    arrived: list[int] = field(default_factory=list)
    known_from: int = 0
    trimmed: int = 0
    checkpoint: bytes | None = None
    horizon: int | None = None
    durable_horizon: int | None = None
    lanes: dict[str, Lane] = field(default_factory=dict)
    made: int = 0

    def seek(self, lane: Lane) -> None:
        kind, _, value = lane.pending.partition(":")
        while lane.pending and lane.position < len(self.events):
            following = self.events[lane.position]
            above = len(following.id) == len(value) and following.id > value
            if (kind == "time" and following.time >= int(value)) or (kind == "id" and above):
                lane.pending = ""
            else:
                lane.position += 1
                lane.began = lane.position


class JournalMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = in_memory()
        self.clock = Clock()
        self.lives = 0
        self.sources = {"acme": Source(), "globex": Source()}
        self.dead: list[tuple[str, str, int, str, bytes]] = []
        self.dead_bytes = 0
        self.max_bytes, self.keep_days = HUGE, 1.0

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
        for name in self.sources:
            assert self.store.open_source(name, f"{name}.example") == name

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    # -- sources -----------------------------------------------------------------------------------------------------

    def append(self, name: str, events: list[Event]) -> None:
        source = self.sources[name]
        known = {e.id for e in source.events[source.known_from :]}
        fresh = [e for n, e in enumerate(events) if e.id not in known and e not in events[:n]]
        checkpoint = b"checkpoint %d" % (len(source.events) + len(events))
        horizon = max((e.time for e in events), default=0)
        appended = self.store.append(name, page(events, checkpoint, horizon))
        assert (appended.stored, appended.duplicates) == (len(fresh), len(events) - len(fresh))
        source.events += fresh
        source.arrived += [int(self.clock.now * 1000)] * len(fresh)
        source.checkpoint = checkpoint
        source.durable_horizon = max(source.durable_horizon or 0, horizon)
        source.horizon = max(source.horizon or 0, horizon)

    def made(self, name: str, count: int, size: int = 0) -> list[Event]:
        source = self.sources[name]
        source.made += count
        return [event(2 * n, size) for n in range(source.made - count, source.made)]

    @rule(name=SOURCES, count=st.sampled_from([1, 2, 7, 49, 100]), size=st.sampled_from([0, 30, 3_000]))
    def a_page(self, name: str, count: int, size: int) -> None:
        self.append(name, self.made(name, count, size))

    @rule(name=SOURCES, count=st.integers(1, 4), data=st.data())
    def a_page_out_of_order(self, name: str, count: int, data: st.DataObject) -> None:
        self.append(name, data.draw(st.permutations(self.made(name, count + 1))))

    @rule(name=SOURCES, back=st.integers(0, 120), count=st.integers(0, 3), data=st.data())
    def a_page_that_overlaps(self, name: str, back: int, count: int, data: st.DataObject) -> None:
        again = self.sources[name].events[-back:] if back else []
        events = [*again, *self.made(name, count)]
        self.append(name, data.draw(st.permutations(events)) if len(events) < 6 else events)

    @rule(name=SOURCES, number=st.integers(0, 300))
    def a_late_event(self, name: str, number: int) -> None:
        self.append(name, [event(2 * number + 1)])

    @rule(name=SOURCES, number=st.integers(0, 30), count=st.integers(1, 3))
    def events_without_order(self, name: str, number: int, count: int) -> None:
        events = [hashed(n) for n in range(number, number + count)]
        self.append(name, [*events, *self.made(name, 1), events[0]])

    @rule(name=SOURCES, secs=st.sampled_from([0, 10, 59, 61]))
    def nothing_new(self, name: str, secs: int) -> None:
        self.clock.now += secs
        source, horizon = self.sources[name], int(self.clock.now * 1000)
        self.store.caught_up(name, horizon)
        source.horizon = max(source.horizon or 0, horizon)
        stored = self.store._db.value("SELECT horizon FROM source WHERE name = ?", name)
        assert stored is not None, "the first one is durable at once"
        assert source.horizon - 60_000 < stored <= source.horizon
        source.durable_horizon = stored

    @rule(name=SOURCES)
    def again_from_here(self, name: str) -> None:
        source = self.sources[name]
        self.store.set_checkpoint(name, b"moved", "by a test", "nobody")
        source.checkpoint, source.known_from = b"moved", len(source.events)

    # -- lanes -------------------------------------------------------------------------------------------------------

    @rule(name=SOURCES, sink=SINKS, start=st.sampled_from(["earliest", "latest", "time", "id"]), n=st.integers(0, 300))
    def a_lane(self, name: str, sink: str, start: str, n: int) -> None:
        source = self.sources[name]
        start = {"time": f"time:{EPOCH_MS + n}", "id": f"id:{event(n).id}"}.get(start, start)
        new = self.store.open_lane(name, sink, start)
        assert new == (sink not in source.lanes)
        if new:
            began = len(source.events) if start == "latest" else source.trimmed
            lane = Lane("" if ":" not in start else start, began, began)
            source.lanes[sink] = lane
            source.seek(lane)

    def chosen(self, data: st.DataObject) -> tuple[str, str, Lane]:
        lanes = [(name, sink) for name, source in self.sources.items() for sink in source.lanes]
        name, sink = data.draw(st.sampled_from(lanes))
        return name, sink, self.sources[name].lanes[sink]

    @precondition(lambda self: any(source.lanes for source in self.sources.values()))
    @rule(data=st.data(), take=st.integers(1, 150))
    def a_reservation(self, data: st.DataObject, take: int) -> None:
        name, sink, lane = self.chosen(data)
        last = min(lane.position + take, len(self.sources[name].events))
        if not lane.pending and last > lane.position:
            self.store.reserve(name, sink, lane.position + 1, last)
            lane.reserved = (lane.position + 1, last)

    @precondition(lambda self: any(source.lanes for source in self.sources.values()))
    @rule(data=st.data(), max_events=st.integers(1, 120), max_bytes=st.sampled_from([1, 500, 20_000]))
    def a_batch(self, data: st.DataObject, max_events: int, max_bytes: int) -> None:
        name, sink, lane = self.chosen(data)
        source, limits = self.sources[name], Limits(max_events, max_bytes, overhead=5)
        stretch = self.store.read(name, sink, lane.position, limits)
        source.seek(lane)
        if stretch is None:
            assert lane.pending or lane.position == len(source.events)
            return
        first, events = lane.position + 1, list(stretch.events)
        assert stretch.first == first
        assert events == source.events[first - 1 : stretch.last]
        if lane.reserved[0] == first:
            assert stretch.last == lane.reserved[1]
        else:
            size = sum(len(e.raw) + 5 for e in events)
            assert len(events) == 1 or (size <= max_bytes and len(events) <= max_events)
            assert self.store.ready_in(name, sink, lane.position, Limits(len(events), HUGE, 5, 60.0)) == 0.0
        self.ack(data, name, sink, stretch.last)

    def ack(self, data: st.DataObject, name: str, sink: str, upto: int) -> None:
        source = self.sources[name]
        lane = source.lanes[sink]
        refused = data.draw(st.sets(st.integers(lane.position + 1, upto), max_size=3))
        burials = [
            Burial(n, data.draw(st.sampled_from(["refused", "too_large"])), "wörds\x00") for n in sorted(refused)
        ]
        letters = [source.events[n - 1].raw + "wörds\x00".encode() for n in refused]
        added = sum(len(letter) + DEAD_LETTER_OVERHEAD for letter in letters)
        if added and self.dead_bytes + added > DEAD_LIMIT:
            with pytest.raises(NoRoomError, match="dead_letters_max_bytes"):
                self.store.ack(name, sink, upto, burials)
            return
        self.store.ack(name, sink, upto, burials)
        self.dead_bytes += added
        self.dead += [(name, sink, b.number, b.reason, source.events[b.number - 1].raw) for b in burials]
        lane.dead.update(b.reason for b in burials)
        lane.position = upto
        if lane.reserved[1] <= upto:
            lane.reserved = (0, 0)

    # -- time and trouble --------------------------------------------------------------------------------------------

    @rule(days=st.sampled_from([0.0, 0.6, -0.1]))
    def trim(self, days: float) -> None:
        self.clock.now += 86_400 * days
        tight = self.store._db.used_bytes() >= RESUME_BELOW * self.max_bytes
        while self.store.trim():
            pass
        for name, source in self.sources.items():
            trimmed = self.store._db.value("SELECT trimmed FROM source WHERE name = ?", name)
            settled = min((lane.position for lane in source.lanes.values()), default=0)
            assert source.trimmed <= trimmed <= settled
            if not tight:
                too_old = self.clock.now * 1000 - self.keep_days * DAY_MS
                assert all(at <= too_old for at in source.arrived[source.trimmed : trimmed])
            if tight or self.keep_days == 0:
                # A page is given up whole or not at all, so the one that some lane is in stays.
                assert settled - trimmed < 200
            source.trimmed = trimmed

    @rule(crash=st.booleans(), max_bytes=st.sampled_from([HUGE, 40_000]), keep_days=st.sampled_from([0.0, 1.0]))
    def a_restart(self, crash: bool, max_bytes: int, keep_days: float) -> None:
        self.max_bytes, self.keep_days = max_bytes, keep_days
        self.lives += 1
        path = self.directory / "journal.sqlite"
        if crash:
            elsewhere = Path(self.folder.name) / str(self.lives)
            path = crashed(self.directory, elsewhere)
            self.store.close()
            self.directory = elsewhere
        else:
            self.store.close()
        for source in self.sources.values():
            source.horizon = source.durable_horizon
        self.open(path)

    # -- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def every_lane_can_read_exactly_what_is_behind_its_position(self) -> None:
        for name, source in self.sources.items():
            for sink, lane in source.lanes.items():
                stored = len(source.events)
                upto = stored if not lane.pending and stored > lane.position else None
                stretch = self.store.read(name, sink, lane.position, EVERYTHING, upto)
                source.seek(lane)
                behind = source.events[lane.position :] if not lane.pending else []
                if upto is None and lane.reserved == (0, 0):
                    assert (list(stretch.events) if stretch else []) == behind
                elif stretch is not None:
                    assert list(stretch.events) == behind[: len(stretch.events)]

    @invariant()
    def the_figures_are_the_models(self) -> None:
        for name, source in self.sources.items():
            figures = self.store.figures.sources[name]
            assert figures.stored == len(source.events)
            assert (figures.checkpoint, figures.horizon) == (source.checkpoint, source.horizon)
            assert set(figures.lanes) == set(source.lanes)
            for sink, lane in source.lanes.items():
                self.lane_figures_are_the_models(figures.lanes[sink], source, lane)

    def lane_figures_are_the_models(self, figures: LaneFigures, source: Source, lane: Lane) -> None:
        stored = len(source.events)
        assert (figures.began, figures.position) == (lane.began, lane.position)
        assert figures.lag == stored - lane.position
        assert figures.oldest == (source.events[lane.position].time if figures.lag else None)
        assert figures.dead == lane.dead
        assert figures.dead_kept == lane.dead.total()
        assert stored - figures.began == figures.delivered + figures.filtered + lane.dead.total() + figures.lag

    @invariant()
    def dead_letters_are_kept_with_their_bytes(self) -> None:
        kept = [(d.source, d.sink, d.number, d.reason, d.raw) for d in self.store.dead_letters()]
        assert kept == self.dead
        assert self.store.figures.dead_bytes == self.dead_bytes <= DEAD_LIMIT

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


JournalMachine.TestCase.settings = settings(
    max_examples=200, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestJournal = JournalMachine.TestCase
