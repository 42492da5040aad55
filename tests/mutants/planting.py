"""A bug to be planted, and a copy of the project to plant it in."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")
LONGEST_SECS = 600.0
"""A run of tests that has not ended by then hangs."""

_FAILED = re.compile(r"^FAILED (\S+::\w+(?:\[.*?\](?= - |$))?)", re.MULTILINE)
_WHERE = "import shipper, sinks; print(shipper.__file__, sinks.__path__[0], sep='\\n')"


class TableError(Exception):
    """A mutant says nothing about the tests: its text is not there, or what it makes is no program."""


class Mutant(NamedTuple):
    """One bug: a piece of a file's text that stands there once, and what takes its place.

    tests: those that must notice, each a file or a test in it as pytest names them; few, and quick ones.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def planted(self, text: str) -> str:
        """The file's text with the bug. Raises TableError where there is not exactly one place for it."""
        if text.count(self.old) != 1:
            raise TableError(f"{self.name}: its text stands in {self.file} {text.count(self.old)} times")
        return text.replace(self.old, self.new)


class Run(NamedTuple):
    """How pytest ended. status: None where it hung."""

    status: int | None
    output: str
    secs: float

    def caught_by(self) -> str:
        """The first test that failed, "" where all passed. Raises TableError where neither can be said."""
        failed = _FAILED.search(self.output)
        if self.status == 0:
            return ""
        if self.status == 1 and failed:
            return failed[1]
        what = "hangs" if self.status is None else f"ends with {self.status}"
        raise TableError(f"pytest {what} and no test fails:\n{self.output[-2000:]}")


def copied(place: Path) -> Path:
    """A copy of the project. Raises TableError where Python would not import that one."""
    copy = place / "project"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    found = subprocess.run(
        [sys.executable, "-c", _WHERE], cwd="/", env=_environ(copy), capture_output=True, text=True, check=True
    )
    if not all(Path(line).is_relative_to(copy) for line in found.stdout.split()):
        raise TableError(f"Python imports {found.stdout.split()} instead of the copy in {copy}")
    return copy


def plant(mutant: Mutant, copy: Path) -> None:
    """Puts the bug into the copy. Raises TableError."""
    path = copy / mutant.file
    path.write_text(mutant.planted(path.read_text()))


def run_tests(copy: Path, tests: Iterable[str], *options: str) -> Run:
    """Runs these tests of a copy."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, *dict.fromkeys(tests)]
    began = time.monotonic()
    with subprocess.Popen(
        command, cwd=copy, env=_environ(copy), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            output, _ = process.communicate(timeout=LONGEST_SECS)
            status: int | None = process.returncode
        except subprocess.TimeoutExpired:
            output, status = "", None
        finally:
            _end(process.pid)
    return Run(status, output, time.monotonic() - began)


def _end(group: int) -> None:
    """Ends what a run has left, above all where it was interrupted."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def _environ(copy: Path) -> dict[str, str]:
    # In CI no test is skipped: one that can't run here must not look as if it had noticed nothing.
    return {**os.environ, "PYTHONPATH": str(copy), "CI": "true"}
