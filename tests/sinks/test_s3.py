"""What is put where, and what answers mean: pure parts, and a scripted destination."""

import asyncio
import hashlib
import json
import threading
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from golden_batch import golden_batch
from pydantic import ValidationError
from s3_case import TAKEN, error, event_at, lines_of, make_sink, written

from shipper import Batch, Event, Rejected, Sink, Unavailable
from shipper.testing import Destination, Received, Reply, SinkContract, make_batch, make_event
from sinks.s3 import S3
from sinks.s3_layout import hours_of

pytestmark = pytest.mark.usefixtures("aws")


class TestContract(SinkContract):
    # Without compression, so that a leak of the body would be seen.
    sink_type = S3
    secret = ""
    success = TAKEN

    def settings(self, url: str) -> dict[str, Any]:
        return {"type": "s3", "bucket": "logs", "region": "eu-west-1", "endpoint_url": url, "compression": "none"}

    def arrived(self, request: Received) -> Sequence[bytes]:
        return request.body.splitlines()

    # boto3 reads the whole answer, however long; the write ends at its deadline all the same (DECISIONS.md).
    test_reads_no_endless_answer = None  # type: ignore[assignment]


def batch_of(*events: Event, **fields: Any) -> Batch:
    return msgspec.structs.replace(make_batch(list(events)), **fields)


# What is put where


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
async def test_an_object_is_put_with_all_that_makes_it_exactly_once(compression: str) -> None:
    batch = make_batch(2)
    with Destination(default=TAKEN) as destination:
        await written(make_sink(destination.url, compression=compression), batch)
    [put] = destination.requests
    key = unquote(put.path.removeprefix("/logs/"))
    ending = {"gzip": ".jsonl.gz", "zstd": ".jsonl.zst", "none": ".jsonl"}[compression]
    first, last = (event.id for event in batch.events)
    assert (put.method, key) == ("PUT", f"auth0/source=acme/dt=2026-01-01/hour=00/{first}-{last}{ending}")
    lines = lines_of(key, put.body)
    assert lines == make_sink(destination.url).bodies(batch)
    assert put.headers["If-None-Match"] == "*"
    assert put.headers["Content-Type"] == "application/x-ndjson"
    assert "Content-Encoding" not in put.headers
    assert put.headers["x-amz-checksum-sha256"] == b64encode(hashlib.sha256(put.body).digest()).decode()
    assert {name: put.headers[f"x-amz-meta-{name}"] for name in ("events", "first", "last", "content-sha256")} == {
        "events": "2",
        "first": first,
        "last": last,
        "content-sha256": hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest(),
    }


async def test_a_batch_becomes_one_object_an_hour_in_the_journals_order() -> None:
    events = [event_at(23, 1), event_at(24, 2), event_at(23, 3), event_at(24, 4), event_at(-1, 5)]
    with Destination(default=TAKEN) as destination:
        await written(make_sink(destination.url, compression="none"), batch_of(*events))
    places = [unquote(put.path).split("/")[4:6] for put in destination.requests]
    assert places == [["dt=2026-01-01", "hour=23"], ["dt=2026-01-02", "hour=00"], ["dt=2025-12-31", "hour=23"]]
    numbers = [[json.loads(line)["data"]["n"] for line in put.body.splitlines()] for put in destination.requests]
    assert numbers == [[1, 3], [2, 4], [5]]


def test_objects_equal_the_golden_file(golden: Path) -> None:
    sink, batch = make_sink("http://127.0.0.1:1", add_tenant_name=True, compression="none"), golden_batch()
    shown = b""
    for hour in hours_of(batch):
        wanted = sink.object_of(batch, hour)
        shown += f"{sink.key_of(batch, hour)}\n{json.dumps(wanted.metadata)}\n".encode() + wanted.body
    assert shown == (golden / "s3.txt").read_bytes()


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_the_same_batch_gives_the_same_bytes(compression: str) -> None:
    sink, batch = make_sink("http://127.0.0.1:1", compression=compression), make_batch(50)
    [hour] = hours_of(batch)
    objects = [sink.object_of(batch, hour) for _ in range(2)]
    assert objects[0] == objects[1]
    # In gzip's header, the time stands at 4 to 8.
    assert compression != "gzip" or objects[0].body[4:8] == bytes(4)


