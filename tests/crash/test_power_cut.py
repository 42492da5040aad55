"""A power cut at any moment: what was committed is there, nothing is torn, and no checkpoint is ahead of its events."""

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from oracle_case import Told, broken_promises, check_store, told_in
from power_case import FATES, STRACE, Disk, Operation, operations
from strace_case import need_trace

from shipper.journal import JournalError
from shipper.journal.store import Store

EVENTS = 220
"""Enough commits for the write-ahead log to be moved, and begun anew, on the way."""
STATES = 1000
VICTIM = Path(__file__).with_name("crash_victim.py")

State = tuple[dict[str, bytes], dict[str, int]]
"""The files of the journal's directory, and what the victim had told of by then."""


def recorded(place: Path, synchronous: str = "") -> list[Operation]:
    """A run of the victim, as its disk saw it."""
    place.mkdir()
    trace = place / "trace"
    command = [*STRACE, "-o", str(trace), sys.executable, str(VICTIM), str(place), str(EVENTS), synchronous]
    assert subprocess.run(command, check=False, capture_output=True, timeout=60).returncode == 0
    return list(operations(trace.read_bytes(), place / "state" / "journal"))


def states(run: list[Operation], count: int, chance: random.Random) -> Iterator[State]:
    """About so many different things that a power cut may leave behind, from all over the run."""
    share = count / (len(run) * len(FATES))
    disk, told, seen = Disk(), b"", set()
    for operation in run:
        disk.do(operation)
        if operation.call == "told":
            told += operation.data
        for fate in FATES:
            if chance.random() > share:
                continue
            files = disk.after(fate, chance)
            key = hash((tuple(sorted(files.items())), told))
            if key not in seen:
                seen.add(key)
                yield files, told_in(told)


def verdict(place: Path, files: dict[str, bytes], told: Told) -> str:
    """What is wrong with a state: "" for nothing."""
    with TemporaryDirectory(dir=place) as state_dir:
        directory = Path(state_dir) / "journal"
        directory.mkdir()
        for name, content in files.items():
            (directory / name).write_bytes(content)
        try:
            store = Store(directory / "journal.sqlite", max_bytes=1 << 30, keep_days=0)
        except JournalError as error:
            return f"corrupt: {error}"
        try:
            check_store(store)
            return "; ".join(broken_promises(Path(state_dir), store.figures, told))
        except (AssertionError, JournalError) as error:
            return f"torn: {error}"
        finally:
            store.close()


def test_no_power_cut_loses_or_tears_what_was_committed(in_memory_path: Path) -> None:
    need_trace()
    run = recorded(in_memory_path / "run")
    verdicts = [verdict(in_memory_path, files, told) for files, told in states(run, STATES * 3 // 2, random.Random(4))]
    assert len(verdicts) >= STATES
    assert not any(verdicts), [text for text in verdicts if text][:5]


@pytest.mark.parametrize(("synchronous", "fault"), [("OFF", "corrupt"), ("NORMAL", "told")])
def test_a_journal_that_does_not_synchronise_is_caught(in_memory_path: Path, synchronous: str, fault: str) -> None:
    need_trace()
    run = recorded(in_memory_path / "run", synchronous)
    found = (verdict(in_memory_path, files, told) for files, told in states(run, 200, random.Random(4)))
    assert any(fault in text for text in found)
