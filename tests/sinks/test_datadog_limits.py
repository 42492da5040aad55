"""What Datadog would drop or cut without a word: events over 18 hours old, and entries over 1 MB."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import structlog
from datadog_case import DAY_MS, aged, entries, just_within, make_sink
from structlog.testing import CapturingLogger

from shipper import Event, Rejected
from shipper.delivery import Delivery
from shipper.event import Page
from shipper.health import Health
from shipper.journal import LaneFigures
from shipper.journal.sqlite import SqliteJournal
from shipper.metrics import Metrics
from shipper.retry import Backoff
from shipper.testing import Destination, Reply, make_batch, make_event, make_events
from sinks.datadog import MAX_ENTRY_BYTES, Datadog

DEEP = b'{"date":"2026-01-01T00:00:09Z","deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
"""Its members can't be told apart, so that its date can't be renamed."""


def rejected(sink: Datadog, batch: object) -> Rejected:
    with pytest.raises(Rejected) as caught:
        sink.request(batch)  # type: ignore[arg-type]
    return caught.value


# Events that are too old


def test_an_event_within_17_hours_30_minutes_goes_out_as_it_is() -> None:
    batch = just_within(make_batch(3))
    assert [entry["timestamp"] for entry in entries(make_sink().body(batch))] == [e.time for e in batch.events]
    assert make_sink().restamped(batch) == 0
    assert b"late:true" not in make_sink().body(batch)


def test_an_older_event_gets_the_time_of_the_write_and_keeps_its_own_elsewhere() -> None:
    batch = just_within(make_batch(3))
    batch = msgspec.structs.replace(batch, now=batch.now + 1)
    late, *others = entries(make_sink(tags=["env:prod"]).body(batch))
    assert late["timestamp"] == batch.now
    assert late["ddtags"] == "tenant:acme,env:prod,late:true"
    assert late["data"]["original_date"] == batch.events[0].date
    assert "date" not in late["data"]
    assert [other["timestamp"] for other in others] == [event.time for event in batch.events[1:]]
    assert all("date" in other["data"] and "late" not in other["ddtags"] for other in others)
    assert make_sink().restamped(batch) == 1


def test_nothing_but_the_name_of_the_events_own_date_changes() -> None:
    raw = b'{ "list":[{"date":1}],"n":1.10,\t"date" : "2026-01-01T00:00:00Z","text":"\\"date\\":1","u":"J\\u00fc" }'
    event = Event("1", 1_767_225_600_000, "2026-01-01T00:00:00Z", "s", raw)
    batch = msgspec.structs.replace(make_batch([event]), now=event.time + DAY_MS)
    body = make_sink(add_tenant_name=False).body(batch)
    assert body.endswith(b'"data":%b}]' % raw.replace(b'"date" :', b'"original_date" :'))


def test_the_age_is_by_the_date_even_where_the_id_is_younger() -> None:
    event = make_event(1)
    stale = msgspec.structs.replace(event, time=event.time + 2 * DAY_MS)
    [entry] = entries(make_sink().body(msgspec.structs.replace(make_batch([stale]), now=event.time + 2 * DAY_MS)))
    assert "late:true" in entry["ddtags"]


@pytest.mark.parametrize("raw", [b"{}", b'"just a string"', b"[1]", b'{"date":null}', b'{"date":NaN}'])
def test_an_old_event_without_a_date_is_restamped_by_its_own_time(raw: bytes) -> None:
    batch = msgspec.structs.replace(make_batch([Event("1", 0, "", "", raw)]), now=DAY_MS)
    body = make_sink(add_tenant_name=False).body(batch)
    assert b'"timestamp":%d,' % DAY_MS in body
    assert b'"date"' not in body
    assert make_sink().restamped(batch) == 1


def test_an_old_event_whose_date_cannot_be_renamed_is_not_left_to_vanish() -> None:
    fresh, stuck = make_events(1), Event("deep", 0, "2026-01-01T00:00:09Z", "s", DEEP)
    batch = msgspec.structs.replace(make_batch([*fresh, stuck]), now=fresh[0].time + DAY_MS)
    outcome = rejected(make_sink(), batch)
    assert outcome.reason == "too_old"
    assert set(outcome.only or ()) == {1}


def test_old_events_become_dead_letters_where_that_is_wanted() -> None:
    batch = just_within(make_batch(3))
    batch = msgspec.structs.replace(batch, now=batch.now + 1500)
    outcome = rejected(make_sink(too_old="dead_letter"), batch)
    assert outcome.reason == "too_old"
    assert outcome.only == {0: "17.5 hours old at its write", 1: "17.5 hours old at its write"}
    assert make_sink(too_old="dead_letter").restamped(batch) == 0


# Entries that are too large


def large(size: int, number: int = 1, member: str = "details") -> Event:
    return make_event(number, **{member: {"body": "x" * size}})


def test_an_entry_of_exactly_1_mb_goes_out_as_it_is() -> None:
    frame = len(make_sink().body(make_batch([large(0)]))) - len("[]")
    fitting = make_batch([large(MAX_ENTRY_BYTES - frame)])
    body = make_sink().body(fitting)
    assert len(body) == MAX_ENTRY_BYTES + len("[]")
    assert b"shipper_cut" not in body
    beyond = make_batch([large(MAX_ENTRY_BYTES - frame + 1)])
    assert b"shipper_cut" in make_sink().body(beyond)


def test_details_of_a_larger_entry_are_cut_and_marked_with_their_size() -> None:
    events = [make_event(1), large(2_000_000, 2), make_event(3)]
    found = entries(make_sink().body(make_batch(events)))
    size = len(json.dumps({"body": "x" * 2_000_000}, separators=(",", ":")))
    assert found[1]["data"]["details"] == {"shipper_cut": {"bytes": size}}
    assert found[1]["data"] | {"details": 0} == {"tenant_name": "acme", **json.loads(events[1].raw), "details": 0}
    assert [entry["log_id"] for entry in found] == [event.id for event in events]


def test_a_large_and_old_event_is_both_cut_and_restamped() -> None:
    event = large(2_000_000)
    batch = msgspec.structs.replace(make_batch([event]), now=event.time + DAY_MS)
    [entry] = entries(make_sink().body(batch))
    assert "shipper_cut" in entry["data"]["details"]
    assert entry["data"]["original_date"] == event.date
    assert (entry["timestamp"], entry["ddtags"]) == (batch.now, "tenant:acme,late:true")


@pytest.mark.parametrize(
    ("settings", "culprit"),
    [
        ({}, large(2_000_000, 2, "description")),
        ({}, Event("deep", 1_767_225_602_000, "", "s", b'{"details":' + b"[" * 600_000 + b"]" * 600_000 + b"}")),
        ({"oversized": "dead_letter"}, large(2_000_000, 2)),
    ],
)
def test_what_stays_too_large_becomes_a_dead_letter_and_the_others_go_out(
    settings: dict[str, str], culprit: Event
) -> None:
    outcome = rejected(make_sink(**settings), make_batch([make_event(1), culprit, make_event(3)]))
    assert outcome.reason == "too_large"
    assert outcome.only is not None
    assert set(outcome.only) == {1}
    assert re.search(r"of \d{7} bytes", outcome.only[1])


# The same on a lane, with a real journal


class Lane:
    """One lane of the source `acme` into a Datadog; what it counted and said."""

    def __init__(self, journal: SqliteJournal, delivery: Delivery, metrics: Metrics, log: CapturingLogger) -> None:
        self.journal, self.delivery = journal, delivery
        self.metrics, self.log = metrics, log

    async def deliver(self) -> LaneFigures:
        task = asyncio.create_task(self.delivery.run())
        self.delivery.finish(task)
        await asyncio.wait([task], timeout=30)
        return self.journal.figures.sources["acme"].lanes["observability"]

    def too_old(self, action: str) -> float | None:
        labels = {"source": "acme", "sink": "observability", "action": action}
        return self.metrics.registry.get_sample_value("shipper_events_too_old_total", labels)

    def said(self) -> list[tuple[str, int]]:
        """Each line about too old events, with the number that it tells."""
        lines = [call.kwargs for call in self.log.calls if "too_old" in call.kwargs["event"]]
        return [(line["event"], line.get("events") or line["restamped"] + line["dead_letters"]) for line in lines]


@asynccontextmanager
async def lane_of(place: Path, sink: Datadog, events: list[Event], now: int) -> AsyncIterator[Lane]:
    journal = await SqliteJournal.open(place, max_bytes=10**9)
    source, _ = await journal.source("acme", "auth0:acme.us.auth0.com")
    handle, _ = await journal.lane("acme", "observability")
    for first in range(0, len(events), 100):
        page = events[first : first + 100]
        await source.append(Page(page, b"checkpoint", 1, page[-1].id))
    metrics, log = Metrics(), CapturingLogger()
    await sink.open()
    delivery = Delivery(
        handle,
        sink,
        make_batch(1).source,
        slots=asyncio.Semaphore(1),
        health=Health(structlog.wrap_logger(log, processors=[]), asyncio.get_running_loop().time),
        metrics=metrics.lane("acme", "observability"),
        clock=lambda: now / 1000,
        backoff=Backoff(0.001, 0.001),
    )
    try:
        yield Lane(journal, delivery, metrics, log)
    finally:
        await sink.close()
        await journal.close()


async def test_1000_events_of_last_week_are_all_delivered_with_the_time_of_the_write(tmp_path: Path) -> None:
    batch = aged(1000)
    with Destination(default=Reply(202, b"{}")) as destination:
        sink = make_sink(url=destination.url, batch={"max_events": 300})
        async with lane_of(tmp_path, sink, list(batch.events), batch.now) as lane:
            figures = await lane.deliver()
            assert (figures.lag, figures.delivered, figures.dead_kept) == (0, 1000, 0)
            assert (lane.too_old("restamp"), lane.too_old("dead_letter")) == (1000, 0)
            assert lane.said() == [("too_old", 300)]
        found = [entry for request in destination.requests for entry in entries(request.body)]
    assert [entry["log_id"] for entry in found] == [event.id for event in batch.events]
    assert {entry["timestamp"] for entry in found} == {batch.now}
    assert [entry["data"]["original_date"] for entry in found] == [event.date for event in batch.events]
    assert not any("date" in entry["data"] for entry in found)


async def test_1000_events_of_last_week_are_all_dead_letters_where_that_is_wanted(tmp_path: Path) -> None:
    """More than max_dead_in_a_row: what our own sink decides says nothing about a destination that refuses."""
    batch = aged(1000)
    with Destination(default=Reply(202, b"{}")) as destination:
        sink = make_sink(url=destination.url, too_old="dead_letter", batch={"max_events": 300})
        async with lane_of(tmp_path, sink, list(batch.events), batch.now) as lane:
            figures = await lane.deliver()
            assert (figures.lag, figures.delivered, figures.dead_kept) == (0, 0, 1000)
            assert figures.dead == {"too_old": 1000}
            assert (lane.too_old("restamp"), lane.too_old("dead_letter")) == (0, 1000)
            assert lane.said() == [("too_old", 300)]
        assert destination.requests == []


@pytest.mark.parametrize("policy", ["restamp", "dead_letter"])
async def test_an_episode_of_old_events_has_a_beginning_and_an_end(tmp_path: Path, policy: str) -> None:
    old, fresh = make_events(30), make_events(30, first=86_000)
    with Destination([Reply(503)], default=Reply(202, b"{}")) as destination:
        sink = make_sink(url=destination.url, too_old=policy, batch={"max_events": 20})
        async with lane_of(tmp_path, sink, old + fresh, fresh[-1].time) as lane:
            figures = await lane.deliver()
            assert (figures.lag, figures.delivered + figures.dead_kept) == (0, 60)
            assert lane.too_old(policy) == 30
            assert lane.said() == [("too_old", 20), ("no longer too_old", 30)]
        assert len([e for r in destination.requests[1:] for e in entries(r.body)]) == figures.delivered