@pytest.mark.parametrize("id_", ["a/b", "..", "", "x" * 65, "é", "half \ud83e", "a b", "sha256-" + "0" * 64, "9\n"])
def test_an_id_that_is_unfit_for_a_key_is_replaced_by_its_hash(id_: str) -> None:
    batch = batch_of(msgspec.structs.replace(make_event(), id=id_))
    digest = hashlib.sha256(id_.encode("utf-8", "surrogatepass")).hexdigest()
    [hour] = hours_of(batch)
    assert make_sink("http://127.0.0.1:1").key_of(batch, hour).endswith(f"/hour=00/{digest}-{digest}.jsonl.gz")


def test_years_in_keys_have_four_digits() -> None:
    batch = batch_of(Event("old", -62_135_596_800_000, "", "", b"{}"))
    [hour] = hours_of(batch)
    assert "/dt=0001-01-01/hour=00/" in make_sink("http://127.0.0.1:1").key_of(batch, hour)


def test_without_a_prefix_a_key_begins_with_the_source() -> None:
    batch = make_batch(1)
    [hour] = hours_of(batch)
    assert make_sink("http://127.0.0.1:1", prefix="").key_of(batch, hour).startswith("source=acme/")


# Settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"bucket": ""},
        {"bucket": "a/b"},
        {"prefix": "/logs"},
        {"prefix": "a//b"},
        {"prefix": "a b"},
        {"region": "eu west"},
        {"compression": "xz"},
        {"sse": "aes"},
        {"kms_key_id": "alias/mine"},
        {"kms_key_id": "alias/mine", "sse": "AES256"},
        {"external_id": "made-up"},
        {"role_arn": "my-role"},
        {"expected_bucket_owner": "me"},
        {"endpoint_url": "http://store.example:9000"},
        {"access_key_id": "none is needed here"},
    ],
)
def test_refuses_settings_that_can_not_work(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        S3.Config.model_validate({"bucket": "logs", **wrong})


def test_a_prefix_may_end_with_a_slash() -> None:
    assert S3.Config(bucket="logs", prefix="logs/auth0/").prefix == "logs/auth0"


def test_batches_are_large_and_wait_minutes_also_when_one_limit_is_set() -> None:
    batch = S3.Config.model_validate({"bucket": "logs", "batch": {"max_events": 500}}).batch
    assert (batch.max_events, batch.max_bytes, batch.timeout_secs) == (500, 8_000_000, 300)


# What answers mean


async def outcome(*script: Any, batch: Batch | None = None, **settings: Any) -> Unavailable | Rejected:
    with Destination(script, default=TAKEN) as destination, pytest.raises((Unavailable, Rejected)) as caught:
        await written(make_sink(destination.url, **settings), batch or make_batch())
    assert isinstance(caught.value, Unavailable | Rejected)
    return caught.value


ANSWERS: list[tuple[Reply, str]] = [
    (error(409, "ConditionalRequestConflict"), "server_error"),
    (error(409, "OperationAborted"), "server_error"),
    (error(409), "server_error"),
    (error(400, "BadDigest"), "bad_answer"),
    (error(400, "XAmzContentSHA256Mismatch"), "bad_answer"),
    (error(400, "IncompleteBody"), "bad_answer"),
    (error(400, "RequestTimeout"), "timeout"),
    (error(503, "SlowDown"), "throttled"),
    (error(429), "throttled"),
    (error(500, "InternalError"), "server_error"),
    (error(503, "ServiceUnavailable"), "server_error"),
    (error(504), "server_error"),
    (error(400, "ExpiredToken"), "auth"),
    (error(403, "ExpiredToken"), "auth"),
    (error(403, "RequestTimeTooSkewed"), "auth"),
    (error(403, "InvalidAccessKeyId"), "auth"),
    (error(403, "SignatureDoesNotMatch"), "auth"),
    (error(403, "AccessDenied"), "forbidden"),
    (error(403), "forbidden"),
    (error(404, "NoSuchBucket"), "not_found"),
    (error(301, "PermanentRedirect"), "redirected"),
    (error(307, "TemporaryRedirect"), "redirected"),
    (error(400, "AuthorizationHeaderMalformed", "<Region>us-west-2</Region>"), "redirected"),
    (error(400, "InvalidArgument"), "refused"),
    (error(400, "InvalidRequest"), "refused"),
    (error(400, "InvalidStorageClass"), "refused"),
    (error(400, "KMS.DisabledException"), "refused"),
    (error(501, "NotImplemented"), "refused"),
    (Reply(400, b"<html>what?</html>"), "bad_answer"),
]


async def test_an_error_gives_nothing_up() -> None:
    outcomes: list[Unavailable | Rejected] = []
    with Destination([reply for reply, _ in ANSWERS]) as destination:
        sink = make_sink(destination.url)
        for reply, _ in ANSWERS:
            with pytest.raises((Unavailable, Rejected), match=f"HTTP {reply.status}") as caught:
                await sink.write(make_batch())
            assert isinstance(caught.value, Unavailable | Rejected)
            outcomes.append(caught.value)
        await sink.close()
        assert len(destination.requests) == len(ANSWERS)
    assert [(reply, outcome.reason) for (reply, _), outcome in zip(ANSWERS, outcomes, strict=True)] == ANSWERS
    assert all(isinstance(outcome, Unavailable) and outcome.only is None for outcome in outcomes)
    assert not any("words of theirs" in str(outcome) for outcome in outcomes)


@pytest.mark.parametrize("more", ["<Header>If-None-Match</Header>", "<ArgumentName>if-none-match</ArgumentName>"])
@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (400, "InvalidArgument")])
async def test_a_store_without_conditional_writes_is_told_as_that(status: int, code: str, more: str) -> None:
    result = await outcome(error(status, code, more))
    assert (result.reason, "can't write conditionally" in result.note) == ("refused", True)


