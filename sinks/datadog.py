"""Datadog's log intake: one JSON array a write, judged by the status.

Datadog docs: "Send logs" (limits and statuses of the Logs API v2), "Reserved attributes", and "Pipelines" for the
official date. Datadog answers 202 and drops an entry whose date is over 18 hours old; nobody is told. So that age is
dealt with here, before anything is sent.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property, partial
from typing import Annotated, Literal

import msgspec
from isal import igzip
from pydantic import AfterValidator, Field, field_validator

from shipper import (
    LONGEST,
    LONGEST_ID,
    Answer,
    Batch,
    BatchLimits,
    Event,
    HttpSink,
    Origin,
    Rejected,
    Request,
    Secret,
    SinkConfig,
    Unavailable,
    check_url,
    rename_member,
    replace_member,
    retry_after_secs,
)
from sinks.datadog_site import INTAKE, VALIDATE_SECS, address_of, aside, key_trouble, known_site

OLDEST_MS = (17 * 60 + 30) * 60_000
"""Datadog's limit is 18 hours; half an hour is for what happens between here and its clock."""

MAX_ENTRY_BYTES = 1_000_000
"""Datadog cuts a larger entry off by itself, which leaves half a JSON, and says nothing."""

_TIME_BYTES = 16
"""For `overhead`: milliseconds, or seconds with a point."""


class DatadogLimits(BatchLimits):
    """An array holds at most 1000 entries and 5 MB before compression; the rest up to there is a margin."""

    max_events: int = Field(default=1000, ge=1, le=1000)
    max_bytes: int = Field(default=4_500_000, ge=1, le=4_900_000)


