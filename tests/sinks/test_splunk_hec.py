import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from golden_batch import golden_batch
from pydantic import ValidationError

from shipper import Answer, Batch, Event, Rejected, Secret, Unavailable
from shipper.testing import Destination, Received, Reply, SinkContract, make_answer, make_batch, make_event, make_events
from sinks.splunk_hec import REST_SECS, SplunkHec

OK = Reply(200, b'{"text":"Success","code":0}')


class Envelope(msgspec.Struct):
    event: msgspec.Raw


def split(body: bytes) -> list[bytes]:
    """Every envelope of a body, exactly as it stands there."""
    # Latin-1 has one character a byte, so the decoder's positions are positions in the body.
    text, at, envelopes = body.decode("latin-1"), 0, []
    while at < len(text):
        _, end = json.JSONDecoder().raw_decode(text, at)
        envelopes.append(body[at:end])
        at = end
    return envelopes


class TestContract(SinkContract):
    sink_type = SplunkHec
    success = OK

    def settings(self, url: str) -> dict[str, Any]:
        return {"type": "splunk_hec", "url": url}

    def arrived(self, request: Received) -> Sequence[bytes]:
        return [bytes(msgspec.json.decode(envelope, type=Envelope).event) for envelope in split(request.body)]


def make_sink(**settings: Any) -> SplunkHec:
    settings = {"url": "https://splunk.example:8088", "token": "made-up-token", **settings}
    return SplunkHec(SplunkHec.Config(**settings))


def answer(status: int, reply: object = None, **headers: str) -> Answer:
    body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
    return make_answer(Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()}))


def judged(batch: Batch, status: int, reply: object = None, **headers: str) -> Unavailable | Rejected:
    with pytest.raises((Unavailable, Rejected)) as caught:
        make_sink().judge(batch, answer(status, reply, **headers))
    assert isinstance(caught.value, Unavailable | Rejected)
    return caught.value


def test_posts_gzip_to_the_event_endpoint_with_the_token() -> None:
    request = make_sink(url="https://splunk.example:8088/").request(make_batch())
    assert (request.method, request.url) == ("POST", "https://splunk.example:8088/services/collector/event")
    assert request.headers == {
        "Authorization": "Splunk made-up-token",
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
    }
    assert gzip.decompress(request.body) == make_sink().body(make_batch())


def test_the_same_batch_gives_the_same_bytes() -> None:
    first, again = (make_sink().request(make_batch()).body for _ in range(2))
    assert first == again
    assert first[4:8] == bytes(4), "gzip's time stamp would change the bytes from one second to the next"


def test_body_equals_the_golden_file(golden: Path) -> None:
    body = make_sink(index="identity", sourcetype="auth0:log").body(golden_batch())
    assert body == (golden / "splunk_hec.txt").read_bytes()


def test_an_envelope_has_exactly_the_members_that_splunk_knows() -> None:
    [envelope] = split(make_sink().body(make_batch([make_event(5)])))
    assert json.loads(envelope) == {
        "time": 1767225605.123,
        "host": "acme.us.auth0.com",
        "source": "auth0",
        "sourcetype": "auth0",
        "event": {
            "log_id": make_event(5).id,
            "data": {"tenant_name": "acme", **json.loads(make_event(5).raw)},
        },
    }


def test_index_source_and_sourcetype_are_those_of_the_configuration() -> None:
    sink = make_sink(index='in"dex', source="mine", sourcetype="auth0:log")
    [envelope] = map(json.loads, split(sink.body(make_batch(1))))
    assert (envelope["index"], envelope["source"], envelope["sourcetype"]) == ('in"dex', "mine", "auth0:log")


def test_the_raw_format_has_no_log_id_around_it() -> None:
    [envelope] = split(make_sink(format="raw").body(make_batch([make_event(5)])))
    assert envelope.endswith(b',"event":' + make_event(5).raw + b"}")


