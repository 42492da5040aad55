"""What must hold of the victim's journal and destinations, whatever was done to it: the promise, event for event."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from crash_events import event
from crash_victim import BATCH, REFUSED, line_of
from journal_case import EVERYTHING, check_file

from shipper.journal import Figures, SourceFigures
from shipper.journal.ledger import DEAD, DELIVERED, STORED
from shipper.journal.store import Store
from shipper.recovery import SettledFile
from shipper.tally import Tally, tallies

Told = Mapping[str, int]
"""The last number that the victim told of for each word."""


def told_in(output: bytes) -> dict[str, int]:
    """The last number for each word, from whole lines."""
    told: dict[str, int] = {}
    for line in output.splitlines(keepends=True):
        if line.endswith(b"\n"):
            word, number = line.split()
            told[word.decode()] = int(number)
    return told


def broken_promises(state_dir: Path, figures: Figures, told: Told) -> list[str]:
    """What was told as committed, or kept as settled, and the journal does not have. figures: right after a start."""
    source = figures.sources.get("acme")
    lanes = {sink: lane.position for sink, lane in source.lanes.items()} if source else {}
    has = {**lanes, "stored": source.stored if source else 0, "settled": min(lanes.values(), default=0)}
    settled = [int(place.checkpoint) for place in SettledFile(state_dir).read().values()]
    promised = {**told, "settled": max(settled, default=0)}
    return [f"{word}: told {upto}, has {has.get(word)}" for word, upto in promised.items() if has.get(word, 0) < upto]


def refused(first: int, last: int) -> list[int]:
    """The numbers in a range that `siem` never takes."""
    return [number for number in range(first, last + 1) if number % REFUSED == 0]


def check_store(store: Store) -> None:
    """No hole: the checkpoint is not ahead of its events, what waits is there byte for byte, the dead letters are."""
    check_file(store)
    source = store.figures.sources.get("acme")
    if source is None:
        return
    assert (source.checkpoint or b"0") == b"%d" % source.stored
    for sink, lane in source.lanes.items():
        waiting = store.read("acme", sink, lane.position, EVERYTHING, source.stored)
        expected = [event(number) for number in range(lane.position + 1, source.stored + 1)]
        assert list(waiting.events if waiting else []) == expected, f"{sink} misses events"
    dead = [letter.raw for letter in store.dead_letters(sink="siem", limit=10**6)]
    position = source.lanes["siem"].position if "siem" in source.lanes else 0
    assert dead == [event(number).raw for number in refused(1, position)]
    check_ledger(store, source)


def check_ledger(store: Store, source: SourceFigures) -> None:
    """The ledger counts exactly what was stored, delivered and refused, by hour and by the sum of the ids."""
    expected: dict[tuple[str, str], Sequence[int]] = {("", STORED): range(1, source.stored + 1)}
    for sink, lane in source.lanes.items():
        dead = refused(1, lane.position) if sink == "siem" else []
        expected[sink, DEAD] = dead
        expected[sink, DELIVERED] = sorted(set(range(1, lane.position + 1)) - set(dead))
    found: dict[tuple[str, str], dict[int, Tally]] = {outcome: {} for outcome in expected}
    for entry in store.ledger("acme", 0, 1 << 40):
        found[entry.sink, entry.outcome][entry.hour] = entry.tally
    for outcome, numbers in expected.items():
        events = [event(number) for number in numbers]
        assert found[outcome] == tallies([e.id for e in events], [e.time for e in events]), f"the ledger of {outcome}"


def check_done(place: Path, upto: int, crashes: int) -> None:
    """After the end of a run that ended by itself: everything arrived, in order, with few repeats."""
    store = Store(place / "state" / "journal" / "journal.sqlite", max_bytes=1 << 30, keep_days=0)
    try:
        check_store(store)
        source = store.figures.sources["acme"]
        assert {"stored": source.stored, **{sink: lane.position for sink, lane in source.lanes.items()}} == {
            "stored": upto,
            "siem": upto,
            "archive": upto,
        }
    finally:
        store.close()
    check_siem((place / "siem").read_bytes().splitlines(keepends=True), upto, crashes)
    check_archive((place / "archive").read_text().splitlines(), upto, crashes)


def check_siem(lines: Sequence[bytes], upto: int, crashes: int) -> None:
    """Nothing missing, invented or altered; in order but for at most one batch again after each crash."""
    wanted = [number for number in range(1, upto + 1) if number % REFUSED]
    assert sorted(set(lines)) == sorted(line_of(event(number)) for number in wanted)
    numbers = [int(line.split()[0]) for line in lines]
    check_order(numbers, BATCH, crashes, left_out=refused(1, upto))


def check_order(numbers: Sequence[int], batch: int, crashes: int, left_out: Sequence[int] = ()) -> None:
    """One after another, but for at most one batch again after each crash."""
    steps_back = 0
    for before, after in pairwise(numbers):
        if after <= before:
            steps_back += 1
            assert before - after < batch, f"{after} came again behind {before}"
        else:
            assert set(range(before + 1, after)) <= set(left_out), f"{after} came too early, behind {before}"
    assert steps_back <= crashes, f"{steps_back} batches came again after {crashes} crashes"


def check_archive(lines: Sequence[str], upto: int, crashes: int) -> None:
    """Every event in exactly one batch; a batch that came again after a crash is the very same."""
    assert len(lines) - len(set(lines)) <= crashes
    expected = 1
    for line in dict.fromkeys(lines):
        first, last, digest = line.split()
        assert int(first) == expected, f"a batch from {first} where {expected} comes next"
        expected = int(last) + 1
        events = b"".join(line_of(event(number)) for number in range(int(first), expected))
        assert digest == sha256(events).hexdigest()
    assert expected == upto + 1
