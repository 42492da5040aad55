"""The S3 sink read back, from a store that keeps what it is given."""

import asyncio
import gzip
import hashlib
from collections.abc import Callable
from datetime import date
from typing import Any

import msgspec
import pytest
from s3_case import PUT_ONLY, Bucket, error, event_at, make_sink, written

from shipper import Batch, Damaged, Event, Stored, Unavailable
from shipper.testing import Destination, Received, Reply, make_batch, make_events
from sinks.s3 import S3
from sinks.s3_layout import lines_of, place_of, stored_of

pytestmark = pytest.mark.usefixtures("aws")

DAY = 1_767_225_600_000
"""2026-01-01, in ms since 1970 UTC."""
HOUR = 3_600_000


def sink_of(bucket: Bucket, **settings: Any) -> S3:
    return make_sink(bucket.url, bucket.name, **settings)


def batch_of(*events: Event) -> Batch:
    return msgspec.structs.replace(make_batch(list(events)), events=events)


def altered(bucket: Bucket, key: str, body: bytes, **metadata: str) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key=f"auth0/{key}", Body=body, Metadata=metadata)


def listed(*names: str, more: str = "") -> Reply:
    """An answer of LIST."""
    rest = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{more}</NextContinuationToken>" if more else ""
    keys = "".join(
        f"<Contents><Key>auth0/source=acme/dt=2026-01-01/hour=00/{name}.jsonl</Key>"
        "<LastModified>2026-01-01T00:00:05.000Z</LastModified></Contents>"
        for name in names
    )
    return Reply(200, f"<ListBucketResult><Name>logs</Name>{rest}{keys}</ListBucketResult>".encode())


async def hours_found(sink: S3, since: int, until: int) -> list[int]:
    found = await sink.objects("acme", DAY + since, DAY + until)
    assert found.foreign == []
    return [stored.hour - DAY // HOUR for stored in found.objects]


# What stands there


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("prefix", ["auth0", ""])
async def test_what_was_written_is_found_and_reads_the_same(bucket: Bucket, compression: str, prefix: str) -> None:
    batch = make_batch(make_events(600))
    sink = sink_of(bucket, compression=compression, prefix=prefix)
    await written(sink, batch)
    found = await sink.objects("acme", batch.events[0].time, batch.events[-1].time + 1)
    [stored] = found.objects
    assert (stored.events, stored.first, stored.last) == (600, batch.events[0].id, batch.events[-1].id)
    assert stored.hour == batch.events[0].time // HOUR
    assert stored.sha256 == hashlib.sha256(b"".join(body + b"\n" for body in sink.bodies(batch))).hexdigest()
    assert stored.written > 1_700_000_000_000
    assert await sink.lines(stored.key) == sink.bodies(batch)
    assert (found.foreign, stored.key.startswith("source=acme/dt=2026-01-01/hour=00/")) == ([], True)
    await sink.close()


async def test_a_range_finds_the_hours_that_it_touches(bucket: Bucket) -> None:
    sink = sink_of(bucket)
    await written(sink, batch_of(*(event_at(hour, hour) for hour in (0, 1, 23, 24, 240))))
    assert await hours_found(sink, 0, 1) == [0]
    assert await hours_found(sink, HOUR - 1, HOUR + 1) == [0, 1]
    assert await hours_found(sink, HOUR, 24 * HOUR) == [1, 23]
    assert await hours_found(sink, 23 * HOUR, 25 * HOUR) == [23, 24]
    assert await hours_found(sink, -1000 * HOUR, 1000 * HOUR) == [0, 1, 23, 24, 240]
    assert await hours_found(sink, 25 * HOUR, 25 * HOUR) == []
    assert await sink.days("acme") == [date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 11)]
    assert await sink.days("other") == []
    await sink.close()


async def test_a_listing_that_comes_in_pieces_is_read_to_its_end() -> None:
    """A store names at most a thousand keys at once."""

    def head(received: Received) -> Reply:
        first, last = received.path.rpartition("/")[2].removesuffix(".jsonl").split("-")
        told = {"events": "2", "first": first, "last": last, "content-sha256": "0" * 64}
        return Reply(200, headers={"ETag": '"1"', **{f"x-amz-meta-{name}": value for name, value in told.items()}})

    with Destination([listed("1-2", "3-4", more="go-on"), listed("5-6")], default=head) as store:
        sink = make_sink(store.url)
        found = await sink.objects("acme", DAY, DAY + HOUR)
        await sink.close()
    assert [(stored.first, stored.last) for stored in found.objects] == [("1", "2"), ("3", "4"), ("5", "6")]
    assert found.objects[0].written == DAY + 5000
    assert "continuation-token=go-on" in store.requests[1].path