@pytest.mark.parametrize("format_", ["ecs", "ocsf"])
def test_a_batch_in_another_schema_is_cut_by_the_room_that_it_takes(format_: str) -> None:
    events = [make_event(number, user_agent="x" * 3000) for number in range(1, 21)]
    sink = make_sink(format=format_)
    body = sink.body(make_batch(events))
    assert [json.loads(one)["event"] for one in split(body)] == list(map(json.loads, sink.bodies(make_batch(events))))
    assert sum(len(event.raw) + sink.overhead for event in events) < len(body)
    assert len(body) <= sum(len(event.raw) + sink.framing for event in events)


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2026-01-02T03:04:05.678Z", "1767323045.678"),
        ("2026-01-02T03:04:05Z", "1767323045.000"),
        ("2026-01-02T05:04:05.678+02:00", "1767323045.678"),
        ("2026-01-02T03:04:05.678901Z", "1767323045.678"),
        ("1970-01-01T00:00:00Z", "0.000"),
        ("9999-12-31T23:59:59.999Z", "253402300799.999"),
        ("0001-01-01T00:00:00.000Z", "1000.001"),
        ("2026-01-02T03:04:05.678", "1000.001"),  # without a zone it may be any hour: the event's time is better
        ("2026-01-02", "1000.001"),
        ("0001-01-01T00:00:00+14:00", "1000.001"),
        ("yesterday", "1000.001"),
        ("", "1000.001"),
    ],
)
def test_the_time_is_the_date_else_the_events_time(date: str, expected: str) -> None:
    event = Event("1", 1_000_001, date, "s", b"{}")
    assert make_sink().body(make_batch([event])).startswith(f'{{"time":{expected},'.encode())


def test_a_body_cut_by_the_overhead_stays_below_the_limit_even_with_the_longest_names() -> None:
    sink = make_sink(index="i" * 80, source="s" * 200, sourcetype="t" * 200)
    batch = make_batch([Event("sha256-" + "f" * 64, -62_135_596_800_000, "", "s", b"{}")] * 10, source="a" * 63)
    origin = msgspec.structs.replace(batch.source, host="h" * 253, type="t" * 30)
    body = sink.body(msgspec.structs.replace(batch, source=origin))
    assert len(body) <= sum(len(event.raw) + sink.overhead for event in batch.events)


def test_batches_are_at_most_what_splunk_cloud_documents() -> None:
    assert make_sink().config.batch.max_bytes == 1_000_000


@pytest.mark.parametrize("url", ["http://splunk.example:8088", "splunk.example", "https://me:pw@splunk.example"])
def test_refuses_an_address_that_the_token_must_not_go_to(url: str) -> None:
    with pytest.raises(ValidationError, match="url"):
        make_sink(url=url)


def test_indexer_acknowledgement_is_off_unless_it_is_asked_for() -> None:
    assert not make_sink().config.acknowledgements.enabled
    assert make_sink().bodies_per_write == 1


# Facts: Splunk's table of codes, row by row


def test_code_0_is_delivered() -> None:
    assert make_sink().judge(make_batch(), answer(200, {"text": "Success", "code": 0})) is None


@pytest.mark.parametrize("code", [24, 25])
def test_a_queue_that_fills_is_delivered_and_rests(code: int) -> None:
    assert make_sink().judge(make_batch(), answer(200, {"text": "approaching", "code": code})) == REST_SECS


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"<html>log in</html>",
        b'{"text":"Succ',
        b"\xff\xfe",
        b"[" * 60_000,
        [{"code": 0}],
        {"text": "Success"},
        {"code": "0"},
        {"code": False},
        {"code": 0.0},
        {"code": None},
        {"code": 4},
        {"code": 17},
        {"code": 10**60},
    ],
)
def test_a_200_that_is_no_success_of_splunks_is_a_bad_answer(reply: object) -> None:
    outcome = judged(make_batch(), 200, reply)
    assert isinstance(outcome, Unavailable)
    assert outcome.reason == "bad_answer"


