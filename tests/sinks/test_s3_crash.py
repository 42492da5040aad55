"""Exactly once: the real journal, the real delivery and a real store, and processes that die at the worst moments."""

import asyncio
import http.client
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from lane_case import Destination as Anywhere
from lane_case import Lane, lane_of
from s3_case import PUT_ONLY, Bucket, error, event_at, lines_of, make_sink

from shipper import Batch, Event
from shipper.event import Page
from shipper.testing import Destination, Received, Reply, make_batch
from sinks.s3 import S3

pytestmark = pytest.mark.usefixtures("aws")


class Died(BaseException):
    """The process is gone."""


class Mortal(S3):
    """Dies once it has put so many objects: at the latest before anyone else knows of the last one."""

    lives = 10**9

    def _put(self, *arguments: Any) -> None:
        if not self.lives:
            raise Died
        super()._put(*arguments)
        self.lives -= 1

    async def write(self, batch: Batch) -> None:
        await super().write(batch)
        if not self.lives:
            raise Died


def sink_of(bucket: Bucket, kind: type[S3] = S3, url: str = "", **settings: Any) -> Any:
    return kind(make_sink(url or bucket.url, bucket.name, **settings).config)


@asynccontextmanager
async def lane_into(place: Path, sink: S3, events: Sequence[Event]) -> AsyncIterator[Lane]:
    async with lane_of(place, sink, 0) as lane:
        await store(lane, events)
        yield lane


async def store(lane: Lane, events: Sequence[Event]) -> None:
    await lane.source.append(Page(events, b"checkpoint", 1, events[-1].id))


async def next_process(lane: Lane, sink: S3) -> None:
    """What is left after a crash: the journal and the bucket."""
    await lane.sink.close()
    lane.sink = sink
    lane.restart()
    await lane.deliver()
    await sink.close()


async def dies(lane: Lane) -> None:
    with pytest.raises(Died):
        await lane.delivery.run()


THREE_HOURS = [event_at(hour=(number - 1) // 4, number=number) for number in range(1, 13)]


async def test_a_crash_between_write_and_ack_makes_no_duplicate(tmp_path: Path, bucket: Bucket) -> None:
    mortal = sink_of(bucket, Mortal, batch={"max_events": 4, "timeout_secs": 0})
    mortal.lives = 1
    async with lane_into(tmp_path, mortal, THREE_HOURS) as lane:
        await dies(lane)
        assert (list(bucket.numbers().values()), lane.figures.position) == ([[1, 2, 3, 4]], 0)
        await next_process(lane, sink_of(bucket, batch={"max_events": 6, "timeout_secs": 0}))
        assert list(bucket.numbers().values()) == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10], [11, 12]]
        assert lane.figures.lag == 0


@pytest.mark.parametrize("objects", [1, 2, 3])
async def test_a_crash_at_an_hours_boundary_makes_no_duplicate_and_no_overlap(
    tmp_path: Path, bucket: Bucket, objects: int
) -> None:
    mortal = sink_of(bucket, Mortal, batch={"max_events": 12, "timeout_secs": 0})
    mortal.lives = objects
    async with lane_into(tmp_path, mortal, THREE_HOURS) as lane:
        await dies(lane)
        assert len(bucket.keys()) == objects
        await store(lane, [event_at(2, 13), event_at(2, 14)])
        await next_process(lane, sink_of(bucket, batch={"max_events": 100, "timeout_secs": 0}))
        assert list(bucket.numbers().values()) == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14]]
        assert lane.figures.lag == 0


