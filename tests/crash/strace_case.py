"""strace as the tests use it: which calls a program makes, and one of them at which it is killed or refused.

Only calls that change what outlives the process count: between two of them a crash leaves the same behind. strace
counts each call of each thread by itself, so a point is a call's name and how many of them came before on its thread.
"""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest

FILE_CALLS = "pwrite64,fdatasync,fsync,ftruncate,unlink,rename"
IN_CI = os.environ.get("CI") == "true"
T = TypeVar("T")
_CALL = re.compile(r"^(?P<thread>\d+) +(?P<words>(?P<name>\w+)\(.*)")


class Point(NamedTuple):
    """The `when`th call of this name on whichever thread comes to it first."""

    call: str
    when: int


class Call(NamedTuple):
    """A call that was made, and how strace writes it."""

    point: Point
    words: str


@cache
def can_trace() -> bool:
    """Whether strace is there and the system lets it work. In CI it must be."""
    works = (
        bool(shutil.which("strace"))
        and not subprocess.run(["strace", "-e", "trace=none", "true"], check=False, capture_output=True).returncode
    )
    if IN_CI and not works:
        pytest.fail("strace is missing or may not trace: CI needs it")
    return works


def need_trace() -> None:
    """Skips the test where nothing can be traced, which can't happen in CI."""
    if not can_trace():
        pytest.skip("strace is missing or may not trace here")


def say_untraced(capsys: pytest.CaptureFixture[str]) -> None:
    """A line in the test's output where kills can't be aimed."""
    if not can_trace():
        with capsys.disabled():
            print("strace is missing or may not trace: kill -9 comes at random times, not at every I/O call")  # noqa: T201


def asked_points(usual: int) -> int:
    """How many points a test shall try: CRASH_POINTS, where the environment says so."""
    return int(os.environ.get("CRASH_POINTS", usual))


def recording(trace: Path, calls: str, *, under: Iterable[Path] = ()) -> list[str]:
    """The words before a command that write down which of these calls it makes, all or those on some files."""
    files = [word for path in under for word in ("-P", str(path))]
    return [*_strace(trace), "--seccomp-bpf", "-e", f"trace={calls}", *files]


def killing(point: Point, trace: Path) -> list[str]:
    """The words before a command that kill it when it is about to make a call.

    Without --seccomp-bpf: strace 6.1 never delivers the signal with it.
    """
    inject = f"inject={point.call}:signal=SIGKILL:when={point.when}"
    return [*_strace(trace), "-e", f"trace={point.call}", "-e", inject]


def refusing(point: Point, error: str, trace: Path, *, times: int = 1, under: Iterable[Path] = ()) -> list[str]:
    """The words before a command that let so many calls fail from a point on, of all or of those on some files."""
    inject = f"inject={point.call}:error={error}:when={point.when}..{point.when + times - 1}"
    return [*recording(trace, point.call, under=under), "-e", inject]


def _strace(trace: Path) -> list[str]:
    # -D: strace watches from aside, and the process that was started is the command's own, with its signals.
    return ["strace", "-D", "-f", "-qq", "-o", str(trace)]


def calls_in(trace: Path) -> list[Call]:
    """Every call that was written down, in order, up to a polite request to end."""
    seen: Counter[tuple[str, str]] = Counter()
    calls = []
    for line in trace.read_text(errors="replace").partition("--- SIGTERM")[0].splitlines():
        if found := _CALL.match(line):
            seen[found["thread"], found["name"]] += 1
            calls.append(Call(Point(found["name"], seen[found["thread"], found["name"]]), found["words"]))
    return calls


def spread(items: Sequence[T], count: int) -> list[T]:
    """So many of them, evenly from first to last; all where there are fewer."""
    count = min(count, len(items))
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]
