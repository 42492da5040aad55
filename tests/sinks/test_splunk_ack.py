"""Indexer acknowledgement, against a collector that says what was indexed when its script lets it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shipper import Rejected, Unavailable
from shipper.scripted import Destination, Received, Reply, make_batch
from sinks.splunk_hec import SplunkHec


class Collector:
    """Takes bodies and gives them ids per channel; each is acknowledged when it was asked about `polls` times."""

    def __init__(self, polls: int = 1, *, never: bool = False) -> None:
        self.polls, self.never = polls, never
        self.bodies: dict[str, list[bytes]] = {}
        self.asked: list[tuple[str, list[int]]] = []
        self.ack_answers: list[Reply] = []
        self.cookies: list[str] = []

    def __call__(self, request: Received) -> Reply:
        channel = request.headers["X-Splunk-Request-Channel"]
        self.cookies.append(request.headers.get("Cookie", ""))
        if request.path == "/services/collector/ack":
            return self._acknowledge(channel, json.loads(request.body)["acks"])
        bodies = self.bodies.setdefault(channel, [])
        bodies.append(request.body)
        answer = {"text": "Success", "code": 0, "ackId": len(bodies) - 1}
        return Reply(200, json.dumps(answer).encode(), {"Set-Cookie": f"node={channel[:8]}; Path=/"})

    def _acknowledge(self, channel: str, ids: list[int]) -> Reply:
        self.asked.append((channel, ids))
        if self.ack_answers:
            return self.ack_answers.pop(0)
        done = not self.never and len(self.asked) >= self.polls
        return Reply(200, json.dumps({"acks": {str(id_): done for id_ in ids}}).encode())

    def events(self) -> list[str]:
        return [
            json.loads(line)["log_id"] for bodies in self.bodies.values() for body in bodies for line in ids_of(body)
        ]


def ids_of(body: bytes) -> list[str]:
    decoder, text, at, found = json.JSONDecoder(), body.decode(), 0, []
    while at < len(text):
        one, at = decoder.raw_decode(text, at)
        found.append(json.dumps(one["event"]))
    return found


@asynccontextmanager
async def sink_for(collector: Any, **acknowledgements: Any) -> AsyncIterator[SplunkHec]:
    settings = {"enabled": True, "timeout_secs": 0.5, **acknowledgements}
    with Destination(default=collector) as destination:
        config = SplunkHec.Config.model_validate(
            {"url": destination.url, "token": "t", "batch": {"max_events": 2}, "acknowledgements": settings}
        )
        sink = SplunkHec(config)
        await sink.open()
        try:
            yield sink
        finally:
            await sink.close()
        await destination.left_alone()


async def test_a_write_of_several_bodies_is_delivered_when_all_are_acknowledged() -> None:
    collector = Collector(polls=2)
    async with sink_for(collector, timeout_secs=5) as sink:
        batch = make_batch(5)
        await sink.write(batch)
        assert collector.events() == [event.id for event in batch.events]
        assert [len(ids_of(body)) for body in next(iter(collector.bodies.values()))] == [2, 2, 1]
        assert [ids for _, ids in collector.asked] == [[0, 1, 2], [0, 1, 2]]


async def test_only_what_is_still_open_is_asked_about_again() -> None:
    collector = Collector()
    collector.ack_answers = [Reply(200, b'{"acks":{"0":true,"1":false}}')]
    async with sink_for(collector, timeout_secs=5) as sink:
        await sink.write(make_batch(4))
        assert [ids for _, ids in collector.asked] == [[0, 1], [1]]


async def test_the_journals_cut_is_as_large_as_all_bodies_of_a_write() -> None:
    async with sink_for(Collector(), max_pending=7, timeout_secs=9) as sink:
        assert sink.bodies_per_write == 7
        assert sink.deadline_secs == 7 * sink.config.request.timeout_secs + 9


async def test_what_is_never_acknowledged_goes_again_on_a_new_channel() -> None:
    collector = Collector(never=True)
    async with sink_for(collector) as sink:
        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                await sink.write(make_batch(1))
            assert caught.value.reason == "unacknowledged"
        first, second = collector.bodies
        assert first != second
        assert collector.bodies[first] == collector.bodies[second]


async def test_each_lane_has_a_channel_and_cookies_of_its_own() -> None:
    collector = Collector()
    async with sink_for(collector, timeout_secs=5) as sink:
        await asyncio.gather(*(sink.write(make_batch(1, source=name)) for name in ("acme", "beta")))
        await sink.write(make_batch(1, source="acme"))
        assert len(collector.bodies) == 2
        sent = {cookie for cookie in collector.cookies if cookie}
        assert sent == {f"node={channel[:8]}" for channel in collector.bodies}


@pytest.mark.parametrize(
    "answer",
    [
        Reply(503, b'{"text":"busy","code":9}'),
        Reply(429, b"{}"),
        Reply(200, b"<html>"),
        Reply(200, b""),
        Reply(200, b'{"acks":{"0":"true"}}'),
        Reply(200, b'{"acks":[0]}'),
        Reply(200, b'{"acks":{"7":true}}'),
        Reply(200, b'{"text":"Success","code":0}'),
    ],
)
async def test_an_error_of_the_ack_endpoint_never_counts_as_delivered_and_is_asked_again(answer: Reply) -> None:
    collector = Collector()
    collector.ack_answers = [answer]
    async with sink_for(collector, timeout_secs=5) as sink:
        await sink.write(make_batch(1))
        assert len(collector.asked) == 2
    collector = Collector()
    collector.ack_answers = [answer] * 100
    async with sink_for(collector, timeout_secs=0.3) as sink:
        with pytest.raises(Unavailable) as caught:
            await sink.write(make_batch(1))
        assert caught.value.reason == "unacknowledged"


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (Reply(400, b'{"text":"ACK is disabled","code":14}'), "refused", "code 14"),
        (Reply(401, b'{"text":"no","code":3}'), "auth", "code 3"),
        (Reply(403, b'{"text":"no","code":4}'), "auth", "code 4"),
        (Reply(404, b"{}"), "not_found", "404"),
        (Reply(413, b"{}"), "bad_answer", "413"),
        (Reply(302, b"", {"Location": "http://127.0.0.1:9/"}), "redirected", "302"),
    ],
)
async def test_what_a_person_must_mend_at_the_ack_endpoint_is_said_at_once(
    answer: Reply, reason: str, words: str
) -> None:
    collector = Collector()
    collector.ack_answers = [answer]
    async with sink_for(collector, timeout_secs=60) as sink:
        with pytest.raises(Unavailable) as caught:
            await sink.write(make_batch(1))
        assert (caught.value.reason, words in caught.value.note) == (reason, True)


async def test_a_token_without_acknowledgement_is_said_and_nothing_counts_as_delivered() -> None:
    async with sink_for(Reply(200, b'{"text":"Success","code":0}')) as sink:
        with pytest.raises(Unavailable) as caught:
            await sink.write(make_batch(1))
        assert caught.value.reason == "refused"


async def test_a_refused_event_of_a_later_body_is_named_within_the_whole_batch() -> None:
    refusal = Reply(400, b'{"text":"Event field cannot be blank","code":13,"invalid-event-number":1}')
    collector, posts = Collector(), iter([None, refusal])

    def second_is_refused(request: Received) -> Reply:
        return next(posts) or collector(request)

    async with sink_for(second_is_refused) as sink:
        with pytest.raises(Rejected) as caught:
            await sink.write(make_batch(5))
        assert caught.value.only is not None
        assert list(caught.value.only) == [3]
        assert not caught.value.others_delivered


async def test_a_body_of_one_event_that_is_too_large_names_that_event() -> None:
    collector = Collector()

    def third_is_too_large(request: Received) -> Reply:
        return Reply(413) if b"00:00:03" in request.body else collector(request)

    async with sink_for(third_is_too_large) as sink:
        with pytest.raises(Rejected) as caught:
            await sink.write(make_batch(3))
        assert (caught.value.reason, list(caught.value.only or ())) == ("too_large", [2])