async def test_a_bucket_of_another_region_is_named_and_not_followed() -> None:
    redirect = error(301, "PermanentRedirect", x_amz_bucket_region="us-west-2")
    with Destination(default=redirect) as destination, pytest.raises(Unavailable, match="set region to us-west-2"):
        await written(make_sink(destination.url), make_batch())
    assert len(destination.requests) == 1


@pytest.mark.parametrize("reply", [error(400, "EntityTooLarge"), error(413)])
async def test_too_large_is_halved(reply: Reply) -> None:
    result = await outcome(reply)
    assert isinstance(result, Rejected)
    assert (result.reason, result.only, result.own) == ("too_large", None, False)


@pytest.mark.parametrize("reply", [error(503, "SlowDown"), error(400, "EntityTooLarge"), "reset"])
async def test_where_a_later_object_fails_the_events_of_earlier_ones_are_delivered(reply: Any) -> None:
    batch = batch_of(event_at(1, 1), event_at(2, 2), event_at(1, 3), event_at(3, 4))
    result = await outcome(TAKEN, reply, batch=batch)
    assert isinstance(result, Unavailable)
    assert result.only == frozenset({1, 3})


async def test_a_deadline_that_passes_between_objects_keeps_those_that_are_there() -> None:
    batch = batch_of(event_at(1, 1), event_at(2, 2))
    result = await outcome(TAKEN, "hang", batch=batch, request={"timeout_secs": 1})
    assert isinstance(result, Unavailable)
    assert (result.reason, result.only) == ("timeout", frozenset({1}))


