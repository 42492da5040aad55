"""The other long forms of our tests, each over real processes: faults, kills, I/O errors, fuzzing, memory."""

import importlib
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from soak import matrix
from soak.archive import store
from soak.daemon import ROOT

KILL_POINTS = 150
FUZZ_SECS = 60
MILLION = 1_000_000


class Found(NamedTuple):
    """What a part found."""

    fine: bool
    words: str


def faults() -> Found:
    """Every fault at every place and moment."""
    problems, done = [], 0
    with tempfile.TemporaryDirectory(prefix="shipper-soak-") as made:
        place = Path(made)
        with store(place / "store") as url:
            for row, moment in matrix.cells():
                found = matrix.cell(place / f"row{row}-{moment}", url, row, moment)
                for words in found:
                    click.echo(f"VIOLATION: row {row}: {words}")
                problems += found
                done += 1
    return Found(
        not problems, f"{done} cells with a fault at each of {len(matrix.PLACES)} places: {len(problems)} wrong"
    )


def kill_points() -> Found:
    """kill -9 at chosen system calls of the real daemon."""
    crash = _crash_case("daemon_crash_case")
    traced = _crash_case("strace_case").can_trace()
    with tempfile.TemporaryDirectory(prefix="shipper-soak-") as place:
        outcomes = crash.kill_points(Path(place), KILL_POINTS)
    wrong = [outcome for outcome in outcomes if outcome.problem]
    for outcome in wrong:
        click.echo(f"VIOLATION: {outcome}")
    phases = Counter(outcome.point.partition("-")[0] for outcome in outcomes)
    how = "at system calls" if traced else "at times, for nothing can be traced here"
    return Found(
        not wrong and len(outcomes) >= KILL_POINTS, f"{len(outcomes)} kills {how} {dict(phases)}, {len(wrong)} wrong"
    )


def io_errors() -> Found:
    """Each kind of error at every I/O call of the small program on its journal, one a run, to the last one."""
    if not _crash_case("strace_case").can_trace():
        return Found(fine=False, words="nothing can be traced here")
    victim = _crash_case("victim_case")
    outcomes = []
    for error in ("EIO", "EROFS", "ENOSPC"):
        with tempfile.TemporaryDirectory(prefix="shipper-soak-") as place:
            outcomes += victim.refuse_victim(Path(place), error, sys.maxsize)
    wrong = [outcome for outcome in outcomes if outcome.problem]
    for outcome in wrong:
        click.echo(f"VIOLATION: {outcome}")
    ends = Counter(f"ended with {outcome.status}" for outcome in outcomes)
    return Found(not wrong, f"{len(outcomes)} calls refused {dict(ends)}, {len(wrong)} wrong")


def _crash_case(name: str) -> Any:
    # As our tests find each other's modules.
    folders = [str(folder) for folder in (ROOT / "tests").iterdir() if folder.is_dir()]
    sys.path[:0] = [folder for folder in folders if folder not in sys.path]
    return importlib.import_module(name)


def fuzz() -> Found:
    """Each fuzz test for a minute."""
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/fuzz"],
        cwd=ROOT, env={**os.environ, "FUZZ_SECS": str(FUZZ_SECS)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    fine = ran.returncode == 0
    return Found(fine, ran.stdout.strip().splitlines()[-1] if fine else ran.stdout[-3000:] + ran.stderr[-300:])


def memory() -> Found:
    """The bench's budgets, with a million events waiting."""
    from bench.rows import FULL, memory

    rows = memory(FULL._replace(memory_events=MILLION))
    words = "; ".join(f"{row.what} {row.ours} {row.budget}" for row in rows)
    return Found(all(row.met for row in rows), words)


PARTS: dict[str, Callable[[], Found]] = {
    "faults": faults,
    "kill-points": kill_points,
    "io-errors": io_errors,
    "fuzz": fuzz,
    "memory": memory,
}