@pytest.mark.parametrize("status", [201, 202, 204])
def test_another_success_than_200_is_a_bad_answer(status: int) -> None:
    assert judged(make_batch(), status, {"code": 0}).reason == "bad_answer"


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (403, 1, "forbidden"),
        (401, 2, "auth"),
        (401, 3, "auth"),
        (403, 4, "auth"),
        (400, 5, "bug"),
        (400, 7, "not_found"),
        (500, 8, "server_error"),
        (503, 9, "server_error"),
        (400, 10, "refused"),
        (400, 11, "refused"),
        (400, 14, "refused"),
        (400, 16, "refused"),
        (503, 18, "server_error"),
        (503, 19, "server_error"),
        (503, 20, "server_error"),
        (400, 21, "auth"),
        (400, 22, "forbidden"),
        (503, 23, "server_error"),
        (429, 26, "throttled"),
        (429, 27, "throttled"),
        (400, 28, "refused"),
        (404, 404, "not_found"),
    ],
)
def test_a_code_that_names_no_event_gives_nothing_up(status: int, code: int, reason: str) -> None:
    outcome = judged(make_batch(), status, {"text": "words of theirs", "code": code, "invalid-event-number": 1})
    assert isinstance(outcome, Unavailable)
    assert (outcome.reason, outcome.only) == (reason, None)
    assert str(status) in outcome.note


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (301, "redirected"),
        (307, "redirected"),
        (400, "bad_answer"),
        (401, "auth"),
        (403, "forbidden"),
        (404, "not_found"),
        (405, "not_found"),
        (408, "server_error"),
        (409, "bad_answer"),
        (415, "refused"),
        (429, "throttled"),
        (500, "server_error"),
        (502, "server_error"),
        (503, "server_error"),
        (504, "server_error"),
    ],
)
def test_without_a_code_the_status_decides(status: int, reason: str) -> None:
    outcome = judged(make_batch(), status, b"<html>")
    assert isinstance(outcome, Unavailable)
    assert outcome.reason == reason


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_one_whatever_its_body_says(status: int) -> None:
    assert judged(make_batch(), status, {"code": 6, "invalid-event-number": 0}).reason == "redirected"


@pytest.mark.parametrize("code", [6, 12, 13, 15])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_numbered_event_is_refused_and_nothing_is_said_of_the_others(code: int, number: int) -> None:
    reply = {"text": "Invalid", "code": code, "invalid-event-number": number}
    outcome = judged(make_batch(3), 400, reply)
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.others_delivered) == ("refused", False)
    assert outcome.only == {number: json.dumps(reply)}


@pytest.mark.parametrize("number", [None, True, False, "1", 1.0, -1, 3, 10**40, [1]])
@pytest.mark.parametrize("code", [6, 12, 13, 15])
def test_a_refusal_without_a_usable_number_is_halved(code: int, number: object) -> None:
    outcome = judged(make_batch(3), 400, {"text": "Invalid", "code": code, "invalid-event-number": number})
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.only) == ("refused", None)
    assert "Invalid" in outcome.detail


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_only_a_400_can_refuse_an_event(status: int) -> None:
    assert isinstance(judged(make_batch(), status, {"code": 6, "invalid-event-number": 0}), Unavailable)


def large(number: int, size: int) -> Event:
    return make_event(number, description="x" * size)


def test_event_0_of_a_large_body_may_mean_the_body_so_it_is_halved() -> None:
    outcome = judged(make_batch([large(1, 300_000), large(2, 300_000)]), 400, {"code": 6, "invalid-event-number": 0})
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.only) == ("too_large", None)


def test_event_0_of_a_small_body_means_that_event() -> None:
    outcome = judged(make_batch([large(1, 200_000), large(2, 200_000)]), 400, {"code": 6, "invalid-event-number": 0})
    assert isinstance(outcome, Rejected)
    assert outcome.only is not None
    assert (outcome.reason, set(outcome.only)) == ("refused", {0})


@pytest.mark.parametrize("code", [12, 13, 15])
def test_other_codes_than_6_never_mean_the_size(code: int) -> None:
    outcome = judged(make_batch([large(1, 300_000), large(2, 300_000)]), 400, {"code": code, "invalid-event-number": 0})
    assert isinstance(outcome, Rejected)
    assert outcome.reason == "refused"


