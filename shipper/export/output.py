"""Where exported events go: a file that an interrupted export goes on with, or stdout."""

import fcntl
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from shipper.journal import UnknownNameError
from shipper.journal.files import synchronise
from shipper.replay.progress import Progress, done, load, save
from shipper.replay.supply import Portion

STDOUT = 1


class Output:
    """A file and the progress beside it. What the progress does not name is not there: it is cut off before going on.

    So at any instant the file holds whole portions, then perhaps a torn one, and the progress tells where that begins.
    """

    def __init__(self, descriptor: int, path: Path, file: Path, progress: Progress) -> None:
        self._descriptor, self._path, self._file, self.progress = descriptor, path, file, progress

    def add(self, portion: Portion, lines: Sequence[bytes]) -> None:
        """Durable before it returns. lines: of the portion's events. Raises OSError."""
        data = b"".join(line + b"\n" for line in lines)
        with _named(self._path):
            _write(self._descriptor, data)
            os.fsync(self._descriptor)
        self._keep(
            msgspec.structs.replace(
                self.progress,
                place=portion.places[-1],
                delivered=self.progress.delivered + len(lines),
                time=portion.events[-1].time,
                size=self.progress.size + len(data),
            )
        )

    def begin(self) -> None:
        """Leaves of the file what the progress names, and nothing else. Raises OSError."""
        with _named(self._path):
            os.ftruncate(self._descriptor, self.progress.size)
            os.lseek(self._descriptor, self.progress.size, os.SEEK_SET)
            synchronise(self._path.parent)
        self._keep(self.progress)

    def finish(self) -> None:
        """There is nothing left to go on from."""
        done(self._file)

    def _keep(self, progress: Progress) -> None:
        with _named(self._file):
            save(self._file, progress)
        self.progress = progress


@contextmanager
def output_to(path: Path, file: Path, what: str, new: Callable[[], Progress]) -> Iterator[Output]:
    """The file, for one process at a time. file: where the progress is. what: by which it is known again.

    new: the progress of an export that begins. Raises UnknownNameError for a file that holds something else, OSError.
    """
    size = progress.size if (progress := _progress(file, what)) else 0
    # Without anything in it, it may be ours from a moment before the progress was kept, and nothing is lost with it.
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | (0 if size else os.O_CREAT)
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileNotFoundError:
        if not size:
            raise
        raise UnknownNameError("operator", f"{path}: is gone: remove {file} to begin anew") from None
    try:
        _expect_regular(descriptor, path)
        # Another process may have gone on, or come to its end, before we were alone with it.
        progress = _progress(file, what)
        _expect_ours(descriptor, path, file, progress)
        with _named(path):
            os.fchmod(descriptor, 0o600)
        output = Output(descriptor, path, file, progress or new())
        output.begin()
        yield output
    finally:
        os.close(descriptor)


def _progress(file: Path, what: str) -> Progress | None:
    try:
        return load(file, what)
    except ValueError as error:
        raise UnknownNameError("operator", f"{error}: name another file with --resume, or remove this one") from None


def _expect_regular(descriptor: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise UnknownNameError("operator", f"{path}: is no regular file: name one, or - for stdout")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UnknownNameError("operator", f"{path}: another export is writing it") from None


def _expect_ours(descriptor: int, path: Path, file: Path, progress: Progress | None) -> None:
    size = os.fstat(descriptor).st_size
    if progress is None and size:
        raise UnknownNameError("operator", f"{path}: is there already: name a new file")
    if progress is not None and size < progress.size:
        raise UnknownNameError(
            "operator", f"{path}: something else made it shorter than {file} says: remove both to begin anew"
        )


def to_stdout(lines: Sequence[bytes]) -> None:
    """Exact bytes into a pipe or file; a terminal gets only what shows. Raises BrokenPipeError where nobody reads."""
    from shipper.commands.shown import visible

    if sys.stdout.isatty():
        lines = [visible(line.decode(errors="backslashreplace")).encode() for line in lines]
    _write(STDOUT, b"".join(line + b"\n" for line in lines))


def _write(descriptor: int, data: bytes) -> None:
    # Past Python's buffers, which a signal must not find locked.
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """An error of a descriptor gets the name of its file."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
