"""The simulated tenant itself: decides what each request is answered, without sockets, with the clock as a parameter.

Auth0 docs: "Retrieve Log Events Using the Management API" (checkpoint pagination); recorded exchanges of its SDKs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from shipper.simulator.answer import Answer, Asked, error
from shipper.simulator.generated import Generated
from shipper.simulator.given import Given, read_events
from shipper.simulator.limits import PLANS, Bucket
from shipper.simulator.options import Options
from shipper.simulator.search import Search, Supply, bad_request
from shipper.simulator.served import Served
from shipper.simulator.tokens import Tokens

__all__ = ["Tenant"]

LOGS = "/api/v2/logs"
_USERS_LOGS = re.compile(r"/api/v2/users/(.+)/logs", re.DOTALL)
TOKEN = "/oauth/token"  # noqa: S105 - a path
_DAY_SECS = 86_400.0
_LONGEST_TARGET = 8_000
"""Bytes of path and query; the real limit is documented to be there, not where it lies."""
_FROM = re.compile(r"[0-9A-Za-z_-]{2,128}")


class Tenant(Served):
    """One tenant: its events, tokens and limits."""

    TOKEN = TOKEN

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
        super().__init__(replace(options or Options(), **changes), clock)
        started = self.now()
        self.tokens = Tokens(self.options)
        self.bucket = _bucket(self.options.plan, started)
        if events is None and self.options.events_file:
            events = read_events(Path(self.options.events_file))
        self._given: Given | None = None
        if events is not None:
            self._given = Given(events, backlog=self.options.backlog, rate=self.options.rate, started=started)
        self._supply: Supply = self._given if self._given is not None else Generated(self.options, started)
        self._search = Search(
            self._supply,
            private=self.options.plan.startswith("private_cloud"),
            totals_of_all=self.options.totals_of_all,
        )

    def add(self, raw: bytes) -> None:
        """Append one event to a tenant of given events. Raises TypeError where events are made."""
        if self._given is None:
            raise TypeError("this tenant makes its events itself: start it with events=[...]")
        self._given.add(raw)

    def count(self) -> int:
        """How many events the tenant has issued so far, whether they are still retained or not."""
        return self._supply.shown(self.now())

    def issued(self) -> Iterator[tuple[str, bytes]]:
        """(position in the chain: log_id or `_id`, exact bytes) of every event issued so far, in the chain's order."""
        for index in range(self.count()):
            yield self._supply.position(index), self._supply.raw(index)

    def ids(self) -> Iterator[str]:
        """The positions alone."""
        return (self._supply.position(index) for index in range(self.count()))

    @property
    def described(self) -> str:
        """In some words, for the line that says where it listens."""
        options = self.options
        return f"domain={options.domain} client_id={options.client_id} plan={options.plan}"

    def _is_logs(self, path: str) -> bool:
        return path == LOGS or path.startswith(f"{LOGS}/") or _USERS_LOGS.fullmatch(path) is not None

    def _throttled(self, asked: Asked) -> Answer:
        return _too_many({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(asked.at) + 1)})

    def _logs(self, asked: Asked) -> Answer:
        if asked.target_bytes > _LONGEST_TARGET:
            return Answer(414, {"Content-Type": "text/html"}, b"<html><h1>414 Request-URI Too Large</h1></html>")
        refusal = self.tokens.refusal(asked)
        if refusal is not None:
            return refusal
        limits: dict[str, str] = {}
        if self.bucket is not None:
            grant = self.bucket.take(asked.at)
            limits = grant.headers()
            if not grant.allowed:
                return _too_many(limits)
        shown = self._supply.shown(asked.at)
        first = 0
        if self.options.retention_days:
            first = self._supply.retained(asked.at - self.options.retention_days * _DAY_SECS, shown)
        if asked.path != LOGS:
            answer = self._elsewhere(asked, first, shown)
        elif "from" in asked.query:
            answer = self._page(asked, first, shown)
        else:
            found = self._search.page(asked.query, first, shown)
            answer = found if isinstance(found, Answer) else _events(found, {})
        return replace(answer, headers={**answer.headers, **limits})

    def _elsewhere(self, asked: Asked, first: int, shown: int) -> Answer:
        user = _USERS_LOGS.fullmatch(asked.path)
        if user is None:
            return self._one(asked.path.removeprefix(f"{LOGS}/"), first, shown)
        found = self._search.of_user(user[1], asked.query, first, shown)
        if isinstance(found, Answer):
            return found
        body, pages = found
        per_page = asked.query.get("per_page")
        if per_page is None:
            return _events(body, {})
        # As recorded: http, though asked by https, and no way to the next page.
        here = f"<http://{asked.headers.get('Host', '')}{quote(asked.path)}?per_page={per_page}&page="
        return _events(body, {"Link": f'{here}0>; rel="first", {here}{max(0, pages - 1)}>; rel="last"'})

    def _one(self, position: str, first: int, shown: int) -> Answer:
        index = self._supply.after(position, shown) - 1
        if index < first or self._supply.position(index) != position:
            return error(404, "Not Found", "The log does not exist", "inexistent_log")
        return _events(self._supply.raw(index), {})

    def _page(self, asked: Asked, first: int, shown: int) -> Answer:
        position, take = asked.query["from"], asked.query.get("take", "50")
        if not (take.isascii() and take.isdecimal() and 1 <= int(take) <= 100):
            return bad_request("Query validation error: take must be from 1 to 100")
        if position and not _FROM.fullmatch(position):
            return bad_request("Query validation error: from is not a log_id")
        if position and self.options.rejects_expired and position < self._oldest_position(asked.at):
            return bad_request("Query validation error: from is older than the log")
        # Older than the retention: goes on silently at the oldest event that is left.
        begin = max(first, self._supply.after(position, shown)) if position else first
        end = min(shown, begin + int(take))
        last = self._supply.position(end - 1) if end > begin else position
        link = f'<{self._origin(asked.headers)}{LOGS}?from={last}&take={take}>; rel="next"'
        return _events(self._supply.join(begin, max(begin, end)), {"Link": link})

    def _oldest_position(self, now: float) -> str:
        """That of an event whose retention is over at this moment; no id is lower than "" without a retention."""
        if not self.options.retention_days:
            return ""
        when = datetime.fromtimestamp(now - self.options.retention_days * _DAY_SECS, UTC)
        return f"900{when:%Y%m%d%H%M%S}"

    def _origin(self, headers: Mapping[str, str]) -> str:
        configured = self.options.link_host
        if "://" in configured:
            return configured
        return f"https://{configured}" if configured else f"http://{headers.get('Host', '')}"


def _bucket(plan: str, now: float) -> Bucket | None:
    if plan == "none":
        return None
    if plan not in PLANS:
        raise ValueError(f"unknown plan {plan!r}; known: none, {', '.join(PLANS)}")
    return Bucket(*PLANS[plan], now)


def _too_many(limits: Mapping[str, str]) -> Answer:
    return error(429, "Too Many Requests", "Global limit has been reached", "too_many_requests", limits)


def _events(body: bytes, headers: Mapping[str, str]) -> Answer:
    fixed = {
        "Content-Type": "application/json; charset=utf-8",
        "Cache-Control": "no-cache",
        "Vary": "origin,accept-encoding",
    }
    return Answer(200, {**fixed, **headers}, body)
