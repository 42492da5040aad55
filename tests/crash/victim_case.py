"""Runs of the victim that end badly, and the run after each: what the tests and the soak are made of.

`kill_victim` and `refuse_victim` take a directory and how many points to try; they return an Outcome for each point.
"""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import rmtree
from typing import NamedTuple, TypeVar

from crash_victim import EVENTS, work
from oracle_case import broken_promises, check_done, told_in
from strace_case import FILE_CALLS, Point, calls_in, killing, recording, refusing, spread

from shipper.journal import Figures

VICTIM = [sys.executable, str(Path(__file__).with_name("crash_victim.py"))]
RELEASES = Path(__file__).parents[1] / "journal" / "releases"
OLD_EVENTS = 40
CORES = max(2, os.cpu_count() or 1)
NO_SPACE_FOR = 30
"""So many writes in a row find the disk full."""
JOURNAL_CALLS = "pwrite64,write,fdatasync,fsync,ftruncate,fallocate,openat,unlink,rename"
JOURNAL_FILES = (
    "",
    "LOCK",
    "ballast",
    "journal.sqlite",
    "journal.sqlite-wal",
    "journal.sqlite.new",
    "journal.sqlite.new-journal",
    "settled.json",
    "settled.new",
)

T = TypeVar("T")


class Outcome(NamedTuple):
    """How a run ended that was to be disturbed at a point.

    problem: what is wrong with it or the run after, "" for nothing. reached: it came to the point.
    """

    point: str
    status: int
    problem: str
    reached: bool = True


def run(place: Path, before: Sequence[str] = ()) -> "subprocess.CompletedProcess[bytes]":
    """One run of the victim, with these words before its command."""
    place.mkdir(exist_ok=True)
    return subprocess.run([*before, *VICTIM, str(place), str(EVENTS)], check=False, capture_output=True, timeout=60)


def run_again(place: Path, output: bytes) -> str:
    """The run after a bad end, in which everything must arrive. output: what the victim told of before."""
    told, broken = told_in(output), list[str]()

    def look(figures: Figures) -> None:
        broken.extend(broken_promises(place / "state", figures, told))

    try:
        asyncio.run(work(place, EVENTS, opened=look))
        check_done(place, EVENTS, crashes=1)
    except Exception as error:  # noqa: BLE001  whatever goes wrong is this point's outcome
        broken.append(repr(error))
    if not broken:
        rmtree(place)
    return "; ".join(broken)


def side_by_side(one: Callable[[T], Outcome], points: Iterable[T], at_once: int = CORES) -> list[Outcome]:
    """The outcome for each point."""
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(one, points))


def first_release(place: Path, source: str = "acme") -> None:
    """A journal of the first release, with some of the victim's events waiting in it."""
    program = Path(__file__).with_name("old_release.py")
    command = [sys.executable, str(program), str(place / "state"), str(OLD_EVENTS), source]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": f"{RELEASES / '1.zip'}/program"})


def kill_victim(
    place: Path, count: int, *, before: Callable[[Path], None] = lambda _place: None, upto: int | None = None
) -> list[Outcome]:
    """Kills it at so many of its I/O calls, evenly from start to end.

    before: prepares the directory of each run. upto: only at so many calls from the start on.
    """
    trace = place / "calls.trace"
    before(place / "calls")
    assert run(place / "calls", recording(trace, f"{FILE_CALLS},write")).returncode == 0

    def kill(point: Point) -> Outcome:
        here = place / f"{point.call}-{point.when}"
        before(here)
        killed = run(here, killing(point, here.with_suffix(".trace")))
        return Outcome(str(point), killed.returncode, run_again(here, killed.stdout))

    points = [call.point for call in calls_in(trace)][:upto]
    return side_by_side(kill, dict.fromkeys(spread(points, count)))


def kill_victim_at_random(place: Path, count: int) -> list[Outcome]:
    """Kills it behind so many different lines that it told, and a little later: where nothing can be traced."""
    chance = random.Random(9)

    def kill(lines: int) -> Outcome:
        here = place / f"{lines}"
        here.mkdir()
        victim = subprocess.Popen([*VICTIM, str(here), str(EVENTS)], stdout=subprocess.PIPE)
        assert victim.stdout is not None
        with victim.stdout:
            output = b"".join(victim.stdout.readline() for _ in range(lines))
            for _ in range(chance.randrange(20_000)):
                pass  # so that it is not always killed just behind a line
            victim.kill()
            output += victim.stdout.read()
        return Outcome(f"behind {lines} lines", victim.wait(), run_again(here, output))

    return side_by_side(kill, range(1, 2 * count, 2))


def refuse_victim(place: Path, error: str, count: int) -> list[Outcome]:
    """Lets so many of the calls on its journal fail, one in each run; a full disk stays so for a while."""
    trace, calls = place / "calls.trace", "pwrite64" if error == "ENOSPC" else JOURNAL_CALLS
    whole = run(place / "calls", recording(trace, calls, under=journal_files(place / "calls")))
    assert whole.returncode == 0
    points = [call.point for call in calls_in(trace)]

    def refuse(point: Point) -> Outcome:
        here = place / f"{point.call}-{point.when}"
        times = NO_SPACE_FOR if error == "ENOSPC" else 1
        refused = run(here, refusing(point, error, here.with_suffix(".trace"), under=journal_files(here), times=times))
        reached = b"INJECTED" in here.with_suffix(".trace").read_bytes()
        return Outcome(f"{point} {error}", refused.returncode, run_again(here, refused.stdout), reached)

    return side_by_side(refuse, spread(points, count))


def journal_files(place: Path) -> list[Path]:
    """Every file that the journal may have there, and its directory."""
    return [place / "state" / "journal" / name for name in JOURNAL_FILES]