async def test_what_was_not_begun_when_a_write_was_cut_off_is_not_put_any_more() -> None:
    asked, answer = threading.Event(), threading.Event()

    def late(received: Received) -> Reply:
        asked.set()
        answer.wait(10)
        return TAKEN

    with Destination([late], default=TAKEN) as destination:
        sink = make_sink(destination.url)
        write = asyncio.create_task(sink.write(batch_of(event_at(1, 1), event_at(2, 2))))
        await asyncio.to_thread(asked.wait, 10)
        [thread] = [thread for thread in threading.enumerate() if thread.name == "s3"]
        write.cancel()
        await asyncio.wait([write])
        answer.set()
        await asyncio.to_thread(thread.join, 10)
        await sink.close()
        assert len(destination.requests) == 1


# 412: something is there


def found(content_sha256: str) -> Reply:
    return Reply(200, headers={"x-amz-meta-content-sha256": content_sha256})


def own_hash(sink: Sink, batch: Batch) -> str:
    return hashlib.sha256(b"".join(body + b"\n" for body in sink.bodies(batch))).hexdigest()


async def told(script: Sequence[Any], *, replayed: bool = False) -> tuple[list[str], list[Received]]:
    """What a write said, and what it asked."""
    notices: list[str] = []
    with Destination(script, default=TAKEN) as destination:
        batch = batch_of(*make_batch().events, replayed=replayed, tell=lambda notice, note: notices.append(notice))
        await written(make_sink(destination.url), batch)
    return notices, destination.requests


PRESENT = error(412, "PreconditionFailed")
OURS = own_hash(make_sink("http://127.0.0.1:1"), make_batch())


def whole(batch: Batch) -> Reply:
    """The answer to a GET of the batch's object."""
    sink = make_sink("http://127.0.0.1:1")
    [hour] = hours_of(batch)
    put = sink.object_of(batch, hour)
    headers = {f"x-amz-meta-{name}": value for name, value in put.metadata.items()}
    return Reply(200, put.body, {"ETag": '"made-up"', **headers})


async def test_an_equal_object_in_place_is_delivered() -> None:
    notices, requests = await told([PRESENT, found(OURS)], replayed=True)
    assert [request.method for request in requests] == ["PUT", "HEAD"]
    assert requests[0].path == requests[1].path
    assert notices == []


async def test_an_equal_object_that_this_lane_has_not_tried_to_write_is_read() -> None:
    notices, requests = await told([PRESENT, found(OURS), whole(make_batch())])
    assert [request.method for request in requests] == ["PUT", "HEAD", "GET"]
    assert len({unquote(request.path).partition("?")[0] for request in requests}) == 1
    assert notices == []


async def test_another_body_under_our_metadata_is_no_delivery() -> None:
    reply = whole(make_batch())
    notices, requests = await told([PRESENT, found(OURS), Reply(200, b"not ours", reply.headers)])
    assert [request.method for request in requests] == ["PUT", "HEAD", "GET", "PUT"]
    assert requests[3].path == requests[0].path.replace(".jsonl.gz", "-2.jsonl.gz")
    assert notices == ["key_conflict"]


async def test_an_equal_object_in_an_archive_tier_is_believed_and_told() -> None:
    notices, requests = await told([PRESENT, found(OURS), error(403, "InvalidObjectState")])
    assert [request.method for request in requests] == ["PUT", "HEAD", "GET"]
    assert notices == ["unverified"]


async def test_another_object_in_place_is_left_alone_and_ours_goes_beside_it() -> None:
    notices, requests = await told([PRESENT, found("0" * 64), PRESENT, Reply(200)])
    first, _, second, _, third = (request.path for request in requests)
    assert second == first.replace(".jsonl.gz", "-2.jsonl.gz")
    assert third == first.replace(".jsonl.gz", "-3.jsonl.gz")
    assert all(put.headers["If-None-Match"] == "*" for put in requests if put.method == "PUT")
    assert notices == ["key_conflict", "key_conflict"]


