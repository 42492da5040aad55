"""The journal against a model in plain Python, on a real file: every operation, crashes, restarts, a full disk."""

import multiprocessing
import os
import random
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from journal_case import EPOCH_MS, crashed, hashed
from machine_case import DEAD_LIMIT, HUGE, CheckedJournal, NothingDoneError
from model_case import Lane, Letter, Source, event

from shipper.event import Event, Page
from shipper.journal import Burial, Limits, NoRoomError, UnknownNameError, WrongTenantError
from shipper.journal.census import RESUME_BELOW
from shipper.journal.letters import Chosen
from shipper.journal.sieve import Sieve
from shipper.reasons import Reason

# The same examples each time, so that a change is what makes this fail; MODEL_SEED has others.
CHANCE = random.Random(os.environ.get("MODEL_SEED", "the journal"))
DAY_MS = 86_400_000
WORDS = "wörds\x00"
WHICH = st.sampled_from([0, 1])
NAMES = ["acme", "globex", "initech"]
SINKS = st.sampled_from(["siem", "archive", "console"])
STARTS = st.sampled_from(["earliest", "earliest", "earliest", "latest", "time", "id"])
RARELY = st.sampled_from([False, False, False, True])
REASONS: list[Reason] = ["refused", "too_large"]
TYPES = st.sampled_from([None, None, "s", "fw", ""])
"""What a lane wants: all, or events of these types."""


def changes(rule_: Callable[..., None]) -> Callable[..., None]:
    """A rule that asks the store first, and changes the model only where the store did it."""

    @wraps(rule_)
    def tried(self: "JournalMachine", *args: Any, **values: Any) -> None:
        with suppress(NothingDoneError):
            rule_(self, *args, **values)

    return tried


def holes(numbers: Iterable[int]) -> list[range]:
    """These numbers, as few ranges in order."""
    found: list[range] = []
    for number in sorted(numbers):
        if found and found[-1].stop == number:
            found[-1] = range(found[-1].start, number + 1)
        else:
            found.append(range(number, number + 1))
    return found


def numbers_in(ranges: Iterable[range]) -> frozenset[int]:
    return frozenset(number for one in ranges for number in one)


