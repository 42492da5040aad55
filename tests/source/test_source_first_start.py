"""Where a source begins the first time, and that this is settled before anything is polled."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from source_case import START, Clock, altered, always, dated, event, events, log_id, rigged

from shipper.simulator.answer import Answer, Asked, error, json_answer
from shipper.simulator.tenant import Tenant
from shipper.sources.start import EARLIEST, is_log_id, synthetic_id


def rfc3339(secs: float) -> str:
    return datetime.fromtimestamp(START + secs, UTC).isoformat().replace("+00:00", "Z")


async def test_earliest_reads_everything_that_the_tenant_has(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(250)}) as rig:
        assert await rig.drained() == rig.issued()
        assert rig.asked[0].query == {"from": EARLIEST, "take": "100"}


@pytest.mark.parametrize("skew", [0, 5 * 3600, -5 * 3600, 10 * 365 * 86400])
async def test_latest_is_the_servers_time_and_not_ours(tmp_path: Path, skew: int) -> None:
    old = [event(skew - 60 + n, n) for n in range(50)]
    async with rigged(tmp_path, tenant={"events": old, "skew_secs": skew}, start="latest") as rig:
        assert await rig.drained() == []
        assert rig.position == synthetic_id(int((START + skew) * 1000))
        fresh = [event(skew + 1 + n, n) for n in range(30)]
        for raw in fresh:
            rig.tenant.add(raw)
        assert await rig.drained() == fresh


async def test_a_time_reads_every_event_of_this_moment_or_later(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(250)}, start=rfc3339(-120)) as rig:
        assert await rig.drained() == rig.issued()[130:]
        assert rig.position > log_id(-120)


async def test_a_time_with_an_offset_is_the_same_moment(tmp_path: Path) -> None:
    shifted = datetime.fromtimestamp(START - 120, timezone(timedelta(hours=5, minutes=30))).isoformat()
    async with rigged(tmp_path, tenant={"events": events(250)}, start=shifted) as rig:
        assert await rig.drained() == rig.issued()[130:]


async def test_a_time_before_everything_reads_everything(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(150)}, start="1999-12-31T00:00:00Z") as rig:
        assert await rig.drained() == rig.issued()


async def test_a_time_behind_everything_waits_for_what_comes(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(150)}, start=rfc3339(3600)) as rig:
        assert await rig.drained() == []
        rig.tenant.add(event(3500))
        rig.tenant.add(event(3601))
        assert await rig.drained() == [event(3601)]


async def test_a_log_id_reads_what_comes_behind_it(tmp_path: Path) -> None:
    given = events(150)
    async with rigged(tmp_path, tenant={"events": given}, start=log_id(-50, 100)) as rig:
        assert await rig.drained() == given[101:]


@pytest.mark.parametrize("start", ["earliest", "latest", rfc3339(-100), log_id(-100, 50)])
async def test_the_start_is_committed_before_the_first_poll_and_is_ignored_from_then_on(
    tmp_path: Path, start: str
) -> None:
    async with rigged(tmp_path, tenant={"events": events(150)}, start=start) as rig:
        seen: list[str] = []
        arrived, gate = asyncio.Event(), asyncio.Event()

        async def hold(asked: Asked) -> Answer | None:
            if asked.query.get("take") == "1" or "q" in asked.query:
                return None
            seen.append(asked.query["from"])
            arrived.set()
            await gate.wait()
            return None

        rig.tenant.script.extend([hold] * 10)
        polling = asyncio.create_task(rig.source.run())
        await arrived.wait()
        position = rig.position
        assert is_log_id(position)
        assert seen == [position]
        assert rig.handle.figures.start == start
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        gate.set()
        rig.tenant.script.clear()
        # As after a crash, with another start in the settings and new events at the tenant.
        rig.tenant.add(event(30))
        rig.clock.secs += 3600
        await rig.restart(start="latest" if start != "latest" else "earliest")
        assert await rig.drained() == [raw for id_, raw in rig.tenant.issued() if id_ > position]
        assert rig.handle.figures.start == start


async def test_a_first_start_that_fails_commits_nothing_and_is_tried_again(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(20)}, start="latest") as rig:
        positions: list[str] = []

        async def look(_number: int) -> None:
            positions.append(rig.position)

        rig.sleeps.then = look
        rig.tenant.script.extend([error(503, "x", "x"), error(429, "x", "x")])
        assert await rig.drained() == []
        assert positions == ["", ""]
        assert is_log_id(rig.position)


def unknown(known: set[str], tenant: Tenant, do: Callable[[Asked], Answer]) -> Callable[[Asked], Answer | None]:
    """Answers differently where `from` is no event's id."""
    return lambda asked: do(asked) if asked.query.get("from", "") not in {*known, ""} else None