async def test_our_object_beside_anothers_is_found_again() -> None:
    notices, requests = await told([PRESENT, found("0" * 64), PRESENT, found(OURS)], replayed=True)
    assert [request.method for request in requests] == ["PUT", "HEAD", "PUT", "HEAD"]
    assert notices == ["key_conflict"]


async def test_an_object_that_may_not_be_looked_at_is_ours_if_the_range_was_reserved_before() -> None:
    notices, requests = await told([PRESENT, error(403)], replayed=True)
    assert [request.method for request in requests] == ["PUT", "HEAD"]
    assert notices == ["unverified"]


async def test_an_object_that_may_not_be_looked_at_holds_the_lane_if_nothing_was_written_before() -> None:
    result = await outcome(PRESENT, error(403))
    assert (result.reason, "allow s3:GetObject" in result.note) == ("forbidden", True)


@pytest.mark.parametrize(("reply", "reason"), [(error(503), "server_error"), ("reset", "unreachable")])
async def test_a_look_that_fails_is_no_verdict(reply: Any, reason: str) -> None:
    assert (await outcome(PRESENT, reply)).reason == reason


async def test_strangers_under_all_names_hold_the_lane() -> None:
    result = await outcome(*[PRESENT, found("0" * 64)] * 20)
    assert result.reason == "refused"


async def test_conflicts_are_told_also_where_the_write_fails_after_them() -> None:
    notices: list[str] = []
    batch = batch_of(make_event(), tell=lambda notice, note: notices.append(notice))
    assert (await outcome(PRESENT, found("0" * 64), error(503), batch=batch)).reason == "server_error"
    assert notices == ["key_conflict"]


# Connections and credentials


async def test_credentials_that_are_missing_hold_the_lane_until_they_are_there(aws: Callable[..., None]) -> None:
    with Destination(default=TAKEN) as destination:
        aws(None)
        sink = make_sink(destination.url)
        with pytest.raises(Unavailable, match="no credentials") as caught:
            await sink.write(make_batch())
        assert caught.value.reason == "auth"
        aws(("made-up-later", "made-up-secret"))
        await sink.write(make_batch())
        await sink.close()
        [put] = destination.requests
        assert "Credential=made-up-later/" in put.headers["Authorization"]


async def test_credentials_that_were_refused_are_looked_for_again(aws: Callable[..., None]) -> None:
    with Destination([error(403, "InvalidAccessKeyId")], default=TAKEN) as destination:
        sink = make_sink(destination.url)
        with pytest.raises(Unavailable):
            await sink.write(make_batch())
        aws(("made-up-later", "made-up-secret"))
        await sink.write(make_batch())
        await sink.close()
        assert "Credential=made-up-later/" in destination.requests[1].headers["Authorization"]


async def test_a_proxy_of_the_settings_is_used_and_none_means_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    with Destination(default=TAKEN) as proxy, Destination(default=TAKEN) as direct:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        await written(make_sink(direct.url, proxy="none"), make_batch())
        assert (len(direct.requests), len(proxy.requests)) == (1, 0)
        await written(make_sink(direct.url, proxy=""), make_batch())
        assert (len(direct.requests), len(proxy.requests)) == (1, 1)
        monkeypatch.delenv("HTTP_PROXY")
        await written(make_sink(direct.url, proxy=proxy.url), make_batch())
        assert (len(direct.requests), len(proxy.requests)) == (1, 2)


async def test_the_account_encryption_and_storage_class_are_asked_for() -> None:
    settings = {"expected_bucket_owner": "123456789012", "sse": "aws:kms", "kms_key_id": "alias/a"}
    with Destination(default=TAKEN) as destination:
        await written(make_sink(destination.url, storage_class="STANDARD_IA", **settings), make_batch())
    headers = destination.requests[0].headers
    assert headers["x-amz-expected-bucket-owner"] == "123456789012"
    assert headers["x-amz-server-side-encryption"] == "aws:kms"
    assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/a"
    assert headers["x-amz-storage-class"] == "STANDARD_IA"
