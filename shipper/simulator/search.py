"""The logs endpoint without `from`: the newest first, pages by number, a thousand results at most.

Auth0 docs: "Retrieve Log Events Using the Management API" and "Log Event Query Syntax"; only the two ranges that
a log reader needs for its start are understood.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from shipper.simulator.answer import Answer, error

__all__ = ["Supply", "bad_request", "search"]

_CAP = 1_000
_RANGE = re.compile(r"(date|log_id):\[(\S+) TO \*\]")
_LATER = "https://auth0.com/docs/logs/retrieve-log-events-using-mgmt-api#retrieve-logs-by-checkpoint"


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


def search(supply: Supply, query: Mapping[str, str], first: int, shown: int) -> bytes | Answer:
    """The array for a query without `from` over the events `first` to before `shown`, or the refusal."""
    page, per_page = query.get("page", "0"), query.get("per_page", "50")
    if not (page.isdecimal() and per_page.isdecimal() and 0 < int(per_page) <= 100):
        return bad_request("Query validation error: page must be at least 0, per_page from 1 to 100")
    begin, end = int(page) * int(per_page), (int(page) + 1) * int(per_page)
    if end > _CAP:
        text = f"Requesting page {page} exceeds the allowed maximum of 1000 records: "
        return bad_request(f"{text}please consider searching by checkpoint {_LATER}")
    among = _matching(supply, query.get("q", ""), first, shown)
    if isinstance(among, Answer):
        return among
    few, rest = among
    match query.get("sort", ""):
        case "":
            found = [*few, *rest[-end:]][-end:][::-1]
        case "date:1" | "date:-1" as sort:
            newest = sort.endswith("-1")
            found = sorted([*few, *supply.by_date(rest, _CAP, newest)], key=supply.date, reverse=newest)
        case _:
            return bad_request("Query validation error: sort must be date:1 or date:-1")
    chosen = [supply.raw(index) for index in found[begin:end]]
    return b"[" + b",".join(_trimmed(chosen, query)) + b"]"


def bad_request(message: str) -> Answer:
    """400 in the words of the Management API."""
    return error(400, "Bad Request", message, "invalid_query_string" if message.startswith("Query") else "")


def _matching(supply: Supply, q: str, first: int, shown: int) -> tuple[list[int], range] | Answer:
    """The events that match: some by name, then a range of which all do, so that a million need no look each."""
    if not q:
        return [], range(first, shown)
    asked = _RANGE.fullmatch(q.strip())
    if asked is None:
        return bad_request("Query validation error: the simulator knows date:[X TO *] and log_id:[X TO *] only")
    if asked[1] == "log_id":
        behind = supply.after(asked[2], shown)
        includes = behind > 0 and supply.position(behind - 1) == asked[2]
        return [], range(max(first, behind - includes), shown)
    try:
        when = datetime.fromisoformat(asked[2])
    except ValueError:
        return bad_request("Query validation error: the date is not one of ISO 8601")
    since = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    unsure, sure = supply.dated_from(since, shown)
    few = [index for index in unsure if index >= first and supply.date(index) >= since]
    return few, range(max(first, sure.start), shown)


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
