"""A simulated Logto tenant: offset pages, newest first, of a list that grows at its front while it is read.

Logto's source: `packages/core/src/routes/log.ts`, `queries/log.ts`, `middleware/koa-pagination.ts`; releases differ in
what they make of `start_time` and `end_time`.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from shipper.simulator.answer import Answer, Asked
from shipper.simulator.given import read_events
from shipper.simulator.logto_rows import GivenRows, MadeRows, Rows
from shipper.simulator.logto_tokens import LogtoTokens, refused
from shipper.simulator.options import Options
from shipper.simulator.served import Served

__all__ = ["LogtoTenant"]

LOGS = "/api/logs"
_CAP = 10_000
_DAY_SECS = 86_400.0


class LogtoTenant(Served):
    """One tenant. Rows of one microsecond come in another order with each request, since nothing tells them apart.

    For tests: `between` is called between the two queries of a request, which have no snapshot in common: first the
    one that counts, then the one that reads.
    """

    TOKEN = "/oidc/token"  # noqa: S105 - a path

    def __init__(
        self,
        options: Options | None = None,
        *,
        events: Iterable[bytes] | None = None,
        clock: Callable[[], float] = time.time,
        **changes: Any,
    ) -> None:
        """`events` (JSON as bytes) are served exactly as they are; `changes` replace fields of `options`.

        Raises ValueError for an option or an events file that can't work, OSError for a file that can't be read.
        """
        super().__init__(replace(options or Options(), kind="logto", **changes), clock)
        self.tokens = LogtoTokens(self.options)
        if events is None and self.options.events_file:
            events = read_events(Path(self.options.events_file))
        self._given = GivenRows(events or ())
        self._rows: Rows = self._given if events is not None else MadeRows(self.options, self.now())
        self._order = random.Random(self.options.seed)  # noqa: S311 - the same each time is the point
        self.between: Callable[[], None] | None = None

    def add(self, raw: bytes, *, visible: float = 0.0, micro: int = 0) -> None:
        """Append one row to a tenant of given events. Raises TypeError where events are made.

        visible: unix seconds from which on it is committed. micro: microseconds of its time beyond the millisecond.
        """
        if self._rows is not self._given:
            raise TypeError("this tenant makes its events itself: start it with events=[...]")
        self._given.add(raw, visible, micro)

    @property
    def described(self) -> str:
        """In some words, for the line that says where it listens."""
        return f"kind=logto app_id={self.options.client_id} resource={self.options.resource}"

    def count(self) -> int:
        """How many rows are committed so far, whether they are still retained or not."""
        return len(self._committed(self.now(), 0, self._rows.there(self.now())))

    def issued(self) -> Iterator[tuple[str, bytes]]:
        """(id, exact bytes) of every row committed so far, oldest first."""
        now = self.now()
        for index in self._committed(now, 0, self._rows.there(now)):
            yield self._rows.row(index).id, self._rows.raw(index)

    def ids(self) -> Iterator[str]:
        """The ids alone."""
        return (id_ for id_, _ in self.issued())

    def answer(self, asked: Asked) -> Answer:
        """What the tenant answers to one request, faults included."""
        answer = super().answer(asked)
        if asked.path == self.TOKEN and answer.status == 200 and self.options.logs_tokens:
            self._log_token(asked.at)
        return answer

    def _log_token(self, now: float) -> None:
        if self._rows is not self._given:
            return
        id_ = "".join(self._order.choices("0123456789abcdefghijklmnopqrstuvwxyz", k=21))
        payload = {"key": "ExchangeTokenBy.ClientCredentials", "result": "Success", "tokenTypes": ["AccessToken"]}
        row = {"tenantId": "default", "id": id_, "key": payload["key"], "payload": payload}
        self._given.add(json.dumps({**row, "createdAt": int(now * 1000)}, separators=(",", ":")).encode())

    # -- the endpoints -------------------------------------------------------------------------------------------------

    def _is_logs(self, path: str) -> bool:
        return path == LOGS or path.startswith(f"{LOGS}/")

    def _throttled(self, asked: Asked) -> Answer:
        del asked
        return replace(refused(429, "request.too_many", "Too many requests"), headers={"Retry-After": "1"})

    def _logs(self, asked: Asked) -> Answer:
        refusal = self.tokens.refusal(asked)
        if refusal is not None:
            return refusal
        if asked.path != LOGS:
            return self._one(asked)
        found = _pagination(asked.query)
        if found is None:
            return refused(400, "guard.invalid_pagination", "The request pagination value is invalid.")
        times = self._times(asked.query)
        if times is None:
            return refused(400, "guard.invalid_input", "The request query is invalid.")
        return self._page(asked, *found, times)

    def _one(self, asked: Asked) -> Answer:
        wanted = asked.path.removeprefix(f"{LOGS}/")
        for index in self._retained(asked.at, None):
            if self._rows.row(index).id == wanted:
                return Answer(200, {"Content-Type": "application/json"}, self._rows.raw(index))
        return refused(404, "entity.not_exists_with_id", "The log does not exist.")

    def _page(self, asked: Asked, page: int, size: int, times: range | None) -> Answer:
        total = len(self._matching(asked, times))
        if self.between is not None:
            self.between()
        rows = self._matching(asked, times)
        capped = asked.query.get("enableCap") == "true" and total > _CAP
        headers = {"Total-Number": str(_CAP + 1 if capped else total)}
        if capped:
            headers["Total-Number-Is-Capped"] = "true"
        last = max(1, -(-min(total, _CAP if capped else total) // size))
        links = {"first": 1, "prev": page - 1, "next": page + 1, "last": last}
        wanted = {name: at for name, at in links.items() if 1 <= at <= last}
        headers["Link"] = ", ".join(f'<{_link(asked, at)}>; rel="{name}"' for name, at in wanted.items())
        found = self._in_some_order(rows, size * (page - 1), size * page)
        return Answer(
            200,
            {"Content-Type": "application/json; charset=utf-8", **headers},
            b"[" + b",".join([self._rows.raw(index) for index in found]) + b"]",
        )

    # -- the rows ------------------------------------------------------------------------------------------------------

    def _times(self, query: Mapping[str, str]) -> range | None:
        """The window that was asked for, in microseconds; None where it is none that can be asked for."""
        if not self.options.knows_times:
            return range(1 << 62)
        bounds = {"start_time": 0, "end_time": (1 << 62) // 1_000}
        for name in bounds:
            if name in query:
                if not query[name].isdecimal():
                    return None
                bounds[name] = int(query[name])
        start, end = bounds["start_time"], bounds["end_time"]
        if start > end or (start == end and not self.options.inclusive):
            return None
        if self.options.inclusive:
            return range(start * 1_000, (end + 1) * 1_000)
        return range(start * 1_000 + ("start_time" in query), end * 1_000)

    def _matching(self, asked: Asked, times: range | None) -> Sequence[int]:
        rows = self._retained(asked.at, times)
        filters = {"key": "logKey", "application": "applicationId", "user": "userId"}
        wanted = {field: asked.query[name] for field, name in filters.items() if asked.query.get(name)}
        if not wanted:
            return rows
        return [i for i in rows if all(getattr(self._rows.row(i), field) == value for field, value in wanted.items())]

    def _retained(self, now: float, times: range | None) -> Sequence[int]:
        """The rows of a time that are committed and not yet cleaned up, oldest first."""
        first, end = 0, self._rows.there(now)
        if self.options.retention_days:
            first = self._rows.before(int((now - self.options.retention_days * _DAY_SECS) * 1_000_000))
        if times is not None:
            first, end = max(first, self._rows.before(times.start)), min(end, self._rows.before(times.stop))
        return self._committed(now, first, end)

    def _committed(self, now: float, first: int, end: int) -> Sequence[int]:
        # By the clock all are committed that are older than the longest delay; only the others have to be looked at.
        sure = max(first, min(end, self._rows.before(int((now - self.options.commit_secs) * 1_000_000) - 1_000)))
        if self._rows is self._given:
            sure = max(first, end) if self._given.committed_by <= now else first
        late = [index for index in range(sure, end) if self._rows.row(index).visible <= now]
        if len(late) == end - sure:
            return range(first, max(first, end))
        return [*range(first, sure), *late]

    def _in_some_order(self, rows: Sequence[int], begin: int, end: int) -> list[int]:
        """Rows newest first, from one place to another; those of one time in any order."""
        newest_first = rows[::-1]
        first, last = min(begin, len(rows)), min(end, len(rows))
        low, high = first, last
        while 0 < low < len(rows) and self._created(newest_first[low - 1]) == self._created(newest_first[low]):
            low -= 1
        while 0 < high < len(rows) and self._created(newest_first[high - 1]) == self._created(newest_first[high]):
            high += 1
        shuffled = sorted(newest_first[low:high], key=lambda index: (-self._created(index), self._order.random()))
        return shuffled[first - low : last - low]

    def _created(self, index: int) -> int:
        return self._rows.row(index).created


def _pagination(query: Mapping[str, str]) -> tuple[int, int] | None:
    page, size = query.get("page", "1"), query.get("page_size", "20")
    if not (page.isdecimal() and size.isdecimal() and int(page) >= 1 and 1 <= int(size) <= 100):
        return None
    return int(page), int(size)


def _link(asked: Asked, page: int) -> str:
    query = urlencode({**asked.query, "page": page, "page_size": asked.query.get("page_size", "20")})
    return f"http://{asked.headers.get('Host', '')}{asked.path}?{query}"
