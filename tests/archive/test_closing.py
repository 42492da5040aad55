"""Days are closed in a real bucket, over a real journal."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from archive_case import EPOCH, Lane, day, event, lane_into, over
from s3_case import PUT_ONLY, Bucket, make_sink
from structlog.testing import capture_logs

from shipper import Event
from shipper.archive.chain import walked
from shipper.archive.closing import AGAIN_MS, FORBIDDEN_MS, PATIENCE_MS, RETRY_MS, Closing
from shipper.archive.digest import DAY_MS, parse, path_of, sha256
from shipper.journal import JournalBrokenError
from shipper.journal.letters import Chosen
from shipper.tally import sum_to_hex, tally
from shipper.testing import Destination, Reply

pytestmark = pytest.mark.usefixtures("aws")


async def kinds(lane: Lane) -> list[str]:
    """What a walk along the whole chain finds."""
    chain = await walked(lane.sink, "acme", EPOCH - 100 * DAY_MS, EPOCH + 100 * DAY_MS)
    assert chain.digests, "there is no chain"
    return sorted(finding.kind for finding in chain.findings)


async def test_a_day_is_closed_when_the_lane_is_past_it(bucket: Bucket, tmp_path: Path) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        events = [event(1, 3, 1), event(1, 3, 2), event(1, 23, 3)]
        await lane.delivered(*events, event(2, 0, 4))
        assert await lane.closing().run_once(over(5), over(1) - 1) == 0
        assert await lane.closing().run_once(over(1) - 1, over(5)) == 0
        assert await lane.closing().run_once(over(5), over(1)) == 1
        digest = await lane.digest(1)
        assert (digest.events, digest.sum) == (3, sum_to_hex(tally([one.id for one in events]).sum))
        assert [(one.events, one.first, one.last) for one in digest.objects] == [
            (2, events[0].id, events[1].id),
            (1, events[2].id, events[2].id),
        ]
        assert (digest.previous, digest.late, digest.gaps, digest.dead_letters) == ("", [], [], {})
        assert await kinds(lane) == []


async def test_all_days_that_are_over_are_closed_in_a_chain_quiet_ones_too(bucket: Bucket, tmp_path: Path) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        await lane.delivered(event(1, 3, 1), event(4, 3, 2), event(5, 0, 3))
        assert await lane.closing().run_once(over(4), over(4)) == 4
        bodies = [await lane.sink.note(path_of("acme", day(number))) for number in (1, 2, 3, 4)]
        digests = [parse(body or b"") for body in bodies]
        assert [len(digest.objects) for digest in digests] == [1, 0, 0, 1]
        assert [digest.previous for digest in digests] == ["", *(sha256(body or b"") for body in bodies[:3])]
        assert await kinds(lane) == []


async def test_a_restart_goes_on_behind_the_newest_digest(bucket: Bucket, tmp_path: Path) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        await lane.delivered(event(1, 3, 1), event(2, 3, 2), event(3, 3, 3))
        assert await lane.closing().run_once(over(1), over(1)) == 1
        first = await lane.digest(1)
        closing = lane.closing()
        assert [await closing.run_once(over(2), over(2)) for _ in range(2)] == [1, 0]
        assert await lane.digest(1) == first
        assert await kinds(lane) == []


async def test_of_two_that_close_the_same_day_the_first_is_kept(bucket: Bucket, tmp_path: Path) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        await lane.delivered(event(1, 3, 1), event(2, 3, 2), event(3, 3, 3))
        times = (over(2), over(2) + 1)
        await asyncio.gather(*(lane.closing().run_once(now, over(2)) for now in times))
        assert await kinds(lane) == []


async def test_a_source_that_has_delivered_nothing_has_no_digest(bucket: Bucket, tmp_path: Path) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        assert await lane.closing().run_once(over(3), over(3)) == 0
        assert bucket.keys() == []
        assert await lane.closing().run_once(0, 0) == 0


async def test_what_comes_late_is_listed_by_the_next_digest(bucket: Bucket, tmp_path: Path) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        await lane.delivered(event(1, 3, 10), event(2, 3, 20), event(3, 3, 30), event(4, 0, 40))
        assert await lane.closing().run_once(over(1), over(1)) == 1
        await lane.delivered(event(1, 5, 11), event(1, 5, 12), late=True)
        assert await lane.closing().run_once(over(2), over(2)) == 1
        [late] = (await lane.digest(2)).late
        assert (late.day, late.events, len(late.objects), late.objects[0].events) == (day(1), 3, 1, 2)
        await lane.delivered(event(1, 5, 13), late=True)
        closing = lane.closing()
        assert await closing.run_once(over(3), over(3)) == 1
        [late] = (await lane.digest(3)).late
        assert (late.day, late.events, len(late.objects)) == (day(1), 4, 1)
        assert await kinds(lane) == []


async def test_dead_letters_and_gaps_stand_in_their_days_digest(bucket: Bucket, tmp_path: Path) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        await lane.delivered(event(1, 3, 1), event(1, 3, 2), event(1, 4, 3), dead=2)
        await lane.delivered(event(2, 3, 4))
        await lane.gap(EPOCH - 5, EPOCH + 5)
        await lane.gap(EPOCH + DAY_MS, EPOCH + DAY_MS + 5)
        assert await lane.closing().run_once(over(1), over(1)) == 1
        digest = await lane.digest(1)
        assert (digest.events, digest.dead_lettered, digest.dead_letters) == (1, 2, {"refused": 2})
        assert [(gap.since.year, gap.may_be_empty) for gap in digest.gaps] == [(2025, True)]
        assert await kinds(lane) == []


# Ledger and objects disagree


async def test_a_write_whose_ack_is_on_its_way_is_waited_for(bucket: Bucket, tmp_path: Path) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        await lane.delivered(event(1, 3, 1))
        await lane.stored(event(1, 3, 2), event(2, 3, 3))
        last = await lane.written()
        closing, now = lane.closing(), over(1)
        assert await closing.run_once(now, over(1)) == 0
        await lane.acked(last)
        assert await closing.run_once(now + AGAIN_MS - 1, over(1)) == 0
        assert await closing.run_once(now + AGAIN_MS, over(1)) == 1
        assert (await lane.digest(1)).events == 2
        assert await kinds(lane) == []


async def test_a_late_write_whose_ack_is_on_its_way_is_waited_for(bucket: Bucket, tmp_path: Path) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        await lane.delivered(event(1, 3, 10), event(2, 3, 20), event(3, 3, 30))
        assert await lane.closing().run_once(over(1), over(1)) == 1
        await lane.stored(event(1, 5, 11), late=True)
        last = await lane.written()
        closing, now = lane.closing(), over(2)
        assert await closing.run_once(now, over(2)) == 0
        await lane.acked(last)
        assert await closing.run_once(now + AGAIN_MS, over(2)) == 1
        assert [late.events for late in (await lane.digest(2)).late] == [2]
        assert await kinds(lane) == []


async def test_a_day_that_does_not_add_up_is_closed_as_it_is_after_some_minutes(bucket: Bucket, tmp_path: Path) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        await lane.delivered(event(1, 3, 1), event(1, 4, 2), event(2, 4, 3), event(3, 4, 4))
        bucket.client.delete_object(Bucket=bucket.name, Key=min(bucket.keys()))
        closing, now = lane.closing(), over(2)
        assert await closing.run_once(now, over(2)) == 0
        assert await closing.run_once(now + PATIENCE_MS, over(2)) == 2
        assert await kinds(lane) == ["fewer_events"]


async def test_a_journal_that_was_lost_leaves_a_chain_that_goes_on(bucket: Bucket, tmp_path: Path) -> None:
    async with lane_into(bucket, tmp_path / "lost") as lane:
        await lane.delivered(event(1, 3, 1), event(2, 3, 2))
        assert await lane.closing().run_once(over(1), over(1)) == 1
    async with lane_into(bucket, tmp_path / "new") as lane:
        await lane.delivered(event(2, 3, 3), event(3, 3, 4))
        closing, now = lane.closing(), over(2)
        assert [await closing.run_once(at, over(2)) for at in (now, now + PATIENCE_MS)] == [0, 1]
        assert (await lane.digest(2)).events == 1
        assert await kinds(lane) == ["more_events"]


async def test_one_event_of_an_odd_time_makes_no_chain_of_years(bucket: Bucket, tmp_path: Path) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        await lane.delivered(Event("1", -62_135_596_800_000, "", "s", b"{}"), event(3, 3, 1), event(4, 3, 2))
        assert await lane.closing().run_once(over(3), over(3)) == 1
        assert await kinds(lane) == []


# What fails


@pytest.mark.parametrize("horizon", [-(10**15), 0, 10**15])
async def test_a_horizon_that_makes_no_sense_closes_nothing(bucket: Bucket, tmp_path: Path, horizon: int) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        await lane.delivered(event(2, 3, 1))
        assert await lane.closing().run_once(over(1), horizon) == 0
        assert len(bucket.keys()) == 1


async def test_a_bug_of_ours_is_logged_by_its_place_and_does_not_end_the_daemon(bucket: Bucket, tmp_path: Path) -> None:
    async def erring(what: str, question: Mapping[str, Any]) -> Any:
        raise LookupError(f"an event's own words, {what} {question}")

    async with lane_into(bucket, tmp_path) as lane:
        closing = Closing(lane.sink, "acme", "archive", erring, structlog.get_logger())
        with capture_logs() as lines:
            assert await closing.run_once(over(1), over(1)) == 0
        assert [line["reason"] for line in lines] == ["bug"]
        assert "own words" not in str(lines)


async def test_a_journal_that_fails_is_its_callers_matter(bucket: Bucket, tmp_path: Path) -> None:
    async def broken(what: str, question: Mapping[str, Any]) -> Any:
        raise JournalBrokenError("io", f"{what} {question['source']}")

    async with lane_into(bucket, tmp_path) as lane:
        with pytest.raises(JournalBrokenError):
            await Closing(lane.sink, "acme", "archive", broken, structlog.get_logger()).run_once(over(1), over(1))


async def test_a_right_that_lacks_is_said_once_and_delivery_is_not_disturbed(
    bucket: Bucket, tmp_path: Path, aws: Callable[..., None]
) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        await lane.delivered(event(1, 3, 1), event(2, 3, 2))
        aws(PUT_ONLY)
        lane.sink = make_sink(bucket.url, bucket.name)
        closing, now = lane.closing(), over(1)
        with capture_logs() as lines:
            for at in (now, now + 1, now + FORBIDDEN_MS):
                assert await closing.run_once(at, over(1)) == 0
        assert [(line["event"], line["log_level"]) for line in lines] == [("no digests are written", "warning")]
        assert "s3:ListBucket" in lines[0]["note"]
        await lane.sink.close()


async def test_a_store_that_fails_is_asked_again_some_minutes_later(tmp_path: Path, bucket: Bucket) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        await lane.delivered(event(1, 3, 1), event(2, 3, 2))
        real = lane.sink
        with Destination(default=Reply(503)) as broken, capture_logs() as lines:
            lane.sink = make_sink(broken.url)
            closing, now = lane.closing(), over(1)
            assert [await closing.run_once(at, over(1)) for at in (now, now + RETRY_MS - 1)] == [0, 0]
            assert len(broken.requests) == 1
            assert await closing.run_once(now + RETRY_MS, over(1)) == 0
            assert len(broken.requests) == 2
            await lane.sink.close()
        assert [(line["event"], line["reason"]) for line in lines] == [("waiting", "server_error")] * 2
        lane.sink = real
        assert await lane.closing().run_once(now, over(1)) == 1


async def test_a_digest_that_someone_damaged_does_not_stop_the_chain(bucket: Bucket, tmp_path: Path) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        await lane.delivered(event(1, 3, 1), event(2, 3, 2), event(3, 3, 3))
        assert await lane.closing().run_once(over(1), over(1)) == 1
        bucket.put(f"auth0/{path_of('acme', day(1))}", b"garbage")
        assert await lane.closing().run_once(over(2), over(2)) == 1
        digest = await lane.digest(2)
        assert digest.previous == sha256(b"garbage")
        assert [late.day for late in digest.late] == [day(1)]
        assert await kinds(lane) == ["bad_digest"]


async def test_a_requeued_dead_letter_that_was_delivered_counts(bucket: Bucket, tmp_path: Path) -> None:
    async with lane_into(bucket, tmp_path) as lane:
        await lane.delivered(event(1, 3, 1), event(1, 3, 2), dead=1)
        await lane.delivered(event(2, 3, 3))
        await lane.journal.requeue(Chosen(source="acme"), "me")
        await lane.requeued_delivered()
        assert await lane.closing().run_once(over(1), over(1)) == 1
        digest = await lane.digest(1)
        assert (digest.events, digest.dead_lettered, digest.dead_letters) == (2, 1, {})
        assert await kinds(lane) == []