async def test_the_newest_object_is_the_last_written_one_of_the_newest_hour(bucket: Bucket) -> None:
    sink = sink_of(bucket)
    assert await sink.newest("acme") is None
    for hours in [(30, 31), (2, 3)]:
        await written(sink, batch_of(*(event_at(hour, hour) for hour in hours)))
    bucket.put("auth0/source=acme/dt=2026-01-02/hour=08/1-2.jsonl", b"a stranger's")
    bucket.put("auth0/source=acme/dt=9999-12-31/what", b"a stranger's")
    newest = await sink.newest("acme")
    assert newest is not None
    assert (newest.hour - DAY // HOUR, newest.last) == (31, event_at(31, 31).id)
    assert await sink.newest("acm") is None
    await sink.close()


# Strangers' objects, and altered ones


async def test_strangers_objects_are_named_and_not_taken_for_ours(bucket: Bucket) -> None:
    sink, batch = sink_of(bucket), make_batch(3)
    await written(sink, batch)
    [ours] = (await sink.objects("acme", DAY, DAY + HOUR)).objects
    folder = ours.key.rpartition("/")[0]
    told = {"events": "3", "first": ours.first, "last": ours.last, "content-sha256": ours.sha256}
    strange = {
        f"{folder}/notes.txt": {},
        f"{folder}/1-2.jsonl.gz": {},
        f"{folder}/1-3.jsonl.gz": told,
        f"{folder}/{ours.first}-{ours.last}-1.jsonl.gz": told,
        f"{folder}/{ours.first}-{ours.last}-2.jsonl.gz": {**told, "events": "many"},
        f"{folder}/{ours.first}-{ours.last}-3.jsonl.gz": {**told, "content-sha256": "unknown"},
    }
    for key, metadata in strange.items():
        altered(bucket, key, b"a stranger's", **metadata)
    found = await sink.objects("acme", DAY, DAY + HOUR)
    assert (found.objects, found.foreign) == ([ours], sorted(strange))
    await sink.close()


async def test_an_object_of_ours_beside_a_strangers_is_found(bucket: Bucket) -> None:
    sink, batch = sink_of(bucket), make_batch(3)
    await written(sink, batch)
    [key] = bucket.keys()
    bucket.put(key, b"a stranger's")
    await written(sink, batch)
    found = await sink.objects("acme", DAY, DAY + HOUR)
    [stored] = found.objects
    assert stored.key.endswith("-2.jsonl.gz")
    assert found.foreign == [key.removeprefix("auth0/")]
    assert await sink.lines(stored.key) == sink.bodies(batch)
    await sink.close()


@pytest.mark.parametrize(
    "path",
    [
        "source=acme/dt=2026-02-30/hour=00/1-2.jsonl",
        "source=acme/dt=2026-01-01/hour=24/1-2.jsonl",
        "source=acme/dt=2026-01-01/hour=00/1-2.jsonl.xz",
        "source=acme/dt=2026-01-01/hour=00/more/1-2.jsonl",
        "source=Acme/dt=2026-01-01/hour=00/1-2.jsonl",
        "auth0/source=acme/dt=2026-01-01/hour=00/1-2.jsonl",
        "source=acme/dt=2026-01-01/hour=00/1-2.jsonl\n",
        "source=acme/dt=\u0662026-01-01/hour=00/1-2.jsonl",
    ],
)
def test_a_key_that_is_none_of_ours_says_nothing(path: str) -> None:
    assert place_of(path) is None
    assert place_of("source=acme/dt=2026-01-01/hour=00/1-2.jsonl") is not None


def test_ids_that_hold_a_hyphen_are_told_apart_by_the_metadata() -> None:
    told = {"events": "2", "first": "a-b", "last": "c-2", "content-sha256": "0" * 64}
    folder = "source=acme/dt=2026-01-01/hour=00"
    plain, beside = f"{folder}/a-b-c-2.jsonl", f"{folder}/a-b-c-2-2.jsonl"
    assert [stored_of(path, told, 0) is not None for path in (plain, beside)] == [True, True]
    assert stored_of(plain, {**told, "last": "c"}, 0) == Stored(plain, DAY // HOUR, 2, "a-b", "c", "0" * 64)
    assert stored_of(plain, {**told, "first": "a", "last": "c-2"}, 0) is None


async def one_object(bucket: Bucket, compression: str) -> tuple[S3, str, dict[str, str], bytes]:
    sink = sink_of(bucket, compression=compression)
    await written(sink, make_batch(make_events(300)))
    [key] = bucket.keys()
    there = bucket.get(key)
    return sink, key.removeprefix("auth0/"), there["Metadata"], there["Body"]


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
async def test_content_that_is_not_what_its_metadata_say_is_damaged(bucket: Bucket, compression: str) -> None:
    sink, key, told, body = await one_object(bucket, compression)
    for other in (body[:-9], b"", b"something else", body[:200] + b"\0\0\0\0" + body[204:]):
        altered(bucket, key, other, **told)
        with pytest.raises(Damaged, match="source=acme") as damage:
            await sink.lines(key)
        assert "something" not in str(damage.value)
    altered(bucket, key, body, **{**told, "content-sha256": "0" * 64})
    with pytest.raises(Damaged, match="content-sha256"):
        await sink.lines(key)
    altered(bucket, key, body, **{**told, "events": "299"})
    with pytest.raises(Damaged, match="300 lines"):
        await sink.lines(key)
    altered(bucket, key, body)
    with pytest.raises(Damaged, match="metadata"):
        await sink.lines(key)
    await sink.close()


async def test_what_unfolds_to_more_than_a_batch_is_not_read_to_its_end() -> None:
    stored = Stored("x.jsonl.gz", 0, 1, "1", "1", "0" * 64)
    bomb = gzip.compress(b"\n" * 50_000_000)
    with pytest.raises(Damaged, match="more than 2000000 bytes"):
        lines_of(stored, [bomb], 2_000_000)


async def test_an_object_that_is_gone_is_not_found(bucket: Bucket) -> None:
    sink, key, _, _ = await one_object(bucket, "gzip")
    bucket.client.delete_object(Bucket=bucket.name, Key=f"auth0/{key}")
    with pytest.raises(Unavailable, match="not there any more") as caught:
        await sink.lines(key)
    assert caught.value.reason == "not_found"
    await sink.close()


# Notes


async def test_a_note_is_kept_as_it_was_written_first(bucket: Bucket) -> None:
    sink = sink_of(bucket)
    assert await sink.note("_digest/a/1.json") is None
    assert await sink.put_note("_digest/a/1.json", b"one")
    assert not await sink.put_note("_digest/a/1.json", b"two")
    assert await sink.put_note("_digest/a/2.json", b"")
    assert await sink.put_note("_digest/ab/1.json", b"another's")
    assert await sink.note("_digest/a/1.json") == b"one"
    assert await sink.note("_digest/a/2.json") == b""
    assert await sink.notes("_digest/a/") == ["_digest/a/1.json", "_digest/a/2.json"]
    assert bucket.get("auth0/_digest/a/1.json")["ContentType"] == "application/json"
    await sink.close()


# What may not be read, and what fails


async def test_a_right_that_lacks_is_named(bucket: Bucket, aws: Callable[..., None]) -> None:
    sink, key, _, _ = await one_object(bucket, "gzip")
    await sink.close()
    aws(PUT_ONLY)
    sink = sink_of(bucket)
    for asked, right in (
        (lambda: sink.days("acme"), "s3:ListBucket"),
        (lambda: sink.objects("acme", DAY, DAY + 1), "s3:ListBucket"),
        (lambda: sink.newest("acme"), "s3:ListBucket"),
        (lambda: sink.notes("_digest/"), "s3:ListBucket"),
        (lambda: sink.lines(key), "s3:GetObject"),
        (lambda: sink.note("_digest/1"), "s3:GetObject and s3:ListBucket"),
    ):
        with pytest.raises(Unavailable, match=f"reading the bucket needs {right}$") as caught:
            await asked()
        assert caught.value.reason == "forbidden"
    await sink.close()


async def test_objects_may_be_listed_and_not_looked_at() -> None:
    with Destination([listed("1-2")], default=error(403)) as store:
        sink = make_sink(store.url)
        with pytest.raises(Unavailable, match="needs s3:GetObject"):
            await sink.objects("acme", DAY, DAY + 1)
        await sink.close()


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (error(403, "InvalidAccessKeyId"), "auth"),
        (error(403, "InvalidObjectState"), "refused"),
        (error(404, "NoSuchBucket"), "not_found"),
        (error(503, "SlowDown"), "throttled"),
        (Reply(200, b"<html><body>a login page</body></html>"), "bad_answer"),
        ("reset", "unreachable"),
        ("hang", "timeout"),
    ],
)
async def test_a_failed_look_says_why(reply: Any, reason: str) -> None:
    with Destination(default=reply) as store:
        sink = make_sink(store.url, request={"timeout_secs": 1 if reply == "hang" else 10})
        with pytest.raises(Unavailable) as caught:
            await sink.days("acme")
        await sink.close()
    assert caught.value.reason == reason


async def test_a_login_page_is_no_object_and_no_note() -> None:
    with Destination(default=Reply(200, b"<html><body>a login page</body></html>")) as store:
        sink = make_sink(store.url)
        for read in (sink.lines, sink.note):
            with pytest.raises(Unavailable, match="no answer of an S3 store"):
                await read("source=acme/dt=2026-01-01/hour=00/1-1.jsonl")
        await sink.close()


async def test_a_body_that_breaks_off_is_no_damage() -> None:
    """What the way does to an answer says nothing of the object."""
    told = {"events": "1", "first": "1", "last": "1", "content-sha256": "0" * 64}
    head = ["HTTP/1.1 200 OK", 'ETag: "1"', "Content-Length: 1000", *(f"x-amz-meta-{n}: {v}" for n, v in told.items())]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write("\r\n".join([*head, "", "half"]).encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        sink = make_sink(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(Unavailable) as caught:
            await sink.lines("source=acme/dt=2026-01-01/hour=00/1-1.jsonl")
        await sink.close()
    assert caught.value.reason == "unreachable"