@pytest.mark.parametrize("objects", [1, 2])
async def test_a_filter_that_changes_between_a_crash_and_the_next_start_makes_no_duplicate(
    tmp_path: Path, bucket: Bucket, objects: int
) -> None:
    events = [event_at((number - 1) // 4, number, "fp" if number % 2 else "s") for number in range(1, 17)]
    failures, batch = {"include_types": ["fp"]}, {"max_events": 4, "timeout_secs": 0}
    mortal = sink_of(bucket, Mortal, batch=batch, filter=failures)
    mortal.lives = objects
    async with lane_into(tmp_path, mortal, events) as lane:
        await dies(lane)
        assert list(bucket.numbers().values()) == [[1, 3], [5, 7]][:objects]
        lane.lane, _ = await lane.journal.lane("acme", "siem")
        await next_process(lane, sink_of(bucket, batch=batch))
        # What was being written is written as it was; the filter of now, which is none, counts behind it.
        assert [n for some in bucket.numbers().values() for n in some] == [1, 3, 5, 7, *range(9, 17)]
        assert (lane.figures.delivered, lane.figures.filtered, lane.figures.lag) == (12, 4, 0)


def in_front_of(store: str, refuses: Callable[[Received], bool]) -> Callable[[Received], Reply]:
    """Hands everything on to the store, but says of some objects that they are too large."""
    host = urlsplit(store).netloc

    def step(received: Received) -> Reply:
        if received.method == "PUT" and refuses(received):
            return error(400, "EntityTooLarge")
        connection = http.client.HTTPConnection(host, timeout=10)
        headers = {name: value for name, value in received.headers.items() if name.lower() != "expect"}
        connection.request(received.method, received.path, received.body, headers)
        answer = connection.getresponse()
        kept = {name: value for name, value in answer.getheaders() if name.lower().startswith(("etag", "x-amz-"))}
        body = answer.read()
        connection.close()
        return Reply(answer.status, body, kept)

    return step


def more_than(lines: int) -> Callable[[Received], bool]:
    return lambda received: len(lines_of(urlsplit(received.path).path, received.body)) > lines


@pytest.mark.parametrize("objects", [1, 2, 3, 4])
async def test_a_crash_at_a_half_after_a_rejection_makes_no_duplicate_and_no_overlap(
    tmp_path: Path, bucket: Bucket, objects: int
) -> None:
    """A store that takes 3 events an object, and hours of 1, 3, 4 and 4: halves meet objects of earlier hours."""
    events = [event_at(-1, 1), *THREE_HOURS[1:]]
    with Destination(default=in_front_of(bucket.url, more_than(3))) as front:
        settings: dict[str, Any] = {"url": front.url, "batch": {"max_events": 12, "timeout_secs": 0}}
        mortal = sink_of(bucket, Mortal, **settings)
        mortal.lives = objects
        async with lane_into(tmp_path, mortal, events) as lane:
            await dies(lane)
            await next_process(lane, sink_of(bucket, **settings))
            assert sorted(bucket.numbers().values()) == [[1], [2, 3, 4], [5, 6], [7, 8], [9, 10], [11, 12]]
            assert (lane.figures.lag, lane.figures.dead) == (0, {})


async def test_with_the_right_to_put_alone_a_crash_makes_no_duplicate_either(
    tmp_path: Path, bucket: Bucket, aws: Callable[..., None]
) -> None:
    aws(PUT_ONLY)
    mortal = sink_of(bucket, Mortal, batch={"max_events": 12, "timeout_secs": 0})
    mortal.lives = 2
    async with lane_into(tmp_path, mortal, THREE_HOURS) as lane:
        await dies(lane)
        await next_process(lane, sink_of(bucket))
        assert list(bucket.numbers().values()) == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]
        assert lane.logged().count("unverified") == 1
        labels = {"source": "acme", "sink": "siem", "notice": "unverified"}
        assert lane.metrics.registry.get_sample_value("shipper_notices_total", labels) == 2


async def test_a_strangers_object_is_counted_logged_and_delivered_beside(tmp_path: Path, bucket: Bucket) -> None:
    sink = sink_of(bucket, batch={"max_events": 12, "timeout_secs": 0})
    async with lane_into(tmp_path, sink, THREE_HOURS[:4]) as lane:
        first, last = THREE_HOURS[0].id, THREE_HOURS[3].id
        bucket.put(f"auth0/source=acme/dt=2026-01-01/hour=00/{first}-{last}.jsonl.gz", b"a stranger's")
        await lane.deliver()
        await sink.close()
        [beside] = filter(lambda key: key.endswith("-2.jsonl.gz"), bucket.keys())
        assert len(lines_of(beside, bucket.get(beside)["Body"])) == 4
        assert lane.logged() == ["key_conflict"]
        labels = {"source": "acme", "sink": "siem", "notice": "key_conflict"}
        assert lane.metrics.registry.get_sample_value("shipper_notices_total", labels) == 1
        assert (lane.figures.lag, lane.figures.delivered) == (0, 4)


async def test_a_write_that_was_cut_off_and_arrives_all_the_same_makes_no_duplicate(bucket: Bucket) -> None:
    sink = sink_of(bucket)
    write = asyncio.create_task(sink.write(make_batch()))
    await asyncio.sleep(0)
    write.cancel()
    with suppress(asyncio.CancelledError):
        await write
    await sink.write(make_batch())
    await sink.close()
    assert len(bucket.keys()) == 1


# A store that hangs


async def test_a_store_that_hangs_delays_neither_another_lane_nor_the_resolver(tmp_path: Path) -> None:
    with Destination(default="hang") as destination:
        hung = make_sink(destination.url, batch={"timeout_secs": 0})
        # More writes than asyncio's own executor has threads.
        writes = [asyncio.create_task(hung.write(make_batch())) for _ in range(50)]
        await destination.received(len(writes))
        async with asyncio.timeout(1), lane_of(tmp_path, Anywhere(), 500) as lane:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
            await lane.deliver()
            assert (len(found) > 0, lane.figures.delivered) == (True, 500)
        for write in writes:
            write.cancel()
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        await hung.close()


def test_a_store_that_hangs_does_not_keep_the_process_from_ending() -> None:
    program = """
        import asyncio, sys
        from shipper.testing import make_batch
        from sinks.s3 import S3

        async def main():
            sink = S3(S3.Config(bucket="logs", region="eu-west-1", endpoint_url=sys.argv[1], proxy="none"))
            write = asyncio.create_task(sink.write(make_batch()))
            await asyncio.to_thread(sys.stdin.readline)
            write.cancel()
            await asyncio.wait([write])
            await sink.close()

        asyncio.run(main())
    """
    with Destination(default="hang") as destination:
        run = [sys.executable, "-c", textwrap.dedent(program), destination.url]
        process = subprocess.Popen(run, stdin=subprocess.PIPE)
        try:
            asyncio.run(destination.received(1, within_secs=30))
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(timeout=2) == 0
        finally:
            process.kill()
            process.wait()


async def test_sixteen_lanes_write_at_the_same_time(bucket: Bucket) -> None:
    sink = sink_of(bucket, request={"concurrency": 16})
    batches = [make_batch(20, source=f"tenant{number}") for number in range(16)]
    await asyncio.gather(*(sink.write(batch) for batch in batches))
    await sink.close()
    assert len(bucket.keys()) == 16
    assert {len(lines) for lines in bucket.lines().values()} == {20}