class JournalMachine(CheckedJournal):
    # -- sources -----------------------------------------------------------------------------------------------------

    def begun(self, which: int) -> Source:
        source = self.sources[which]
        if source.checkpoint is None:
            self.begin(source, "earliest")
        return source

    def begin(self, source: Source, start: str) -> None:
        # After it was given up, too, the place that it begins behind has a time.
        since = source.ends[-1] if source.ends else EPOCH_MS
        self.do(self.store.begin, source.name, start, b"%d" % source.chain, since)
        if source.checkpoint is None:
            source.start, source.checkpoint = start, b"%d" % source.chain
            source.durable_horizon = since
            source.held_up_to(since)

    def append(self, source: Source, events: Sequence[Event]) -> None:
        fresh = source.fresh(events)
        checkpoint, horizon = b"%d" % (source.chain + 1), max((e.time for e in events), default=0)
        highest = max((e.id for e in events if not e.id.startswith("sha256-")), default="")
        appended = self.do(self.store.append, source.name, Page(events, checkpoint, horizon, highest))
        assert (appended.stored, appended.duplicates) == (len(fresh), len(events) - len(fresh))
        source.ends.append(max([horizon, *source.ends[-1:]]))
        source.store(fresh, source.chain, self.now)
        source.checkpoint = checkpoint
        source.durable_horizon = max(source.durable_horizon or 0, horizon)
        source.held_up_to(horizon)

    def made(self, source: Source, count: int, size: int = 0) -> list[Event]:
        source.made += count
        return [event(2 * n, size) for n in range(source.made - count, source.made)]

    @rule(which=WHICH, start=st.sampled_from(["earliest", "latest"]))
    @changes
    def a_first_start(self, which: int, start: str) -> None:
        self.begin(self.sources[which], start)

    @rule(which=WHICH, count=st.sampled_from([1, 7, 49, 60, 100]), size=st.sampled_from([0, 30, 2_000]))
    @changes
    def a_page(self, which: int, count: int, size: int) -> None:
        source = self.begun(which)
        self.append(source, self.made(source, count, size))

    @rule(which=WHICH, count=st.integers(1, 4), data=st.data())
    @changes
    def a_page_out_of_order(self, which: int, count: int, data: st.DataObject) -> None:
        source = self.begun(which)
        self.append(source, data.draw(st.permutations(self.made(source, count + 1))))

    @rule(which=WHICH, back=st.integers(0, 120), count=st.integers(0, 3), data=st.data())
    @changes
    def a_page_that_overlaps(self, which: int, back: int, count: int, data: st.DataObject) -> None:
        source = self.begun(which)
        again = source.events[-back:] if back else []
        events = [*again, *self.made(source, count)]
        self.append(source, data.draw(st.permutations(events)) if len(events) < 6 else events)

    @rule(number=st.integers(0, 300))
    @changes
    def a_page_from_before(self, number: int) -> None:
        self.append(self.begun(1), [event(2 * number + 1)])

    @rule(number=st.integers(0, 30), count=st.integers(1, 3))
    @changes
    def events_without_order(self, number: int, count: int) -> None:
        source = self.begun(1)
        events = [hashed(n) for n in range(number, number + count)]
        self.append(source, [*events, *self.made(source, 1), events[0]])

    @rule(
        which=WHICH,
        pages=st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=2), min_size=1, max_size=3),
        data=st.data(),
    )
    @changes
    def events_that_come_late(self, which: int, pages: list[list[int]], data: st.DataObject) -> None:
        """They lie behind the checkpoint, among events that are known."""
        source = self.begun(which)
        for numbers in pages:
            late = [event(2 * n + 1) for n in numbers if n < source.made]
            events = late + source.events[-1:]
            # Before all of them: what was known is new again where the checkpoint was set.
            behind = source.place_before(min((e.time for e in events), default=0))
            before = data.draw(st.integers(max(0, behind - 2), behind))
            fresh = source.fresh(events)
            appended = self.do(self.store.append, source.name, Page(events, b"%d" % before, 0, late=True))
            assert (appended.stored, appended.duplicates) == (len(fresh), len(events) - len(fresh))
            for one in fresh:
                source.store([one], source.place_before(one.time) + 1, self.now)

    @rule(which=WHICH, secs=st.sampled_from([0, 10, 59, 61]))
    @changes
    def nothing_new(self, which: int, secs: int) -> None:
        self.clock.now += secs
        source, horizon = self.begun(which), self.now
        self.do(self.store.caught_up, source.name, horizon)
        source.held_up_to(horizon)
        stored = self.store._db.value("SELECT horizon FROM source WHERE name = ?", source.name)
        assert stored is not None, "the first one is durable at once"
        assert source.horizon is not None
        assert source.horizon - 60_000 < stored <= source.horizon
        source.durable_horizon = stored

    @rule(which=WHICH, since=st.integers(0, 100), length=st.integers(1, 100), may_be_empty=st.booleans())
    @changes
    def a_gap(self, which: int, since: int, length: int, may_be_empty: bool) -> None:
        source = self.begun(which)
        since, until = EPOCH_MS + since * 60_000, EPOCH_MS + (since + length) * 60_000
        self.do(self.store.gap, source.name, since, until, may_be_empty)
        source.gaps.append((since, until, self.now, may_be_empty))
        source.durable_horizon = max(source.durable_horizon or 0, until)
        source.held_up_to(until)

    @rule(which=WHICH, really=RARELY)
    @changes
    def again_from_here(self, which: int, really: bool) -> None:
        if not really:
            return
        source = self.begun(which)
        since = source.ends[-1] if source.ends else EPOCH_MS
        self.do(self.store.set_checkpoint, source.name, b"%d" % source.chain, "by a test", "nobody", since)
        self.audits.append(("nobody", "by a test"))
        source.checkpoint, source.known_from = b"%d" % source.chain, len(source.events)

    @rule(which=WHICH, data=st.data())
    @changes
    def a_new_name(self, which: int, data: st.DataObject) -> None:
        source, other = self.sources[which], self.sources[1 - which]
        with pytest.raises(WrongTenantError):
            self.store.open_source(other.name, source.tenant)
        name = data.draw(st.sampled_from([name for name in NAMES if name != other.name]))
        assert self.do(self.store.open_source, name, source.tenant) == source.name
        for letter in self.letters:
            letter.source = name if letter.source == source.name else letter.source
        source.name, source.horizon = name, source.durable_horizon

    @rule(which=WHICH, really=RARELY)
    @changes
    def a_source_is_given_up(self, which: int, really: bool) -> None:
        if not really:
            return
        source = self.sources[which]
        waiting = sum(len(source.events) - lane.position for lane in source.lanes.values() if not lane.forgotten)
        assert self.do(self.store.forget_source, source.name, "nobody") == waiting
        assert sum(self.forgotten(source, sink) for from_, sink in self.open_lanes() if from_ is source) == waiting
        source.forget()
        self.audits.append(("nobody", f"forget source {source.name}: {waiting} events given up"))

    # -- lanes -------------------------------------------------------------------------------------------------------

    @rule(which=WHICH, sink=SINKS, start=STARTS, n=st.integers(0, 300))
    @changes
    def a_lane(self, which: int, sink: str, start: str, n: int) -> None:
        source = self.sources[which]
        start = {"time": f"time:{event(n).time}", "id": f"id:{event(n).id}"}.get(start, start)
        new = self.do(self.store.open_lane, source.name, sink, start)
        known = source.lanes.get(sink)
        assert new == (known is None or known.forgotten)
        if new:
            began = len(source.events) if start == "latest" else source.trimmed
            lane = source.lanes.setdefault(sink, Lane("", 0, 0))
            lane.begin(start if ":" in start else "", began)
            source.seek(lane)

    def forgotten(self, source: Source, sink: str) -> int:
        """Nothing waits for this lane any more, and its requeued dead letters rest. Returns how many events waited."""
        for letter in self.queue(source, sink):
            letter.queued = None
        return source.lanes[sink].forget(len(source.events))

    @precondition(lambda self: self.open_lanes())
    @rule(data=st.data(), take=st.integers(1, 150))
    @changes
    def a_reservation(self, data: st.DataObject, take: int) -> None:
        """Some of it may be left out, by whatever filter there was then."""
        source, sink = data.draw(st.sampled_from(self.open_lanes()))
        lane = source.lanes[sink]
        last = min(lane.position + take, len(source.events))
        if not lane.pending and last > lane.position:
            range_ = (lane.position + 1, last)
            # The first event of what is written is written.
            without = frozenset(data.draw(st.sets(st.integers(lane.position + 1, last), max_size=9))) - {range_[0]}
            known = (lane.reserved, lane.without) == (range_, without)
            assert self.do(self.store.reserve, source.name, sink, *range_, holes(without)) == known
            lane.reserved, lane.without = range_, without

    @precondition(lambda self: self.open_lanes())
    @rule(data=st.data(), max_events=st.integers(1, 120), max_bytes=st.sampled_from([1, 500, 20_000]), types=TYPES)
    @changes
    def a_batch(self, data: st.DataObject, max_events: int, max_bytes: int, types: str | None) -> None:
        """With a filter that may be another one each time."""
        source, sink = data.draw(st.sampled_from(self.open_lanes()))
        lane, limits = source.lanes[sink], Limits(max_events, max_bytes, overhead=5)
        sieve = None if types is None else Sieve(lambda type_: type_ in types)
        stretch = self.do(self.store.read, source.name, sink, lane.position, limits, None, (), sieve)
        source.seek(lane)
        if stretch is None:
            assert lane.pending or lane.position == len(source.events)
            return
        first, events, without = lane.position + 1, list(stretch.events), numbers_in(stretch.left_out)
        span = range(first, stretch.last + 1)
        assert stretch.first == first
        assert events == [source.events[n - 1] for n in span if n not in without]
        if lane.reserved[0] == first:
            assert (stretch.last, without) == (lane.reserved[1], lane.without)
        else:
            assert without == {n for n in span if types is not None and source.events[n - 1].type not in types}
            assert not events or first not in without
            size = sum(len(e.raw) + 5 for e in events)
            assert len(events) <= 1 or (size <= max_bytes and len(events) <= max_events)
            ready = self.store.ready_in(source.name, sink, lane.position, Limits(len(events), HUGE, 5, 60.0), sieve)
            assert ready == 0.0
        again = self.store.read(source.name, sink, lane.position, limits, stretch.last, stretch.left_out)
        assert again is not None
        assert (again.first, list(again.events), list(again.left_out)) == (first, events, list(stretch.left_out))

        wanted = [n for n in span if n not in without]
        refused = sorted(data.draw(st.sets(st.sampled_from(wanted), max_size=3))) if wanted else []
        burials = [Burial(n, data.draw(st.sampled_from(REASONS)), WORDS) for n in refused]
        self.ack(source, sink, stretch.last, burials, without)

    @rule(which=WHICH)
    @changes
    def all_is_delivered(self, which: int) -> None:
        source = self.sources[which]
        for sink, lane in source.lanes.items():
            if not lane.pending and not lane.forgotten:
                self.ack(source, sink, len(source.events), [])

    def ack(
        self, source: Source, sink: str, upto: int, burials: Sequence[Burial], without: frozenset[int] = frozenset()
    ) -> None:
        lane = source.lanes[sink]
        added = [
            Letter(source.name, sink, b.number, source.events[b.number - 1], b.reason, WORDS, self.now) for b in burials
        ]
        before, self.letters = self.letters, [*self.letters, *added]
        if added and self.dead_bytes > DEAD_LIMIT:
            self.letters = before
            # Which of the two limits comes first is not promised.
            with pytest.raises(NoRoomError, match="disk is full" if self.full else "dead_letters_max_bytes"):
                self.store.ack(source.name, sink, upto, burials, holes(without))
            return
        try:
            self.do(self.store.ack, source.name, sink, upto, burials, holes(without))
        except NothingDoneError:
            self.letters = before
            raise
        others = {burial.number for burial in burials} | without
        settled = source.events[lane.position : upto]
        dead = [letter.event for letter in added]
        source.ledger.add(sink, "delivered", [e for n, e in enumerate(settled, lane.position + 1) if n not in others])
        source.ledger.add(sink, "filtered", [source.events[n - 1] for n in without])
        source.ledger.add(sink, "dead", dead)
        lane.filtered += len(without)
        lane.dead.update(b.reason for b in burials)
        lane.position = upto
        if lane.reserved[1] <= upto:
            lane.reserved, lane.without = (0, 0), frozenset()

    @precondition(lambda self: self.open_lanes())
    @rule(data=st.data())
    @changes
    def a_replay(self, data: st.DataObject) -> None:
        source, sink = data.draw(st.sampled_from(self.open_lanes()))
        self.do(self.store.replayed, source.name, sink, 7)
        source.lanes[sink].replayed += 7

    @rule(sink=SINKS, really=RARELY)
    @changes
    def a_sink_is_given_up(self, sink: str, really: bool) -> None:
        if not really:
            return
        lanes = [(source, source.lanes[sink]) for source, name in self.open_lanes() if name == sink]
        if not lanes:
            with pytest.raises(UnknownNameError):
                self.store.forget_sink(sink, "nobody")
            return
        waiting = sum(len(source.events) - lane.position for source, lane in lanes)
        assert self.do(self.store.forget_sink, sink, "nobody") == waiting
        for source, _ in lanes:
            self.forgotten(source, sink)
        self.audits.append(("nobody", f"forget sink {sink}: {waiting} events given up"))

    @rule(old=SINKS, new=SINKS)
    @changes
    def a_sink_has_a_new_name(self, old: str, new: str) -> None:
        known = {sink for source in self.sources for sink in source.lanes}
        if old not in known or new in known:
            with pytest.raises(UnknownNameError):
                self.store.rename_sink(old, new, "nobody")
            return
        self.do(self.store.rename_sink, old, new, "nobody")
        for source in self.sources:
            source.lanes = {new if sink == old else sink: lane for sink, lane in source.lanes.items()}
            source.ledger.rename(old, new)
        for letter in self.letters:
            letter.sink = new if letter.sink == old else letter.sink
        self.audits.append(("nobody", f"rename sink {old} to {new}"))

    # -- dead letters ------------------------------------------------------------------------------------------------

    def lane_of(self, letter: Letter) -> Lane:
        return next(source for source in self.sources if source.name == letter.source).lanes[letter.sink]

    def chosen(self, data: st.DataObject) -> tuple[Chosen, list[Letter]]:
        """Some way to name dead letters, and those that rest among them."""
        ids = {letter.id: n for n, letter in enumerate(self.store.dead_letters())}
        some = data.draw(st.none() | st.lists(st.sampled_from(sorted(ids)), max_size=4) if ids else st.none())
        chosen = Chosen(
            source=data.draw(st.sampled_from(["", "", *NAMES])),
            sink=data.draw(st.sampled_from(["", "", "siem", "archive"])),
            reason=data.draw(st.sampled_from(["", "", *REASONS])),
            ids=some,
            before=data.draw(st.sampled_from([None, self.now - DAY_MS // 2, self.now + 1])),
        )
        resting = [
            letter
            for letter in (self.letters if some is None else [self.letters[ids[id_]] for id_ in sorted(set(some))])
            if letter.queued is None
            and chosen.source in ("", letter.source)
            and chosen.sink in ("", letter.sink)
            and chosen.reason in ("", letter.reason)
            and (chosen.before is None or letter.at < chosen.before)
        ]
        return chosen, resting

    def by_lane(self, letters: list[Letter]) -> str:
        order = {name: at for at, name in enumerate(source.name for source in self.sources)}
        counts = Counter((order[letter.source], letter.sink, letter.source) for letter in letters)
        return ", ".join(f"{n} of {source} to {sink}" for (_, sink, source), n in sorted(counts.items())) or "none"

    @rule(data=st.data())
    @changes
    def dead_letters_go_out_again(self, data: st.DataObject) -> None:
        chosen, resting = self.chosen(data)
        lanes = {source.name: source.lanes for source in self.sources}
        # Nobody would deliver what rests for a lane that was given up.
        resting = [letter for letter in resting if not lanes[letter.source][letter.sink].forgotten]
        assert self.do(self.store.requeue, chosen, "nobody") == len(resting)
        for letter in resting:
            lane = self.lane_of(letter)
            lane.queue_last += 1
            letter.queued = lane.queue_last
        self.audits.append(("nobody", f"dead requeue: {self.by_lane(resting)}"))

    @rule(data=st.data(), who=st.sampled_from(["", "nobody"]))
    @changes
    def dead_letters_are_removed(self, data: st.DataObject, who: str) -> None:
        chosen, resting = self.chosen(data)
        assert self.do(self.store.purge, chosen, who) == len(resting)
        for letter in resting:
            self.lane_of(letter).removed += 1
        self.letters = [letter for letter in self.letters if all(letter is not gone for gone in resting)]
        if resting:
            self.audits.append((who or "shipper", f"dead letters removed: {self.by_lane(resting)}"))

    @precondition(lambda self: self.queues())
    @rule(data=st.data(), max_events=st.integers(1, 5))
    @changes
    def a_batch_of_what_goes_out_again(self, data: st.DataObject, max_events: int) -> None:
        source, sink = data.draw(st.sampled_from(self.queues()))
        lane, queue = source.lanes[sink], self.queue(source, sink)
        stretch = self.store.read_queue(source.name, sink, lane.queue_position, Limits(max_events, HUGE))
        assert stretch is not None
        assert stretch.first == lane.queue_position + 1
        assert list(stretch.events) == [letter.event for letter in queue[:max_events]]
        again = data.draw(st.sets(st.integers(stretch.first, stretch.last), max_size=2))
        reason = data.draw(st.sampled_from(REASONS))
        burials = [Burial(number, reason, WORDS) for number in again]
        self.do(self.store.ack_queue, source.name, sink, stretch.last, burials)
        lane.queue_position = stretch.last
        for letter in queue[:max_events]:
            if letter.queued in again:
                letter.queued, letter.reason, letter.at = None, reason, self.now
            else:
                source.ledger.add(sink, "requeued", [letter.event])
                lane.requeued += 1
                self.letters = [other for other in self.letters if other is not letter]

    # -- time and trouble --------------------------------------------------------------------------------------------

    @rule(days=st.sampled_from([0.0, 0.6, -0.1]))
    @changes
    def trim(self, days: float) -> None:
        self.clock.now += 86_400 * days
        self.set_back += max(0, -days) * DAY_MS
        tight = self.starved or self.store._db.used_bytes() >= RESUME_BELOW * self.max_bytes
        while self.do(self.store.trim):
            pass
        for source in self.sources:
            trimmed = self.store._db.value("SELECT trimmed FROM source WHERE name = ?", source.name)
            settled = source.settled() if source.lanes else source.trimmed
            assert source.trimmed <= trimmed <= settled
            if not tight:
                # A page is as old as its newest event, and looks older where the clock was set back before that came.
                too_old = self.now - self.keep_days * DAY_MS + self.set_back
                assert all(at <= too_old for at in source.arrived[source.trimmed : trimmed])
            if tight or self.keep_days == 0:
                # A page is given up whole or not at all, so the one that some lane is in stays.
                assert settled - trimmed < 200
            source.trimmed = trimmed

    @rule()
    def the_disk_fills_up(self) -> None:
        """The file can't grow by a single page; what is free inside it can be used."""
        self.full = True
        self.store._db.rows(f"PRAGMA max_page_count={self.store._db.value('PRAGMA page_count')}")

    @precondition(lambda self: self.full)
    @rule()
    def the_disk_has_room_again(self) -> None:
        self.full = False
        self.store._db.rows("PRAGMA max_page_count=4294967294")

    @rule(crash=st.booleans(), max_bytes=st.sampled_from([HUGE, 80_000]), keep_days=st.sampled_from([0.0, 1.0]))
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
        self.open(path)


def explore(seed: int) -> str:
    """Half of the examples; what they found, "" for nothing."""
    machine = hypothesis.seed(seed)(JournalMachine)
    limits = settings(
        max_examples=500,
        stateful_step_count=50,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(machine, settings=limits)
    except Exception:  # noqa: BLE001  it comes from another process, and is told here
        return f"seed {seed}:\n{traceback.format_exc()}"
    return ""


def test_the_journal_is_its_model_whatever_is_done_to_it() -> None:
    # Two processes, since the examples take a core for a minute.
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = "\n".join(pool.map(explore, [CHANCE.getrandbits(32) for _ in range(2)]))
    assert not found.strip(), found
