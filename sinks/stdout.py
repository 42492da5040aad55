"""Standard output: one event a line. It prints personal data.

Writing to a pipe blocks for as long as its reader likes, so a thread of this sink's own does it. The thread is a
daemon: a reader that never comes back must not keep the process from ending.
"""

import asyncio
import errno
import os
import queue
import select
import stat
import sys
import threading
from concurrent.futures import Future
from typing import Literal

from shipper import Batch, Fatal, Sink, SinkConfig, Unavailable

STDOUT = 1
CLOSE_SECS = 1.0
"""How long `close` waits for the thread, which may be stuck in a pipe that nobody reads."""

_PLACES: dict[tuple[int, int, int], "_Place"] = {}
_GONE = frozenset({errno.EPIPE, errno.EBADF, errno.ECONNRESET, errno.ENOTCONN, errno.ESHUTDOWN})
# EFBIG: the file has reached the size that this process may write (ulimit -f), which heals like a full disk.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Stdout(Sink):
    """Writes complete lines to stdout, or to another file descriptor. Delivered: the system has taken every byte."""

    class Config(SinkConfig):
        """Settings: those that every sink has."""

        type: Literal["stdout"] = "stdout"

    def __init__(self, config: SinkConfig, fd: int = STDOUT) -> None:
        super().__init__(config)
        self._fd = fd
        self._printer: _Printer | None = None

    async def open(self) -> None:
        """Starts the thread."""
        self._printer = _Printer(self._fd)

    async def probe(self) -> str:
        """What stdout leads to. Raises Fatal where it is closed."""
        try:
            return f"stdout is {_kind(os.fstat(self._usable_fd()).st_mode)}"
        except OSError as error:
            raise _outcome(error) from None

    async def write(self, batch: Batch) -> None:
        """Hands the lines to the thread and waits until they are out."""
        assert self._printer is not None, "open() comes before write()"  # noqa: S101  a caller's bug, not an input
        try:
            self._usable_fd()
            await self._printer.print(b"\n".join([*self.bodies(batch), b""]))
        except OSError as error:
            raise _outcome(error) from None

    async def close(self) -> None:
        """Ends the thread, unless it is stuck: then the process leaves it behind."""
        if self._printer is not None:
            await self._printer.close()
            self._printer = None

    def _usable_fd(self) -> int:
        # Where the process was started with stdout closed, the first file that it opened may have become number 1:
        # writing there would spoil the journal.
        if self._fd == STDOUT and sys.__stdout__ is None:
            raise OSError(errno.EBADF, "closed from the start")
        return self._fd


class _Job:
    def __init__(self, lines: bytes) -> None:
        self.lines = lines
        self.done: Future[None] = Future()
        self.reported = False


class _Place:
    """What a file descriptor leads to: several sinks may, as when one takes the place of another that is stuck there.

    turn: held while lines go out. last: who printed there last. torn: its last line has no end.
    """

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.last: _Printer | None = None
        self.torn = False


class _Printer:
    """One thread that prints one job after another, each whole, whatever becomes of the one who waits for it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._place = _PLACES.setdefault(_key(fd), _Place())
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._ended: Future[None] = Future()
        self._ended.set_running_or_notify_cancel()  # from here on nobody who waits for it can cancel it
        self._unreported = b""
        """What is out of the last job. Unless its writer was told so, it may end within a line, and will come again."""
        self._last: _Job | None = None
        threading.Thread(target=self._run, name="stdout", daemon=True).start()

    async def print(self, lines: bytes) -> None:
        """Returns when all is out. Cancelled: what has not begun is dropped; what has begun is finished."""
        job = _Job(lines)
        self._jobs.put(job)
        # Cancelled here, it may be out already: only whoever comes behind this line knows that its writer knows.
        await asyncio.wrap_future(job.done)
        job.reported = True

    async def close(self) -> None:
        self._jobs.put(None)
        ended = asyncio.wrap_future(self._ended)
        await asyncio.wait([ended], timeout=CLOSE_SECS)
        ended.cancel()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            with self._place.turn:
                if job.done.set_running_or_notify_cancel():
                    self._do(job)
                    self._place.last = self
        self._ended.set_result(None)

    def _do(self, job: _Job) -> None:
        if self._last is not None and self._last.reported:
            self._unreported = b""
        self._last = job
        try:
            self._mend(job.lines)
            self._put(job.lines)
        except OSError as error:
            job.done.set_exception(error)
        else:
            job.done.set_result(None)

    def _mend(self, lines: bytes) -> None:
        """Where other lines come than those that were broken off, the torn one is ended first."""
        if self._place.last is self and lines.startswith(self._unreported):
            return
        while self._place.torn:
            self._place.torn = not self._some(memoryview(b"\n"))
        self._unreported = b""

    def _put(self, lines: bytes) -> None:
        view, at = memoryview(lines), len(self._unreported)
        try:
            while at < len(lines):
                at += self._some(view[at:])
        finally:
            self._unreported = lines[:at]
            self._place.torn = at > 0 and not self._unreported.endswith(b"\n")

    def _some(self, data: memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            # Someone has made the pipe non-blocking, for example another process that shares it.
            writable = select.poll()
            writable.register(self._fd, select.POLLOUT)
            writable.poll()
            return 0


def _key(fd: int) -> tuple[int, int, int]:
    try:
        there = os.fstat(fd)
    except OSError:
        return fd, 0, 0
    return fd, there.st_dev, there.st_ino


def _kind(mode: int) -> str:
    for is_kind, name in ((stat.S_ISFIFO, "a pipe"), (stat.S_ISREG, "a file"), (stat.S_ISSOCK, "a socket")):
        if is_kind(mode):
            return name
    return "a device"


def _outcome(error: OSError) -> Unavailable | Fatal:
    if error.errno in _GONE:
        return Fatal("io", "stdout was closed")
    if error.errno in _FULL:
        return Unavailable("disk_full", "stdout leads to a file on a full disk")
    return Unavailable("io", f"stdout can't be written to ({error.strerror})")
