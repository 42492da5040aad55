"""The logs endpoint without `from`, and a user's events: pages by number, a thousand results at most.

Auth0 docs: "Retrieve Log Events Using the Management API" and "Log Event Query Syntax"; recorded exchanges of its SDKs.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from shipper.simulator.answer import Answer, error
from shipper.simulator.lucene import parse

__all__ = ["Search", "Supply", "bad_request"]

_CAP = 1_000
_RANGE = re.compile(r"(date|log_id):\[(\S+) TO \*\]")
_LATER = "https://auth0.com/docs/logs/retrieve-log-events-using-mgmt-api#retrieve-logs-by-checkpoint"
_FIELDS = (
    *("date", "connection", "client_id", "client_name", "ip", "user_id", "user_name", "description"),
    *("user_agent", "type", "details", "strategy", "strategy_type"),
)
_SEARCHES_KEPT = 32


class Supply(Protocol):
    """Where a tenant's events come from; indexes run from the oldest id to the newest."""

    def shown(self, now: float) -> int:
        """How many events exist at `now` (unix seconds)."""

    def retained(self, cutoff: float, shown: int) -> int:
        """The index of the first event that was indexed at `cutoff` (unix seconds) or later."""

    def after(self, position: str, shown: int) -> int:
        """The index of the first event behind `position`, which need not be one of ours."""

    def position(self, index: int) -> str:
        """What a Link names after this event."""

    def raw(self, index: int) -> bytes:
        """The event's JSON."""

    def join(self, first: int, end: int) -> bytes:
        """The events from `first` to before `end`, as one JSON array."""

    def date(self, index: int) -> float:
        """The event's own date, in unix seconds."""

    def dated_from(self, since: float, shown: int, /) -> tuple[range, range]:
        """Indexes that may have a date not before `since`, and those behind them that surely do."""

    def by_date(self, among: range, results: int, newest: bool, /) -> range:
        """Indexes among which the first `results` by date are."""


