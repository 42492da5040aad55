"""Events that were given: from a file or a test, held as the bytes they came in and never re-encoded."""

from __future__ import annotations

import bisect
import json
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["Given", "read_events"]

_PARTS = re.compile(rb'"(?:[^"\\]|\\.)*"|[ \t\r\n]+')
_LOG_ID = re.compile(rb'"log_id"\s*:\s*"([^"\\]+)"')
_ID = re.compile(rb'"_id"\s*:\s*"([^"\\]+)"')
_DATE = re.compile(rb'"date"\s*:\s*"([^"\\]+)"')
_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}")
_NAMELESS = "simulated-"


class Given:
    """Events in the order in which the tenant serves them: by log_id, then those that have only an `_id` or a log_id
    of that older form, then those with neither (in the order of arrival, under a position of our own making)."""

    def __init__(self, events: Iterable[bytes], *, backlog: int, rate: float, started: float) -> None:
        """With a rate (events a second), `backlog` are there at `started`, and the others come one by one."""
        self._rate = rate
        self._backlog = backlog
        self._started = started
        self._nameless = 0
        self._added = 0
        self._object_ids: set[str] = set()
        self._held = sorted((self._key(raw), number, raw) for number, raw in enumerate(events))

    def add(self, raw: bytes) -> None:
        """One more event, visible at once; one with a low id is a late event, as a real tenant might serve."""
        self._added += 1
        bisect.insort(self._held, (self._key(raw), len(self._held), raw))

    def shown(self, now: float) -> int:
        """How many events exist at `now`."""
        if self._rate == 0:
            return len(self._held)
        come = self._backlog + self._added + int(max(0.0, now - self._started) * self._rate)
        return min(len(self._held), come)

    def retained(self, cutoff: float, shown: int) -> int:
        """The index of the first event that is not older than `cutoff` (unix seconds)."""
        return next((i for i in range(shown) if self.indexed(i) >= cutoff), shown)

    def after(self, position: str, shown: int) -> int:
        """The index of the first event behind `position`, which need not be one of ours."""
        if position.startswith(_NAMELESS):
            key = (2, position)
        elif position in self._object_ids or _OBJECT_ID.fullmatch(position):
            key = (1, position)
        else:
            key = (0, position)
        return min(shown, bisect.bisect_right(self._held, key, key=lambda held: held[0]))

    def position(self, index: int) -> str:
        """What a Link names after this event: its log_id, else its `_id`."""
        return self._held[index][0][1]

    def raw(self, index: int) -> bytes:
        """The event's bytes as they came."""
        return self._held[index][2]

    def join(self, first: int, end: int) -> bytes:
        """The events from `first` to before `end`, as one JSON array."""
        return b"[" + b",".join([raw for _, _, raw in self._held[first:end]]) + b"]"

    def indexed(self, index: int) -> float:
        """The event's time by its log_id, else its date (unix seconds); without both it never ages."""
        when = _id_time(self.position(index))
        return when if when is not None else self.date(index, math.inf)

    def date(self, index: int, missing: float = -math.inf) -> float:
        """The event's own date in unix seconds."""
        found = _DATE.search(self.raw(index))
        try:
            when = datetime.fromisoformat(found[1].decode()) if found else None
        except ValueError:
            when = None
        if when is None:
            return missing
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()

    def dated_from(self, _since: float, shown: int, /) -> tuple[range, range]:
        """Indexes that may have a date not before `since`, and those behind them that surely do."""
        return range(shown), range(shown, shown)

    def by_date(self, among: range, _results: int, _newest: bool, /) -> range:
        """Indexes among which the first `results` by date are."""
        return among

    def _key(self, raw: bytes) -> tuple[int, str]:
        log_id, object_id = _names(raw)
        if log_id and not _OBJECT_ID.fullmatch(log_id):
            return (0, log_id)
        object_id = log_id or object_id
        if object_id:
            self._object_ids.add(object_id)
            return (1, object_id)
        self._nameless += 1
        return (2, f"{_NAMELESS}{self._nameless:012d}")


def _names(raw: bytes) -> tuple[str, str]:
    """(log_id, _id) of an event, empty where it has none; what isn't JSON is searched for both."""
    try:
        found = json.loads(raw.decode(errors="surrogateescape"), strict=False)
    except (ValueError, RecursionError):
        texts = [pattern.findall(raw) for pattern in (_LOG_ID, _ID)]
        return tuple(found[-1].decode(errors="replace") if found else "" for found in texts)  # type: ignore[return-value]
    if not isinstance(found, dict):
        return "", ""
    log_id, object_id = (found.get(name) for name in ("log_id", "_id"))
    return log_id if isinstance(log_id, str) else "", object_id if isinstance(object_id, str) else ""


def _id_time(log_id: str) -> float | None:
    try:
        whole = datetime.strptime(log_id[3:17], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return whole.timestamp() + int(log_id[17:20] or 0) / 1_000


def read_events(path: Path) -> list[bytes]:
    """The events of a JSON array or of lines of JSON, as compact as JSON can be: only space between tokens
    is dropped, numbers, escapes and the order of keys stay. Raises ValueError that names the place."""
    text = path.read_bytes().decode(errors="surrogateescape").removeprefix("\ufeff")
    decoder = json.JSONDecoder(strict=False)
    events: list[bytes] = []
    at = _skip(text, 0, " \t\r\n[")
    while at < len(text) and text[at] != "]":
        try:
            _, end = decoder.raw_decode(text, at)
        except ValueError as broken:
            place = getattr(broken, "pos", at)
            raise ValueError(f"{path}: not JSON at character {place}, event {len(events) + 1}") from None
        element = text[at:end].encode(errors="surrogateescape")
        events.append(_PARTS.sub(lambda part: part[0] if part[0].startswith(b'"') else b"", element))
        at = _skip(text, end, " \t\r\n,")
    return events


def _skip(text: str, at: int, these: str) -> int:
    while at < len(text) and text[at] in these:
        at += 1
    return at
