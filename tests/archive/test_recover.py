"""Where a lane goes on when only the bucket is left."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from archive_case import EPOCH, day, event, lane_into, over, shelf, stored
from s3_case import TAKEN, Bucket, error, make_sink, written

from shipper import Batch, Event, Stored, Unavailable
from shipper.archive.digest import DAY_MS, path_of
from shipper.archive.recover import Resume, holds, newest_ids
from shipper.testing import Destination, Received, Reply, make_batch

pytestmark = pytest.mark.usefixtures("aws")

HOUR = 3_600_000


def batch_of(*events: Event) -> Batch:
    return msgspec.structs.replace(make_batch(list(events)), events=events)


async def resumed(objects: Sequence[Stored], notes: Sequence[str] = (), **settings: Any) -> Resume:
    """What an archive of these objects says."""
    with Destination(default=shelf(objects, notes)) as store:
        sink = make_sink(store.url, **settings)
        resume = await newest_ids(sink, "acme")
        await sink.close()
    assert resume is not None
    return resume


async def test_an_archive_without_the_source_says_nothing(bucket: Bucket) -> None:
    sink = make_sink(bucket.url, bucket.name)
    assert (await newest_ids(sink, "acme"), await holds(sink, "acme")) == (None, False)
    bucket.put("auth0/source=acme/dt=2026-01-01/hour=00/1-2.jsonl", b"a stranger's")
    assert (await newest_ids(sink, "acme"), await holds(sink, "acme")) == (None, False)
    await written(sink, batch_of(event(1, 3, 1)))
    assert (await holds(sink, "acme"), await holds(sink, "other")) == (True, False)
    await sink.close()


async def test_a_lane_goes_on_right_behind_the_last_event_that_is_there(bucket: Bucket, tmp_path: Path) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        await lane.delivered(event(1, 3, 1), event(2, 3, 2))
        await lane.delivered(event(2, 3, 3), event(2, 4, 4), event(3, 1, 5))
        before = await newest_ids(lane.sink, "acme")
        assert await lane.closing().run_once(over(2), over(2)) == 2
        assert await newest_ids(lane.sink, "acme") == before
    assert before is not None
    assert (before.after, before.since_ms) == (event(3, 1, 5).id, EPOCH + 49 * HOUR)


@pytest.mark.parametrize("objects_put", [1, 2, 3])
async def test_in_the_middle_of_a_batch_nothing_is_left_out(bucket: Bucket, objects_put: int) -> None:
    """The state is lost when some hours of a batch are there and others are not."""
    events = [event(1, hour, 10 * hour + n) for hour in (3, 4, 5, 6) for n in range(3)]
    taken: list[Received] = []

    def put(received: Received) -> Reply:
        if len(taken) == objects_put:
            return error(503)
        taken.append(received)
        return TAKEN

    with Destination(default=put) as way, pytest.raises(Unavailable):
        await written(make_sink(way.url), batch_of(*events))
    for request in taken:
        told = {name[11:]: text for name, text in request.headers.items() if name.lower().startswith("x-amz-meta-")}
        key = request.path.removeprefix("/logs/").replace("%3D", "=")
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=request.body, Metadata=told)
    sink = make_sink(bucket.url, bucket.name)
    resume = await newest_ids(sink, "acme")
    await sink.close()
    assert resume is not None
    left = [one for one in events if one.id > resume.after]
    assert left == events[3 * objects_put :]


async def test_the_objects_of_one_write_stand_in_any_order(bucket: Bucket) -> None:
    """Stores keep whole seconds, and their clocks may differ."""
    objects = [stored(1, hour=1, written=EPOCH), stored(2, hour=2, written=EPOCH + 9000)]
    objects += [stored(3, hour=3, written=EPOCH + 8000), stored(4, hour=4, written=EPOCH + 8000)]
    resume = await resumed(objects)
    assert (resume.stored.key, resume.after) == (objects[3].key, objects[3].last)


async def test_a_lane_that_was_set_back_goes_on_where_it_was_seen_last() -> None:
    """Going on behind the highest id would step over what it had not repeated yet."""
    objects = [stored(1, hour=1), stored(5, hour=5, written=EPOCH + HOUR), stored(2, hour=2, written=EPOCH + 2 * HOUR)]
    resume = await resumed(objects)
    assert (resume.after, resume.since_ms) == (objects[2].last, EPOCH + 2 * HOUR)


async def test_what_was_written_into_closed_days_sets_nothing_back() -> None:
    old = stored(1, day_number=2, written=EPOCH + 9 * DAY_MS)
    new = stored(4, day_number=3, written=EPOCH + 3 * DAY_MS)
    closed = [path_of("acme", day(number)) for number in (1, 2)]
    assert (await resumed([old, new], closed)).after == new.last
    assert (await resumed([old, new])).after == old.last


async def test_where_no_day_is_open_the_newest_object_of_a_closed_one_counts() -> None:
    objects = [stored(1, day_number=1), stored(2, day_number=2)]
    closed = [path_of("acme", day(number)) for number in (1, 2, 3)]
    assert (await resumed(objects, closed)).after == objects[1].last


async def test_ids_of_which_no_order_is_known_leave_the_time() -> None:
    nameless = msgspec.structs.replace(stored(2, hour=2), first="a" * 64, last="b" * 64)
    nameless = msgspec.structs.replace(nameless, key=nameless.key.rpartition("/")[0] + f"/{'a' * 64}-{'b' * 64}.jsonl")
    resume = await resumed([nameless])
    assert (resume.after, resume.since_ms) == ("", EPOCH + 2 * HOUR)


async def test_in_an_object_whose_last_event_came_late_the_higher_id_counts() -> None:
    one = stored(2, hour=2)
    turned = msgspec.structs.replace(one, first=one.last, last=one.first)
    turned = msgspec.structs.replace(turned, key=one.key.rpartition("/")[0] + f"/{one.last}-{one.first}.jsonl")
    assert (await resumed([turned])).after == one.last
