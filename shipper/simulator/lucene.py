"""The query language of the logs endpoint: a subset of Lucene's, as "Log Search Query Syntax" (Auth0 docs) has it.

Values are matched whole and by case unless they have a `*`; an unknown field is an error. What the documents leave open
is as in Lucene: terms side by side are alternatives, a date without a time is the whole day.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["Query", "parse"]

_FIELDS = re.compile(
    "client_id|client_name|connection|connection_id|date|description|hostname|ip|log_id|organization_id|"
    "strategy|strategy_type|type|user_agent|user_id|user_name"
)
_PRIVATE = {"user": "user_name", "application": "client_name"}
"""Searchable in Private Cloud only; there a value without quotes matches a part of the name."""
_BARE = ("client_name", "connection", "description", "ip", "log_id", "type", "user_name")
_TOKEN = re.compile(r'\s*(?:([()])|([A-Za-z_.]+):|([\[{])([^\]}]*)([\]}])|"((?:[^"\\]|\\.)*)"|((?:[^\s()":\\]|\\.)+))')
_MOMENT = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?)?)?)?")
_MICRO = timedelta(microseconds=1)

Event = Mapping[str, Any]
Test = Callable[[Event], bool]


@dataclass(frozen=True, slots=True)
class Query:
    """`matches`: whether an event is meant. since, before: no event with another date can be (unix seconds)."""

    matches: Test
    since: float | None = None
    before: float | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str = ""
    opens: str = ""
    closes: str = ""


def parse(text: str, *, private: bool) -> Query:
    """private: the tenant is one in a Private Cloud. Raises ValueError in the words of the Management API."""
    parser = _Parser(_tokens(text), private=private)
    query = parser.any_of()
    if parser.at < len(parser.tokens):
        raise ValueError("Query validation error: unbalanced parentheses")
    return query


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    while at < len(text.rstrip()):
        token = _TOKEN.match(text, at)
        if token is None:
            raise ValueError(f"Query validation error: can't be read at character {at}")
        parenthesis, field, opens, inside, closes, phrase, word = token.groups()
        if parenthesis:
            found.append(_Token(parenthesis))
        elif field:
            found.append(_Token("field", field))
        elif opens:
            found.append(_Token("range", inside, opens, closes))
        elif phrase is not None:
            found.append(_Token("phrase", re.sub(r"\\(.)", r"\1", phrase)))
        else:
            found.append(_Token(word) if word in ("AND", "OR", "NOT") else _Token("word", word))
        at = token.end()
    return found


class _Parser:
    def __init__(self, tokens: list[_Token], *, private: bool) -> None:
        self.tokens, self.at, self._private = tokens, 0, private

    def any_of(self, field: str = "") -> Query:
        """Alternatives, between OR or side by side."""
        found = [self._all_of(field)]
        while self._next() not in (None, ")"):
            if self._next() == "OR":
                self.at += 1
            found.append(self._all_of(field))
        if len(found) == 1:
            return found[0]
        tests = [one.matches for one in found]
        return Query(lambda event: any(test(event) for test in tests))

    def _all_of(self, field: str) -> Query:
        found = [self._one(field)]
        while self._next() == "AND":
            self.at += 1
            found.append(self._one(field))
        if len(found) == 1:
            return found[0]
        tests = [one.matches for one in found]
        return Query(
            lambda event: all(test(event) for test in tests),
            max((one.since for one in found if one.since is not None), default=None),
            min((one.before for one in found if one.before is not None), default=None),
        )

    def _one(self, field: str) -> Query:
        token = self.tokens[self.at] if self.at < len(self.tokens) else _Token("the end")
        self.at += 1
        match token.kind:
            case "NOT":
                inner = self._one(field)
                return Query(lambda event: not inner.matches(event))
            case "(":
                inner = self.any_of(field)
                if self._next() != ")":
                    raise ValueError("Query validation error: unbalanced parentheses")
                self.at += 1
                return inner
            case "field":
                self._expect_known(token.text)
                return self._one(token.text)
            case "range" if field:
                return _between(field, token)
            case "word" | "phrase":
                names = [field] if field else list(_BARE)
                tests = [_equals(name, token) for name in names]
                return Query(lambda event: any(test(event) for test in tests))
            case _:
                raise ValueError(f"Query validation error: a term is missing before {token.kind}")

    def _next(self) -> str | None:
        return self.tokens[self.at].kind if self.at < len(self.tokens) else None

    def _expect_known(self, field: str) -> None:
        if not _FIELDS.fullmatch(field) and not (self._private and field in _PRIVATE):
            raise ValueError(f"Query validation error: the field {field} is not searchable")


def _equals(field: str, token: _Token) -> Test:
    text = token.text
    if token.kind == "phrase":
        return lambda event: text in _values(event, _PRIVATE.get(field, field))
    if "?" in text:
        raise ValueError("Query validation error: ? is not supported")
    if field in _PRIVATE:
        return lambda event: any(text in value for value in _values(event, _PRIVATE[field]))
    if "*" not in text:
        return lambda event: text in _values(event, field)
    # A prefix may be short; anything else needs three characters to look for.
    if not re.fullmatch(r"[^*]*\*", text) and any(0 < len(part) < 3 for part in text.split("*")):
        raise ValueError("Query validation error: a wildcard needs 3 characters or more beside it")
    like = re.compile(".*".join(re.escape(part) for part in text.split("*")), re.DOTALL)
    return lambda event: any(like.fullmatch(value) is not None for value in _values(event, field))


def _between(field: str, token: _Token) -> Query:
    parts = token.text.split(" TO ")
    if len(parts) != 2:
        raise ValueError("Query validation error: a range is [min TO max]")
    low, high = (part.strip().strip('"') for part in parts)
    if field == "date":
        return _dated(token, low, high)

    def matches(event: Event) -> bool:
        return any(
            (low == "*" or value > low or (value == low and token.opens == "["))
            and (high == "*" or value < high or (value == high and token.closes == "]"))
            for value in _values(event, field)
        )

    return Query(matches)


def _dated(token: _Token, low: str, high: str) -> Query:
    """Half-open in microseconds: a bound that leaves out the smaller units is all of the largest it names."""
    since = before = None
    if low != "*":
        begin, end = _moment(low)
        since = begin if token.opens == "[" else end
    if high != "*":
        begin, end = _moment(high)
        before = end if token.closes == "]" else begin

    def matches(event: Event) -> bool:
        date = event.get("date")
        try:
            at = _utc(datetime.fromisoformat(date)) if isinstance(date, str) else None
        except ValueError:
            at = None
        return at is not None and (since is None or at >= since) and (before is None or at < before)

    return Query(matches, since.timestamp() if since else None, before.timestamp() if before else None)


def _moment(text: str) -> tuple[datetime, datetime]:
    """When this begins, and when it is over."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(f"Query validation error: {text} is not a date of ISO 8601")
    month, day, time, seconds, fraction, _ = found.groups()
    try:
        begin = _utc(datetime.fromisoformat(text if day else f"{text}{'-01' if month else '-01-01'}"))
    except ValueError:
        raise ValueError(f"Query validation error: {text} is not a date of ISO 8601") from None
    if not month:
        return begin, begin.replace(year=begin.year + 1)
    if not day:
        return begin, (begin + timedelta(days=31)).replace(day=1)
    if not time:
        return begin, begin + timedelta(days=1)
    if not seconds:
        return begin, begin + timedelta(minutes=1)
    return begin, begin + (timedelta(seconds=1) if not fraction else _MICRO * 10 ** (7 - len(fraction)))


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _values(event: Event, field: str) -> tuple[str, ...]:
    value = event.get(field)
    if isinstance(value, str):
        return (value,)
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