class Datadog(HttpSink):
    """Writes to `/api/v2/logs`. Delivered: HTTP 202, or another 2xx that is no stranger's page."""

    class Config(SinkConfig):
        """Settings.

        service "": the source's type. tags: beside `tenant:NAME`. too_old: what becomes of events over 17 h 30 min:
        they get the time of the write, or become dead letters. oversized: what becomes of entries over 1 MB: `details`
        is replaced by a marker, or they become dead letters. url "": the site's intake; else the address of another
        one, without the path.
        """

        type: Literal["datadog"] = "datadog"
        site: Annotated[str, AfterValidator(known_site)] = "datadoghq.com"
        api_key: Secret
        service: str = ""
        tags: list[str] = Field(default_factory=list)
        too_old: Literal["restamp", "dead_letter"] = "restamp"
        oversized: Literal["cut", "dead_letter"] = "cut"
        url: Annotated[str, AfterValidator(lambda url: check_url(url) if url else url)] = ""
        batch: DatadogLimits = DatadogLimits()

        @field_validator("tags")
        @classmethod
        def _tags_can_be_joined(cls, tags: list[str]) -> list[str]:
            for tag in tags:
                if not tag or "," in tag or tag != tag.strip() or not tag.isprintable():
                    raise ValueError('must be tags like "env:prod", without commas')
            return tags

    def __init__(self, config: SinkConfig) -> None:
        super().__init__(config)
        framing = len(self._head(LONGEST, late=True)) + _TIME_BYTES + len(b',"log_id":"","data":},')
        added = len(b'"tenant_name":"",') + len(LONGEST.tenant) + len(b"original_")
        self.overhead = framing + LONGEST_ID + added

    async def open(self) -> None:
        """Looks the intake's address up, on a thread since the client package takes its time, and makes the pool."""
        if not self.config.url:
            await aside(lambda: self._intake)
        await super().open()

    @cached_property
    def _intake(self) -> str:
        return self.config.url or address_of(self.config.site, INTAKE)

    # -- what is written ---------------------------------------------------------------------------------------------

    def request(self, batch: Batch) -> Request:
        """One array of entries, compressed; the same batch gives the same bytes."""
        return self._post(igzip.compress(self.body(batch), compresslevel=1, mtime=0), {"Content-Encoding": "gzip"})

    def body(self, batch: Batch) -> bytes:
        """The array before compression. Raises Rejected for what Datadog would drop or cut without a word."""
        times = [event.date_ms for event in batch.events]
        old = _older(times, batch.now)
        if old and self.config.too_old == "dead_letter":
            hours = {index: (batch.now - times[index]) / 3_600_000 for index in old}
            raise _too_old({index: f"{age:.1f} hours old at its write" for index, age in hours.items()})
        events = _undated(batch.events, old) if old else list(batch.events)
        fresh_head, late_head = (self._head(batch.source, late=late) for late in (False, True))
        heads = [
            b"%b%d," % ((late_head, batch.now) if index in old else (fresh_head, at)) for index, at in enumerate(times)
        ]
        entries = self._fitting(batch, events, heads)
        # Brackets put around the whole would copy megabytes twice.
        entries[0] = b"[" + entries[0]
        entries[-1] += b"]"
        return b",".join(entries)

    def restamped(self, batch: Batch) -> int:
        """The events over 17 h 30 min; where those become dead letters, none is left to go out."""
        if self.config.too_old == "dead_letter":
            return 0
        return len(_older([event.date_ms for event in batch.events], batch.now))

    def _head(self, source: Origin, *, late: bool) -> bytes:
        """An entry up to the value of its `timestamp`."""
        tags = [f"tenant:{source.tenant}", *self.config.tags, *(["late:true"] if late else [])]
        fields = {
            "ddsource": source.type,
            "ddtags": ",".join(tags),
            "hostname": source.host,
            "service": self.config.service or source.type,
        }
        return msgspec.json.encode(fields)[:-1] + b',"timestamp":'

    def _fitting(self, batch: Batch, events: list[Event], heads: list[bytes]) -> list[bytes]:
        """The entries, each within 1 MB."""
        entries = self._entries(batch, events, heads)
        large = [index for index, entry in enumerate(entries) if len(entry) > MAX_ENTRY_BYTES]
        too_large = {}
        for index in large:
            size = len(entries[index])
            if self.config.oversized == "cut":
                [entries[index]] = self._entries(batch, [_cut(events[index])], heads[index : index + 1])
            if len(entries[index]) > MAX_ENTRY_BYTES:
                too_large[index] = f"an entry of {size} bytes, of which Datadog takes {MAX_ENTRY_BYTES}"
        if too_large:
            raise Rejected("too_large", "entries are too large for Datadog", only=too_large)
        return entries

    def _entries(self, batch: Batch, events: list[Event], heads: list[bytes]) -> list[bytes]:
        bodies = self.bodies(msgspec.structs.replace(batch, events=events))
        if self.config.format == "envelope":
            return [head + body[1:] for head, body in zip(heads, bodies, strict=True)]
        # Anything else would collide with what Datadog reserves (hostname, date, message), so it stays below one name.
        name = b"data" if self.config.format == "raw" else self.config.format.encode()
        return [b'%b"%b":%b}' % (head, name, body) for head, body in zip(heads, bodies, strict=True)]

    def _post(self, body: bytes, headers: dict[str, str]) -> Request:
        headers = {"DD-API-KEY": self.config.api_key.get(), "Content-Type": "application/json", **headers}
        return Request(url=f"{self._intake}/api/v2/logs", headers=headers, body=body)

    # -- what the answer means -----------------------------------------------------------------------------------------

    def judge(self, batch: Batch, answer: Answer) -> None:
        """By the status. A 2xx with something else than JSON in it is a stranger's: a proxy's login page, say."""
        if 200 <= answer.status < 300:
            if answer.status != 202 and answer.body and not _is_object(answer.body):
                raise Unavailable("bad_answer", f"HTTP {answer.status}: no answer of Datadog's to a write")
            return
        raise self._failure(batch, answer)

    def _failure(self, batch: Batch, answer: Answer) -> Unavailable | Rejected:
        note, words = f"HTTP {answer.status}", answer.body.decode("utf-8", "replace")
        match answer.status:
            case 400:
                return Rejected("refused", f"{note}: an entry is refused, which one is not said", detail=words)
            case 401 | 403:
                # Datadog has one answer for a wrong key and for a key of another site: 403, seldom 401.
                return Unavailable("auth", f"{note}: the API key is not valid on this site")
            case 404 | 405 | 407 | 410 | 413 | 408 | 429:
                pass
            case status if 400 <= status < 500:
                return Unavailable("refused", f"{note}: the intake does not take what is sent")
        outcome = self.by_status(batch, answer, detail=words)
        if isinstance(outcome, Unavailable):
            # 0 says "now", and a destination in trouble that is asked again at once stays in trouble.
            reset = retry_after_secs(answer.headers.get("X-Ratelimit-Reset"), batch.now / 1000)
            outcome.retry_after = max(reset or 0.0, outcome.retry_after or 0.0) or None
        return outcome

    # -- before anything is written ------------------------------------------------------------------------------------

    async def probe(self) -> str:
        """Posts no entry at all to the intake, and has the site validate the key.

        With `url`, only that intake is asked: the key may be made for it, and is nobody else's business.
        """
        try:
            nothing_at_all = self._post(b"[]", {})
        except OSError as error:
            raise Unavailable("auth", f"the key's file can't be read ({error.strerror})") from None
        answer = await self.exchange(nothing_at_all)
        if answer.status != 400:  # the intake is there, and sees that there is no entry
            self.judge(Batch(source=Origin("", "", "", ""), events=(), now=0), answer)
        if self.config.url:
            return f"{self._intake} answers; it can't be asked whether the key is valid"
        return f"{self._intake} answers; {await self.key_verdict(address_of(self.config.site, 'api'))}"

    async def key_verdict(self, host: str) -> str:
        """Whether the key is valid, as this host says; a warning where it doesn't. Raises Unavailable if it is not."""
        limit = min(VALIDATE_SECS, self.config.request.timeout_secs)
        work = partial(key_trouble, host, self.config.api_key.get(), self.proxy_for(host), self.config.tls, limit)
        try:
            async with asyncio.timeout(limit):
                trouble = await aside(work)
        except TimeoutError:
            trouble = f"no answer in {limit:g} s"
        return f"WARNING: {host} does not say whether the key is valid: {trouble}" if trouble else "the key is valid"


def _older(times: Iterable[int], now: int) -> frozenset[int]:
    return frozenset(index for index, at in enumerate(times) if at < now - OLDEST_MS)


def _undated(events: Sequence[Event], old: Collection[int]) -> list[Event]:
    """The events, old ones without `date`: Datadog's Auth0 pipeline would make the old date official again."""
    undated, stuck = list(events), {}
    for index in old:
        try:
            raw = rename_member(undated[index].raw, "date", "original_date")
        except ValueError:
            stuck[index] = "too old, and its members can't be told apart to rename the date"
        else:
            undated[index] = msgspec.structs.replace(undated[index], raw=raw)
    if stuck:
        raise _too_old(stuck)
    return undated


def _too_old(words: dict[int, str]) -> Rejected:
    return Rejected("too_old", "events are older than Datadog takes", only=words)


def _cut(event: Event) -> Event:
    """The event with a marker for its `details` or `payload`; as it was where it has neither, or can't be read."""
    raw = event.raw
    try:
        for name in ("details", "payload"):
            raw = replace_member(raw, name, lambda size: b'{"shipper_cut":{"bytes":%d}}' % size)
    except ValueError:
        return event
    return msgspec.structs.replace(event, raw=raw)


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(body), dict)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
