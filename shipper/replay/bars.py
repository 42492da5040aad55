"""How far something got, on the operator's terminal: on stderr, and only where that is a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from shipper.sources.selection import EVER

LONGEST = 60
"""Characters of a description: a query may be as long as a page."""


@contextmanager
def counting_bar(words: str) -> Iterator[Callable[[int, int | None], None]]:
    """What it yields takes what is done, and all there is to do where known."""
    with _bar(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task(words, total=None)
        yield lambda done, all_: bar.update(task, completed=done, total=all_)


@contextmanager
def events_bar(words: str, span: "Span", done: int = 0, *, beside: bool = True) -> Iterator[Callable[[int, int], None]]:
    """With rate and remaining time. What it yields takes how many events are done, and the time of the last one.

    done: so many are from an earlier run, and not counted in the rate. beside: nothing else goes to the terminal.
    """
    columns = TextColumn("{task.fields[events]:,} events, {task.fields[rate]:,.0f}/s"), TimeRemainingColumn()
    with _bar(BarColumn(), *columns, shown=beside) as bar:
        task = bar.add_task(
            words if len(words) <= LONGEST else f"{words[:LONGEST]}…", total=None, events=done, rate=0.0
        )
        began = time.monotonic()

        def tell(events: int, at_ms: int) -> None:
            rate = (events - done) / max(time.monotonic() - began, 0.001)
            share = span.share(at_ms)
            bar.update(task, completed=share or 0.0, total=1.0 if share is not None else None, events=events, rate=rate)

        yield tell


class Span:
    """A range of time that is gone through in one direction, in milliseconds since 1970. now: ends one without end."""

    def __init__(self, since_ms: int, until_ms: int, now_ms: int, *, backwards: bool = False) -> None:
        self._since = None if since_ms <= EVER[0] else since_ms
        self._until, self._backwards = min(until_ms, now_ms), backwards

    def share(self, at_ms: int) -> float | None:
        """How much of it is done, 0 to 1; None where nobody knows. What has no beginning begins with the first."""
        if self._since is None:
            if self._backwards:
                return None
            self._since = at_ms
        whole = self._until - self._since
        if whole <= 0:
            return None
        done = self._until - at_ms if self._backwards else at_ms - self._since
        return min(max(done / whole, 0.0), 1.0)


@contextmanager
def _bar(*columns: ProgressColumn, shown: bool = True) -> Iterator[Progress]:
    console = Console(stderr=True)
    what = TextColumn("{task.description}", markup=False)
    disabled = not (shown and console.is_terminal)
    with Progress(what, *columns, console=console, disable=disabled, transient=True) as bar:
        yield bar