@pytest.mark.parametrize(("events", "number"), [([large(1, 600_000)], 0), ([make_event(1), large(2, 600_000)], 1)])
def test_a_single_large_event_is_named_as_too_large(events: list[Event], number: int) -> None:
    outcome = judged(make_batch(events), 400, {"code": 6, "invalid-event-number": number})
    assert isinstance(outcome, Rejected)
    assert outcome.only is not None
    assert (outcome.reason, set(outcome.only)) == ("too_large", {number})


@pytest.mark.parametrize("reply", [b"", b"<html>", {"code": 6, "invalid-event-number": 0}, {"code": 9}, {"code": 5}])
def test_413_is_halved(reply: object) -> None:
    outcome = judged(make_batch(3), 413, reply)
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.only) == ("too_large", None)


@pytest.mark.parametrize(("status", "reply"), [(429, {"code": 26}), (503, {"code": 9}), (503, b""), (500, {"code": 8})])
def test_retry_after_is_passed_on(status: int, reply: object) -> None:
    outcome = judged(make_batch(), status, reply, Retry_After="12")
    assert isinstance(outcome, Unavailable)
    assert outcome.retry_after == 12


def test_the_destinations_words_are_kept_out_of_everything_but_the_dead_letter() -> None:
    for reply in ({"text": "secret words", "code": code, "invalid-event-number": 0} for code in range(40)):
        outcome = judged(make_batch(), 400, reply)
        assert "secret words" not in f"{outcome} {outcome!r} {outcome.note}"


async def test_probe_takes_no_data_for_a_good_token() -> None:
    with Destination([Reply(400, b'{"text":"No data","code":5}')]) as destination:
        sink = make_sink(url=destination.url)
        await sink.open()
        assert await sink.probe() == f"{destination.url} accepts the token"
        await sink.close()
        [request] = destination.requests
        assert (request.method, request.path, request.body) == ("POST", "/services/collector/event", b"")
        assert request.headers["Authorization"] == "Splunk made-up-token"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(403, b'{"text":"Invalid token","code":4}'), "auth"),
        (Reply(400, b'{"code":10}'), "refused"),
        (Reply(404, b""), "not_found"),
        (Reply(200, b"<html>"), "bad_answer"),
        (Reply(400, b"<html>"), "bad_answer"),
        (Reply(400, b'{"code":6,"invalid-event-number":0}'), "refused"),
        (Reply(302, b"", {"Location": "/login"}), "redirected"),
    ],
)
async def test_probe_raises_like_write(reply: Reply, reason: str) -> None:
    with Destination([reply]) as destination:
        sink = make_sink(url=destination.url)
        await sink.open()
        with pytest.raises((Unavailable, Rejected)) as caught:
            await sink.probe()
        await sink.close()
    assert getattr(caught.value, "reason", None) == reason


async def test_a_token_file_that_cannot_be_read_holds_the_lane(tmp_path: Path) -> None:
    sink = make_sink(token=Secret(path=tmp_path / "missing"))
    await sink.open()
    for attempt in (sink.probe(), sink.write(make_batch())):
        with pytest.raises(Unavailable, match="can't be read") as caught:
            await attempt
        assert caught.value.reason == "auth"
    await sink.close()


async def test_a_destination_that_refuses_one_event_gets_all_others_when_it_is_left_out() -> None:
    """Older releases index nothing of a refused body: `only` must not claim that the others are there."""
    bad = make_events(5)[3]

    def refuse_all(received: Received) -> Reply:
        for number, envelope in enumerate(split(received.body)):
            if bad.id.encode() in envelope:
                return Reply(400, json.dumps({"code": 13, "invalid-event-number": number}).encode())
        return OK

    with Destination(default=refuse_all) as destination:
        sink = make_sink(url=destination.url)
        await sink.open()
        with pytest.raises(Rejected) as caught:
            await sink.write(make_batch(make_events(5)))
        assert caught.value.only is not None
        assert set(caught.value.only) == {3}
        others = [event for index, event in enumerate(make_events(5)) if index not in caught.value.only]
        assert await sink.write(make_batch(others)) is None
        await sink.close()
        assert len(split(destination.requests[-1].body)) == 4