def late_dates(count: int) -> list[bytes]:
    """Events whose dates are out of the order of their ids, as recorded: by some seconds, one by half an hour."""
    draw = random.Random(7)
    made = [event(n - count, n, date=n - count - draw.uniform(0.01, 5.4)) for n in range(count)]
    made[count // 2] = event(-count // 2, count // 2, date=-count // 2 - 1800)
    return made


@pytest.mark.parametrize("way", ["refused", "nothing", "from the beginning"])
@pytest.mark.parametrize("at", [-30, -600, -3600, -7000])
async def test_where_made_up_positions_are_not_honoured_a_search_finds_one_and_loses_nothing(
    tmp_path: Path, way: str, at: int
) -> None:
    given = late_dates(7200)
    clock = Clock()
    async with rigged(tmp_path, clock=clock, tenant={"events": given}, start=rfc3339(at)) as rig:
        known = set(rig.tenant.ids())

        def answer(asked: Asked) -> Answer:
            if way == "refused":
                return dated(rig.tenant, error(400, "Bad Request", "from is not known"))
            if way == "nothing":
                return dated(rig.tenant, json_answer(200, []))
            return rig.tenant.answer(replace(asked, query={**asked.query, "from": EARLIEST}))

        always(rig.tenant, unknown(known, rig.tenant, answer))
        stored = await rig.drained()
        wanted = {raw for raw in given if raw.split(b'"')[3].decode() >= rfc3339(at)[:19]}
        assert wanted <= set(stored)
        assert len(stored) == len(set(stored))
        assert len(stored) < len(wanted) + 4_000 or at < -3600
        assert rig.sleeps.secs == []


async def test_a_search_steps_back_where_the_first_event_by_date_was_indexed_late(tmp_path: Path) -> None:
    # By date it lies before the start, by id behind others that are wanted: behind it these would be lost.
    late = event(-10, 999, date=-900)
    given = [event(-6000, 1), event(-599, 2), event(-300, 3), late]
    async with rigged(tmp_path, tenant={"events": given}, start=rfc3339(-600)) as rig:
        known = set(rig.tenant.ids())
        always(rig.tenant, unknown(known, rig.tenant, lambda _: dated(rig.tenant, error(400, "x", "x"))))
        assert {*given[1:]} <= {*await rig.drained()}


async def test_trouble_with_the_self_check_is_waited_out_and_not_taken_for_an_answer(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(150)}, start=rfc3339(-50)) as rig:
        rig.tenant.script.extend([error(500, "x", "x"), Answer(200, {}, b"<html>")])
        assert await rig.drained() == rig.issued()[100:]
        assert len(rig.sleeps.secs) == 2
        assert all("q" not in one.query for one in rig.asked)


@pytest.mark.parametrize("start", ["earliest", "latest", rfc3339(-100), rfc3339(9), log_id(-100, 50), "0" * 24])
async def test_no_request_goes_without_a_position_but_the_searches_of_the_fallback(tmp_path: Path, start: str) -> None:
    async with rigged(tmp_path, tenant={"events": events(350)}, start=start) as rig:
        rig.tenant.script.append(altered(rig.tenant, lambda asked, answer: replace(answer, status=500)))
        await rig.drained()
        assert rig.asked
        for one in rig.asked:
            assert one.query.get("from") or one.query.get("q", "").startswith("date:[")
            assert set(one.query) in ({"from", "take"}, {"q", "sort", "per_page"})
            assert start != "earliest" or "q" not in one.query