class Search:
    """Searches among a supply's events. private: in a Private Cloud. totals_of_all: as before search v3."""

    def __init__(self, supply: Supply, *, private: bool = False, totals_of_all: bool = False) -> None:
        self._supply, self._private, self._totals_of_all = supply, private, totals_of_all
        self._found: OrderedDict[tuple[str, int, int], list[int]] = OrderedDict()

    def page(self, query: Mapping[str, str], first: int, shown: int) -> bytes | Answer:
        """The body for a query without `from` over the events `first` to before `shown`, or the refusal."""
        wanted = _Wanted.of(query)
        if isinstance(wanted, Answer):
            return wanted
        q = query.get("q", "")
        asked = _RANGE.fullmatch(q.strip())
        among = self._range(asked, first, shown) if asked or not q else self._matching(q, first, shown)
        if isinstance(among, Answer):
            return among
        return self._body(wanted, *among, query)

    def of_user(self, user: str, query: Mapping[str, str], first: int, shown: int) -> tuple[bytes, int] | Answer:
        """The body for one user's events and how many pages there are, or the refusal."""
        # Without per_page, paging is off: whatever page is asked for, the newest come.
        wanted = _Wanted.of(query if "per_page" in query else {**query, "page": "0", "per_page": "100"})
        if isinstance(wanted, Answer):
            return wanted
        among = self._matching(f"user_id:{json.dumps(user, ensure_ascii=False)}", first, shown)
        if isinstance(among, Answer):
            return among
        unknown = {name: value for name, value in query.items() if name not in ("fields", "include_fields")}
        return self._body(wanted, *among, unknown), -(-len(among[0]) // (wanted.end - wanted.begin))

    def _range(self, asked: re.Match[str] | None, first: int, shown: int) -> tuple[list[int], range] | Answer:
        """What matches an open range or no query: some by name, then a range, so that a million need no look each."""
        if asked is None:
            return [], range(first, shown)
        if asked[1] == "log_id":
            behind = self._supply.after(asked[2], shown)
            includes = behind > 0 and self._supply.position(behind - 1) == asked[2]
            return [], range(max(first, behind - includes), shown)
        try:
            when = datetime.fromisoformat(asked[2])
        except ValueError:
            return bad_request("Query validation error: the date is not one of ISO 8601")
        since = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        unsure, sure = self._supply.dated_from(since, shown)
        few = [index for index in unsure if index >= first and self._supply.date(index) >= since]
        return few, range(max(first, sure.start), shown)

    def _matching(self, q: str, first: int, shown: int) -> tuple[list[int], range] | Answer:
        """What any other query matches, found by a look at each event that its dates leave."""
        try:
            query = parse(q, private=self._private)
        except ValueError as wrong:
            return bad_request(str(wrong))
        key = (q, first, shown)
        found = self._found.get(key)
        if found is None:
            begin = first if query.since is None else self._supply.dated_from(query.since, shown)[0].start
            end = shown if query.before is None else self._supply.dated_from(query.before, shown)[1].start
            among = range(max(first, begin), max(first, begin, end))
            found = [index for index in among if query.matches(_decoded(self._supply.raw(index)))]
            self._keep(key, found)
        return found, range(0)

    def _keep(self, key: tuple[str, int, int], found: list[int]) -> None:
        self._found[key] = found
        if len(self._found) > _SEARCHES_KEPT:
            self._found.popitem(last=False)

    def _body(self, wanted: _Wanted, few: list[int], rest: range, query: Mapping[str, str]) -> bytes:
        chosen = self._sorted(wanted, few, rest)[wanted.begin : wanted.end]
        events = b"[" + b",".join(_trimmed([self._supply.raw(index) for index in chosen], query)) + b"]"
        # Totals come with pages by number only, and have counted the page alone since search v3.
        if query.get("include_totals") != "true" or "page" not in query:
            return events
        total = len(few) + len(rest) if self._totals_of_all else len(chosen)
        limit = wanted.end - wanted.begin
        numbers = b'{"start":%d,"limit":%d,"length":%d,"total":%d,' % (wanted.begin, limit, len(chosen), total)
        return numbers + b'"logs":' + events + b"}"

    def _sorted(self, wanted: _Wanted, few: list[int], rest: range) -> list[int]:
        if not wanted.sort:
            return [*few, *rest[-wanted.end :]][-wanted.end :][::-1]
        among = [*few, *self._supply.by_date(rest, _CAP, wanted.newest)] if wanted.sort == "date" else [*few, *rest]
        if wanted.sort == "date":
            return sorted(among, key=self._supply.date, reverse=wanted.newest)

        def value(index: int) -> str:
            found = _decoded(self._supply.raw(index)).get(wanted.sort)
            return found if isinstance(found, str) else json.dumps(found)

        return sorted(among, key=value, reverse=wanted.newest)


class _Wanted(NamedTuple):
    """Which results: `begin` to before `end`, and by which field, "" for the newest log_id first."""

    begin: int
    end: int
    sort: str
    newest: bool

    @staticmethod
    def of(query: Mapping[str, str]) -> _Wanted | Answer:
        page, per_page, sort = query.get("page", "0"), query.get("per_page", "50"), query.get("sort", "")
        if not (page.isdecimal() and per_page.isdecimal() and 0 < int(per_page) <= 100):
            return bad_request("Query validation error: page must be at least 0, per_page from 1 to 100")
        field, _, direction = sort.partition(":")
        if sort and (field not in _FIELDS or direction not in ("1", "-1")):
            return bad_request(f"Query validation error: sort must be one of {', '.join(_FIELDS)} with :1 or :-1")
        if set(filter(None, query.get("fields", "").split(","))) - set(_FIELDS):
            return bad_request(f"Query validation error: fields must be some of {', '.join(_FIELDS)}")
        begin, end = int(page) * int(per_page), (int(page) + 1) * int(per_page)
        if end > _CAP:
            text = f"Requesting page {page} exceeds the allowed maximum of 1000 records: "
            return bad_request(f"{text}please consider searching by checkpoint {_LATER}")
        return _Wanted(begin, end, field, direction == "-1")


def bad_request(message: str) -> Answer:
    """400 in the words of the Management API."""
    return error(400, "Bad Request", message, "invalid_query_string" if message.startswith("Query") else "")


@lru_cache(maxsize=10_000)
def _decoded(raw: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(raw.decode(errors="surrogateescape"), strict=False)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _trimmed(events: Iterable[bytes], query: Mapping[str, str]) -> Iterable[bytes]:
    """`fields` as it was recorded: it adds `_id` (never log_id), and its opposite leaves three keys only."""
    fields = query.get("fields", "")
    if not fields:
        return events
    wanted = {*fields.split(","), "_id"}
    if query.get("include_fields") == "false":
        wanted = {"_id", "isMobile", "user_agent"} - set(fields.split(","))
    return (
        json.dumps(
            {key: value for key, value in json.loads(raw).items() if key in wanted},
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode()
        for raw in events
    )
