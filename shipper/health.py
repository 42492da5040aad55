"""How a source or a lane is doing, and when that is worth a line in the log.

A change is logged once at its edge, then after 1, 10 and 60 minutes, then hourly, with counts; the recovery line says
how long it lasted. One word for the reason stands in every place where it shows.
"""

from collections.abc import Callable
from typing import Any, Literal

from shipper.event import Notice
from shipper.reasons import WHAT_TO_DO, Reason

State = Literal["running", "waiting", "held", "paused", "disabled"]
STATES: tuple[State, ...] = ("running", "waiting", "held", "paused", "disabled")

_REPEAT_AFTER_SECS = (60.0, 600.0, 3600.0)


class Health:
    """State, reason and since when. log: a bound structlog logger. clock: monotonic seconds."""

    def __init__(self, log: Any, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self.state: State = "running"
        self.reason: Reason | None = None
        self.note = ""
        self.since = clock()
        self.failures = 0
        self._next_line = 0.0
        self._lines = 0
        self._too_old = 0
        self._too_old_since = 0.0
        self._noticed: dict[Notice, tuple[float, int]] = {}

    def trouble(self, state: State, reason: Reason, note: str, **context: object) -> None:
        """Another failure, or the first one. note: our own words, safe to log."""
        now = self._clock()
        edge = (state, reason) != (self.state, self.reason)
        if self.state == "running":
            self.since, self.failures = now, 0
        self.state, self.reason, self.note = state, reason, note
        self.failures += 1
        if edge:
            self._lines, self._next_line = 0, now + _REPEAT_AFTER_SECS[0]
        elif now < self._next_line:
            return
        else:
            self._lines += 1
            wait = _REPEAT_AFTER_SECS[min(self._lines, len(_REPEAT_AFTER_SECS) - 1)]
            self._next_line = self.since + wait if self._lines < len(_REPEAT_AFTER_SECS) else now + wait
        line = self._log.error if state == "held" else self._log.warning
        line(
            state,
            reason=reason,
            note=note,
            failures=self.failures,
            for_secs=round(now - self.since, 1),
            do=WHAT_TO_DO[reason],
            **context,
        )

    def fine(self, **context: object) -> None:
        """It works; after trouble, one line says for how long it did not."""
        if self.state == "running":
            return
        now = self._clock()
        self._log.info(
            "recovered", after=self.state, reason=self.reason, failures=self.failures,
            for_secs=round(now - self.since, 1), **context,
        )  # fmt: skip
        self.state, self.reason, self.note, self.failures, self.since = "running", None, "", 0, now

    def notice(self, notice: Notice, note: str) -> None:
        """What a person should know of although nothing fails: the first one is logged, and then one an hour."""
        now = self._clock()
        next_line, untold = self._noticed.get(notice, (now, 0))
        if now >= next_line:
            line = self._log.error if notice == "key_conflict" else self._log.warning
            line(notice, note=note, times=untold + 1)
            next_line, untold = now + _REPEAT_AFTER_SECS[-1], -1
        self._noticed[notice] = (next_line, untold + 1)

    def too_old(self, *, restamped: int, dead: int) -> None:
        """So many of the events just settled were older than the destination takes: a line when it begins and ends."""
        if restamped or dead:
            if not self._too_old:
                self._too_old_since = self._clock()
                self._log.warning("too_old", restamped=restamped, dead_letters=dead, do=WHAT_TO_DO["too_old"])
            self._too_old += restamped + dead
        elif self._too_old:
            self._log.info(
                "no longer too_old", events=self._too_old, for_secs=round(self._clock() - self._too_old_since, 1)
            )
            self._too_old = 0

    @property
    def troubled_secs(self) -> float:
        """Seconds since it last ran, 0 while it runs."""
        return 0.0 if self.state == "running" else self._clock() - self.since
