"""Child processes and what they use: CPU from the kernel's accounting, memory from `/proc`."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

ROOT = Path(__file__).resolve().parent.parent
STARTED_WITHIN_SECS = 30.0
ENDS_WITHIN_SECS = 30.0


class Usage(NamedTuple):
    """What a process took from start to end: seconds on the clock, and CPU seconds (user and system)."""

    wall_secs: float
    cpu_secs: float


class Memory(NamedTuple):
    """Resident memory in MB (10^6 bytes): now, and the most since the start."""

    now: float
    peak: float


class Program:
    """One child. Its output goes to files in `directory`; leaving the block ends it, however it was doing.

    arguments: for the Python that runs us. environment: added to ours. counted: the lines on stdout are only counted.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        counted: bool = False,
    ) -> None:
        self.name = name
        self._out, self._err = directory / f"{name}.out", directory / f"{name}.err"
        self._ended = False
        self._started = time.perf_counter()
        with ExitStack() as files:
            out: IO[bytes] = files.enter_context(self._out.open("wb"))
            err = files.enter_context(self._err.open("wb"))
            self._counter = subprocess.Popen(["wc", "-l"], stdin=subprocess.PIPE, stdout=out) if counted else None
            if self._counter and self._counter.stdin:
                out = files.enter_context(self._counter.stdin)
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env={**os.environ, **(environment or {})},
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._ended:
            os.kill(self._process.pid, signal.SIGTERM)
            self._end(ENDS_WITHIN_SECS)

    def line(self, word: str) -> str:
        """The first whole line with this word in what the program wrote, once it is there."""
        until = time.monotonic() + STARTED_WITHIN_SECS
        while time.monotonic() < until and not self._gone():
            for line in (self._out.read_text() + self._err.read_text()).splitlines(keepends=True):
                if word in line and line.endswith("\n"):
                    return line
            time.sleep(0.02)
        raise RuntimeError(f"{self.name} did not start: {self._tail()}")

    def end(self, within_secs: float) -> Usage:
        """Waits for the program's own end, with status 0."""
        usage = self._end(within_secs)
        if self._process.returncode != 0:
            raise RuntimeError(f"{self.name} ended with {self._process.returncode}: {self._tail()}")
        return usage

    def printed(self) -> int:
        """How many lines a counted program wrote on stdout; once it has ended."""
        if self._counter is None:
            raise RuntimeError(f"nobody counts the lines of {self.name}")
        self._counter.wait(ENDS_WITHIN_SECS)
        return int(self._out.read_text())

    def cpu_secs(self) -> float:
        """CPU seconds so far, of all threads, to the nanosecond."""
        # As clock_getcpuclockid(3) makes it: Python offers this clock for threads only, and /proc counts in 10 ms.
        return time.clock_gettime((~self._process.pid << 3) | 2)

    def memory(self) -> Memory:
        """How much is resident, and was at most."""
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        found = dict(line.split(":", 1) for line in text.splitlines())
        return Memory(*(int(found[key].split()[0]) * 1024 / 1e6 for key in ("VmRSS", "VmHWM")))

    def _gone(self) -> bool:
        # WNOWAIT leaves it to be collected, with its usage, by _end.
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _end(self, within_secs: float) -> Usage:
        """Waits; kills what is late."""
        # Not Popen's own kill and wait: they would collect the child, and its usage would be lost.
        late = threading.Timer(within_secs, os.kill, [self._process.pid, signal.SIGKILL])
        late.start()
        try:
            _, status, used = os.wait4(self._process.pid, 0)
        finally:
            late.cancel()
        self._ended = True
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return Usage(time.perf_counter() - self._started, used.ru_utime + used.ru_stime)

    def _tail(self) -> str:
        return self._err.read_text(errors="replace")[-1500:]
