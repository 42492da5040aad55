"""An auditor walks along the digests of a real bucket after somebody has been at it."""

import json
from pathlib import Path
from typing import Any

import pytest
from archive_case import EPOCH, Lane, day, event, lane_into, over
from s3_case import Bucket

from shipper.archive.chain import Chain, walked
from shipper.archive.digest import DAY_MS, path_of, sha256

pytestmark = pytest.mark.usefixtures("aws")


async def three_days(lane: Lane) -> None:
    """Closed, with two objects a day."""
    numbers = [(one, hour) for one in (1, 2, 3) for hour in (3, 4)]
    await lane.delivered(*(event(one, hour, 24 * one + hour) for one, hour in numbers), event(4, 0, 99))
    assert await lane.closing().run_once(over(3), over(3)) == 3


async def findings(lane: Lane, first: int = 1, last: int = 4) -> list[tuple[str, int]]:
    chain = await walked(lane.sink, "acme", EPOCH + (first - 1) * DAY_MS, EPOCH + last * DAY_MS)
    return [(one.kind, one.day.day) for one in chain.findings]


def key_of(bucket: Bucket, number: int) -> str:
    """The first object of a day."""
    return min(key for key in bucket.lines() if f"dt={day(number)}/" in key)


async def test_an_untouched_chain_is_walked_from_end_to_end(bucket: Bucket, tmp_path: Path) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        await three_days(lane)
        newest = await lane.sink.note(path_of("acme", day(3)))
        chain = await walked(lane.sink, "acme", EPOCH - 100 * DAY_MS, EPOCH + 100 * DAY_MS)
        assert chain == Chain(day(1), day(3), 3, 6, 6, sha256(newest or b""), [])
        part = await walked(lane.sink, "acme", EPOCH + DAY_MS, EPOCH + 2 * DAY_MS)
        assert (part.first, part.last, part.objects, part.findings) == (day(2), day(2), 2, [])


async def test_without_a_digest_in_the_range_nothing_is_said(bucket: Bucket, tmp_path: Path) -> None:
    nothing = Chain(None, None, 0, 0, 0, "", [])
    async with lane_into(bucket, tmp_path) as lane:
        assert await walked(lane.sink, "acme", EPOCH, EPOCH + DAY_MS) == nothing
        await three_days(lane)
        assert await walked(lane.sink, "acme", EPOCH + 3 * DAY_MS, EPOCH + 9 * DAY_MS) == nothing
        assert await walked(lane.sink, "other", EPOCH, EPOCH + DAY_MS) == nothing


async def test_what_was_taken_away_added_or_altered_is_found_in_its_day(bucket: Bucket, tmp_path: Path) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        await three_days(lane)
        key = key_of(bucket, 2)
        there = bucket.get(key)
        bucket.client.delete_object(Bucket=bucket.name, Key=key)
        assert await findings(lane) == [("missing_object", 2)]
        told = {**there["Metadata"], "content-sha256": "0" * 64}
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=there["Body"], Metadata=told)
        assert await findings(lane) == [("altered_object", 2)]
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=there["Body"])
        assert await findings(lane) == [("foreign_object", 2), ("missing_object", 2)]
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=there["Body"], Metadata=there["Metadata"])
        assert await findings(lane) == []
        assert await findings(lane, first=3) == []


async def test_a_digest_that_was_taken_away_or_rewritten_is_found(bucket: Bucket, tmp_path: Path) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        await three_days(lane)
        key = f"auth0/{path_of('acme', day(2))}"
        body = bucket.get(key)["Body"]
        bucket.client.delete_object(Bucket=bucket.name, Key=key)
        assert await findings(lane) == [("missing_digest", 2)]
        assert await findings(lane, first=3) == [("missing_digest", 2)]
        # An object goes, and the digest of its day is made to fit.
        gone = key_of(bucket, 2)
        bucket.client.delete_object(Bucket=bucket.name, Key=gone)
        digest: dict[str, Any] = json.loads(body)
        digest["objects"] = [one for one in digest["objects"] if f"auth0/{one['key']}" != gone]
        bucket.put(key, json.dumps({**digest, "events": 1}).encode())
        assert await findings(lane) == [("broken_chain", 3)]
