"""What the tenant's retention took while we were away: told once, durably, and only where there may be something."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry
from source_case import START, Clock, Rig, always, event, events, journal_at, log_id, reading, rigged

from shipper.scene import Scene, SceneCollector
from shipper.simulator.answer import error
from shipper.simulator.server import serve
from shipper.simulator.tenant import Tenant
from shipper.sources.retention import TOLERANCE_MS, Gap, gap_of
from shipper.sources.start import EARLIEST

DAY, HOUR = 86_400, 3_600
HOURS = 3_600_000
EDGE = 100 * DAY * 1000
ONE_DAY: dict[str, Any] = {"retention_days": 1.0}


@pytest.mark.parametrize(
    ("horizon", "first", "gap"),
    [
        (EDGE, None, None),
        (EDGE - TOLERANCE_MS, None, None),
        (EDGE - 10 * HOURS, None, Gap(EDGE - 10 * HOURS, EDGE, may_be_empty=True)),
        (EDGE - TOLERANCE_MS - 1, None, Gap(EDGE - TOLERANCE_MS - 1, EDGE, may_be_empty=True)),
        # Right at the edge, and the more so before it: the edge goes through living traffic.
        (0, EDGE + HOURS, Gap(0, EDGE, may_be_empty=False)),
        (0, EDGE - HOURS, Gap(0, EDGE - HOURS, may_be_empty=False)),
        # After a pause that says as much of the time before the edge.
        (0, EDGE + HOURS + 1, Gap(0, EDGE, may_be_empty=True)),
        (EDGE - 600_000, EDGE + 600_001, Gap(EDGE - 600_000, EDGE, may_be_empty=True)),
        (EDGE - 600_000, EDGE + 600_000, Gap(EDGE - 600_000, EDGE, may_be_empty=False)),
        # The tenant keeps more than we were told: what lies behind the first event is there.
        (0, EDGE - 40 * DAY * 1000, Gap(0, EDGE - 40 * DAY * 1000, may_be_empty=True)),
        (EDGE - 10 * HOURS, EDGE - 10 * HOURS, None),
        (EDGE - 10 * HOURS, 17, None),
    ],
)
def test_a_gap_reaches_from_the_horizon_to_the_edge_or_to_what_came_back(
    horizon: int, first: int | None, gap: Gap | None
) -> None:
    assert gap_of(horizon, EDGE, first) == gap


def at(secs: float) -> int:
    """Milliseconds since 1970 of so many seconds after START."""
    return int((START + secs) * 1000)


async def gaps(rig: Rig) -> list[tuple[int, int, bool]]:
    found = await rig.journal.gaps("acme")
    assert rig.handle.figures.gaps == len(found)
    return [(since, until, may_be_empty) for since, until, _, may_be_empty in found]


def gap_lines(rig: Rig) -> list[Any]:
    return [line for line in rig.capture.entries if line.get("reason") == "retention"]


async def read_after(rig: Rig, days: float) -> None:
    """As a start of the program would, so many days later."""
    rig.clock.secs += days * DAY
    await rig.restart()
    await rig.source.run(once=True)


async def test_a_tenant_without_events_for_forty_days_gives_no_gap(tmp_path: Path) -> None:
    settings = {**ONE_DAY, "poll_interval_secs": HOUR}
    async with rigged(tmp_path, tenant={"events": events(3), **ONE_DAY}, **settings) as rig:
        rig.sleeps.hold_at(40 * 24)
        polling = asyncio.create_task(rig.source.run())
        await rig.sleeps.held.wait()
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        rig.tenant.add(event(rig.clock.secs))
        await read_after(rig, 0.9)
        assert await gaps(rig) == []
        assert rig.handle.figures.stored == 4


async def test_down_for_less_than_the_retention_each_time_gives_no_gap(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(3), **ONE_DAY}, **ONE_DAY) as rig:
        for _ in range(40):
            await read_after(rig, 0.95)
        assert await gaps(rig) == []


async def test_down_for_forty_days_gives_one_gap_that_may_be_empty_where_nothing_comes_back(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(3), **ONE_DAY}, **ONE_DAY) as rig:
        await rig.drained()
        await read_after(rig, 40)
        assert await gaps(rig) == [(at(0), at(39 * DAY), True)]
        (line,) = gap_lines(rig)
        assert (line["log_level"], line["may_be_empty"], line["hours"]) == ("error", True, 39 * 24)
        assert (line["since"], line["until"]) == ("2026-09-21T14:13:20Z", "2026-10-30T14:13:20Z")
        assert "retention_days" in line["do"]
        # The horizon has moved on: neither another answer nor another start tells of it again.
        await rig.source.run(once=True)
        await read_after(rig, 0.5)
        assert len(await gaps(rig)) == len(gap_lines(rig)) == 1
        registry, scene = CollectorRegistry(), Scene(lambda: rig.journal.figures)
        registry.register(SceneCollector(scene))
        assert registry.get_sample_value("shipper_retention_gaps_total", {"source": "acme"}) == 1


async def test_a_cut_through_traffic_is_a_gap_that_held_something(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(3), **ONE_DAY}, **ONE_DAY) as rig:
        await rig.drained()
        for number in range(40 * 24):
            rig.tenant.add(event(number * HOUR + 1800, number))
        await read_after(rig, 40)
        assert await gaps(rig) == [(at(0), at(39 * DAY), False)]
        # What the tenant still had is all there, and nothing else is missing.
        assert await rig.stored() == [*events(3), *(event(n * HOUR + 1800, n) for n in range(39 * 24, 40 * 24))]


async def test_a_long_silence_after_the_cut_says_nothing_of_what_was_before_it(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(3), **ONE_DAY}, **ONE_DAY) as rig:
        await rig.drained()
        rig.tenant.add(event(39 * DAY + 5 * HOUR))
        await read_after(rig, 40)
        assert await gaps(rig) == [(at(0), at(39 * DAY), True)]


async def test_a_crash_between_the_record_and_the_next_page_does_not_tell_it_again(tmp_path: Path) -> None:
    class Crash(BaseException):
        pass

    def crash(_logger: Any, _method: str, line: Any) -> Any:
        if line.get("reason") == "retention":
            raise Crash
        return line

    clock = Clock()
    async with serve(Tenant(events=events(3), plan="none", clock=clock.wall, **ONE_DAY)) as running:
        async with journal_at(tmp_path) as journal, reading(journal, running, clock, **ONE_DAY) as rig:
            await rig.drained()
            running.tenant.add(event(39 * DAY + 60))
            clock.secs += 40 * DAY
            rig.log = structlog.wrap_logger(None, processors=[crash])
            await rig.restart()
            with pytest.raises(Crash):
                await rig.source.run(once=True)
            assert rig.handle.figures.stored == 3
        async with journal_at(tmp_path) as journal, reading(journal, running, clock, **ONE_DAY) as rig:
            clock.secs += 30
            await rig.drained()
            assert await gaps(rig) == [(at(0), at(39 * DAY), False)]
            assert rig.handle.figures.stored == 4


@pytest.mark.parametrize(("hours", "told"), [(20, 0), (50, 1)])
async def test_trouble_that_outlasts_the_retention_is_a_gap_once_the_source_answers_again(
    tmp_path: Path, hours: int, told: int
) -> None:
    async with rigged(tmp_path, tenant={"events": events(3), **ONE_DAY}, **ONE_DAY) as rig:
        rig.tenant.script.extend([lambda _: None, lambda _: None, lambda _: error(403, "x", "x")])

        async def time_passes(number: int) -> None:
            if number == 2:  # the wait after the failure
                assert rig.source.health.reason == "forbidden"
                rig.clock.secs += hours * HOUR

        rig.sleeps.then = time_passes
        rig.sleeps.hold_at(4)
        polling = asyncio.create_task(rig.source.run())
        await rig.sleeps.held.wait()
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        assert len(await gaps(rig)) == told


async def test_a_tenant_that_keeps_more_than_was_said_is_no_gap_and_says_so_once(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(3), "retention_days": 30}, **ONE_DAY) as rig:
        await rig.drained()
        for days in (5, 5):
            rig.tenant.add(event(rig.clock.secs + HOUR))
            await read_after(rig, days)
            rig.tenant.script.append(error(503, "x", "x"))
            await rig.source.run(once=True)
        assert await gaps(rig) == []
        assert await rig.stored() == rig.issued()
        told = [line for line in rig.capture.entries if "retention_days" in line]
        assert [line["log_level"] for line in told] == ["warning", "warning"]  # one for each start
        # Asked for its oldest event where there is a doubt, and only then.
        assert [one.query["take"] for one in rig.asked if one.query["from"] == EARLIEST] == ["100", "1", "1"]


async def test_where_a_tenant_keeps_more_than_was_said_the_gap_ends_at_its_oldest_event(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(3), "retention_days": 5}, **ONE_DAY) as rig:
        await rig.drained()
        for number in range(8 * 24):
            rig.tenant.add(event(number * HOUR + 60, number))
        await read_after(rig, 8)
        assert await gaps(rig) == [(at(0), at(3 * DAY + 60), True)]
        assert await rig.stored() == [*events(3), *(event(n * HOUR + 60, n) for n in range(3 * 24, 8 * 24))]


async def test_trouble_while_a_long_log_is_read_the_first_time_is_no_gap(tmp_path: Path) -> None:
    tenant = {"count": 2_000, "history_secs": 25 * DAY, "retention_days": 30}
    async with rigged(tmp_path, tenant=tenant, **ONE_DAY) as rig:
        script: list[Callable[[Any], Any]] = [lambda _: None, lambda _: error(503, "x", "x")]
        rig.tenant.script.extend(script * 5)
        assert await rig.drained() == rig.issued()
        assert await gaps(rig) == []
        assert sum("retention_days" in line for line in rig.capture.entries) == 1


@pytest.mark.parametrize(
    ("start", "told"),
    [("earliest", 0), ("2020-01-01T00:00:00Z", 0), ("latest", 1), (log_id(-50 * DAY), 1)],
    ids=["earliest", "a time", "latest", "a log_id"],
)
async def test_a_first_start_has_a_gap_only_where_someone_counts_on_everything_behind_it(
    tmp_path: Path, start: str, told: int
) -> None:
    async with rigged(tmp_path, tenant={"events": events(3), **ONE_DAY}, start=start, **ONE_DAY) as rig:
        # The start is resolved and committed, and then no page can be read for forty days.
        always(rig.tenant, lambda asked: error(403, "x", "x") if asked.query.get("take") == "100" else None)
        await rig.source.run(once=True)
        assert (rig.source.health.reason, rig.position != "") == ("forbidden", True)
        rig.tenant.script.clear()
        await read_after(rig, 40)
        assert len(await gaps(rig)) == told


async def test_behind_the_first_page_that_was_read_a_gap_is_a_gap_wherever_reading_began(tmp_path: Path) -> None:
    start = "2026-09-01T00:00:00Z"
    async with rigged(tmp_path, tenant={"events": events(3), **ONE_DAY}, start=start, **ONE_DAY) as rig:
        pages = iter([None] * 2)  # a look at where the start lies, and a page
        always(rig.tenant, lambda _: next(pages, error(403, "x", "x")))
        await rig.source.run(once=True)
        assert rig.handle.figures.stored == 3
        rig.tenant.script.clear()
        await read_after(rig, 40)
        assert [may_be_empty for *_, may_be_empty in await gaps(rig)] == [True]


async def test_gaps_are_measured_by_the_tenants_clock(tmp_path: Path) -> None:
    skewed = {"events": [], "skew_secs": -40 * DAY, **ONE_DAY}
    async with rigged(tmp_path, tenant=skewed, **ONE_DAY) as rig:
        await rig.drained()
        await read_after(rig, 0.5)
        assert await gaps(rig) == []
        await read_after(rig, 2)
        assert await gaps(rig) == [(at(-39.5 * DAY), at(-38.5 * DAY), True)]
