"""How much there is: the arithmetic, and five reads at most that nothing waits for."""

import asyncio
import bisect
import itertools
import math
import random
from pathlib import Path
from typing import Any

import pytest
from source_case import Rig, always, event, events, log_id, rigged, until

from shipper.simulator.answer import Answer, Asked, error
from shipper.sources.chain import TAKE
from shipper.sources.estimate import Estimate, Limit, Sample, estimate, in_words, limit_of, positions
from shipper.sources.start import EARLIEST
from shipper.sources.survey import READS, Survey, check_tenant, tell_first_start

NOW = 1_790_000_000_000
DAY = 86_400_000
LIMIT = Limit(100.0, "test")


# Arithmetic


def sampled(times: list[int], *, take: int = TAKE, size: int = 500) -> list[Sample]:
    """What five reads of a log with events at these times would see."""
    samples = []
    for moment in [times[0], *positions(times[0], NOW, READS - 1)]:
        first = bisect.bisect_left(times, moment)
        page = times[first : first + take]
        samples.append(Sample(moment, page[-1] if page else moment, len(page), len(page) * size))
    return samples


def steady(a_day: float, days: float) -> list[int]:
    count = int(a_day * days)
    return [NOW - int(DAY * days) + int(number * DAY / a_day) for number in range(count)]


def found(samples: list[Sample], *, begin: int = 0, limit: Limit = LIMIT) -> Estimate:
    made = estimate(samples, begin=begin, now=NOW, limit=limit)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("a_day", "days"),
    [(150, 1), (150, 30), (2_000, 0.3), (2_000, 5), (24_000, 0.01), (24_000, 1), (24_000, 10), (1_000_000, 0.5)],
)
def test_steady_traffic_is_told_to_some_percent(a_day: int, days: float) -> None:
    made = found(sampled(steady(a_day, days)))
    assert made.events_a_day == pytest.approx(a_day, rel=0.1)
    assert made.bytes_a_day == pytest.approx(a_day * 500, rel=0.1)
    assert made.span_days == pytest.approx(days, rel=0.01)


@pytest.mark.parametrize("count", [1, 2, 7, 40, 99])
def test_a_log_that_fits_into_one_page_is_counted(count: int) -> None:
    draw = random.Random(count)
    times = sorted(NOW - DAY + draw.randrange(DAY) for _ in range(count))
    made = found(sampled(times))
    assert made.events_a_day * made.span_days == pytest.approx(count)


def test_pages_that_are_never_full_are_not_taken_for_the_end() -> None:
    # All but the last place, that is: there, nothing tells one from the other.
    made = found(sampled(steady(100_000, 2), take=90))
    assert made.events_a_day == pytest.approx(80_000, rel=0.05)


def test_days_and_nights_are_told_within_a_factor_of_two() -> None:
    draw = random.Random(7)
    times = []
    at = NOW - 3 * DAY
    while at < NOW:
        times.append(at)
        busy = 1.2 + math.sin(at / DAY * 2 * math.pi)
        at += int(draw.expovariate(busy / 2_000)) + 1
    assert 0.5 < found(sampled(times)).events_a_day * 3 / len(times) < 2


@pytest.mark.parametrize("samples", [[], [Sample(NOW - 1000, NOW, 50, 50)]])
def test_no_events_or_minutes_of_them_tell_nothing(samples: list[Sample]) -> None:
    made = estimate(samples, begin=0, now=NOW, limit=LIMIT)
    assert made is None
    assert "unknown" in in_words(made)


def test_catching_up_counts_what_comes_in_meanwhile() -> None:
    # 14.4 million a day may be read, half as many come in: a backlog of a day takes as long as reading all of it.
    samples = [Sample(NOW - DAY // 5 * n, NOW - DAY // 5 * n + 1200, 100, 50_000) for n in range(5, 0, -1)]
    assert found(samples).days_to_catch_up == pytest.approx(1.0, rel=0.05)
    assert found(samples, begin=NOW - DAY // 4).days_to_catch_up == pytest.approx(0.25, rel=0.05)
    assert found(samples, begin=NOW).days_to_catch_up == 0
    assert found(samples, begin=NOW + DAY).days_to_catch_up == 0
    fast = found(samples, limit=Limit(960.0, "test"))
    assert fast.days_to_catch_up == pytest.approx(1 / (19.2 - 1), rel=0.05)
    assert found(samples, limit=Limit(40.0, "test")).days_to_catch_up is None


@pytest.mark.parametrize(
    ("burst", "reads", "word"),
    [(2, 120, "Free"), (10, 100, "Essentials"), (50, 960, "Enterprise"), (7, 100, "no plan"), (None, 100, "no limit")],
)
def test_a_limit_is_assumed_by_the_buckets_size_and_that_is_said(burst: int | None, reads: int, word: str) -> None:
    limit = limit_of(burst)
    assert limit.reads_a_minute == reads
    assert word in limit.assumed


@pytest.mark.parametrize(
    ("a_day", "size", "days", "words"),
    [
        (23_456, 1_234_567_890.0, 0.02, "about 23,000 events a day, 1 GB a day"),
        (7.4, 740.0, 0.001, "about 7 events a day, 740 bytes a day"),
        (1_960_000, 999_600.0, 4.0, "about 2,000,000 events a day, 1 MB a day"),
        (7.4, 5.2e15, None, "5,200,000 GB a day"),
        (1, 1.0, 0.02, "about 0.5 hours to catch up at 100 reads a minute (assumed: test)"),
        (1, 1.0, 4.0, "about 96.0 hours to catch up"),
        (1, 1.0, 0.001, "less than 0.1 hours to catch up"),
        (1, 1.0, None, "never caught up with at 100 reads a minute"),
    ],
)
def test_words_are_round_and_whole(a_day: float, size: float, days: float | None, words: str) -> None:
    assert words in in_words(Estimate(0, 1.0, 5, a_day, size, days, LIMIT))


# With a tenant


async def surveyed(rig: Rig, start: str = "earliest") -> Estimate | None:
    survey = Survey(rig.source.api, sleep=rig.sleeps)
    await survey.begin()
    return await survey.finish(start)


@pytest.mark.parametrize(("count", "hours"), [(60, 24), (5_000, 24), (1_000_000, 120), (300, 1)])
@pytest.mark.parametrize("plan", ["none", "free", "essentials", "enterprise"])
async def test_a_simulated_tenant_with_steady_traffic_is_told_within_a_factor_of_two(
    tmp_path: Path, count: int, hours: int, plan: str
) -> None:
    tenant = {"count": count, "history_secs": hours * 3600.0, "plan": plan}
    async with rigged(tmp_path, tenant=tenant) as rig:
        made = await surveyed(rig)
        assert made is not None
        assert 0.5 < made.events_a_day / (count * 24 / hours) < 2
        events_bytes = sum(len(raw) for _, raw in itertools.islice(rig.tenant.issued(), 2_000)) / min(count, 2_000)
        assert 0.5 < made.bytes_a_day / (events_bytes * count * 24 / hours) < 2
        assert len(rig.asked) == READS
        assert all(len(one.query["from"]) == 56 and one.query["take"] == "100" for one in rig.asked)
        assert rig.count("shipper_source_requests_total", code="429") == 0


async def test_an_empty_tenant_is_unknown_after_one_read(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": []}) as rig:
        assert await surveyed(rig) is None
        assert len(rig.asked) == 1
        readable, much = (await check_tenant(rig.source.api, "earliest")).split("\n")
        assert "oldest event none" in readable
        assert "unknown" in much


@pytest.mark.parametrize(
    ("start", "share"),
    [
        ("earliest", 1.0),
        ("latest", 0.0),
        (log_id(-12 * 3600), 0.5),
        ("2026-09-21T08:13:20Z", 0.25),
        ("1999-01-01T00:00:00+05:30", 1.0),
        ("0" * 24, 1.0),
    ],
)
async def test_catching_up_begins_where_reading_begins(tmp_path: Path, start: str, share: float) -> None:
    async with rigged(tmp_path, tenant={"count": 100_000, "history_secs": 86_400.0}) as rig:
        whole = await surveyed(rig)
        made = await surveyed(rig, start)
        assert made is not None
        assert whole is not None
        assert made.days_to_catch_up == pytest.approx(share * (whole.days_to_catch_up or 0), rel=0.2)


async def test_check_tells_oldest_event_rate_and_limit_in_five_reads(tmp_path: Path) -> None:
    tenant = {"count": 24_000, "history_secs": 86_400.0, "plan": "essentials"}
    async with rigged(tmp_path, tenant=tenant) as rig:
        readable, much = (await check_tenant(rig.source.api, "earliest")).split("\n")
        assert "oldest event 2026-09-20T" in readable
        assert "read:logs read:logs_users" in readable
        assert "events a day" in much
        assert "100 reads a minute (assumed: a burst of 10 is Essentials, Professional)" in much
        assert len(rig.asked) == READS


@pytest.mark.parametrize("kind", ["500", "400", "html", "positions are not honoured"])
async def test_an_estimate_that_fails_is_a_note_and_no_failed_check(tmp_path: Path, kind: str) -> None:
    async with rigged(tmp_path, tenant={"events": [event(-5000 + n, n) for n in range(500)]}) as rig:

        def later(asked: Asked) -> Answer | None:
            if asked.query["from"] == EARLIEST:
                return None
            if kind == "html":
                return Answer(200, {}, b"<html>")
            if kind.isdigit():
                return error(int(kind), "x", "x")
            return rig.tenant.answer(Asked("GET", asked.path, {"from": EARLIEST}, asked.headers, asked.at))

        always(rig.tenant, later)
        readable, much = (await check_tenant(rig.source.api, "earliest")).split("\n")
        assert "one page read" in readable
        assert much.startswith("no estimate")
        assert len(rig.asked) == 2


# At a first start


def lines(rig: Rig) -> list[Any]:
    return [one for one in rig.capture.entries if str(one["event"]).startswith("first start: ")]


async def test_a_first_start_tells_it_once_and_a_later_one_does_not(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"count": 2_400, "history_secs": 86_400.0}) as rig:
        await asyncio.gather(rig.source.tell_first_start(), rig.source.run(once=True))
        assert await rig.stored() == rig.issued()
        [line] = lines(rig)
        assert line["log_level"] == "info"
        assert line["event"].startswith("first start: about 2,")
        assert rig.token_requests == 1
        asked = len(rig.asked)
        await rig.restart()
        await rig.source.tell_first_start()
        assert (len(lines(rig)), len(rig.asked)) == (1, asked)


async def test_it_comes_after_the_first_page_and_reading_goes_on_meanwhile(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(350)}) as rig:
        hung = asyncio.Event()

        async def answer(asked: Asked) -> Answer | None:
            # The chain itself asks for the very beginning once, before the estimate does.
            if asked.query["from"] == EARLIEST and len(rig.asked) > 1:
                hung.set()
                await asyncio.Event().wait()
            return None

        rig.tenant.script.extend([answer] * 100)
        tasks = [asyncio.create_task(rig.source.tell_first_start()), asyncio.create_task(rig.source.run())]
        await hung.wait()
        await until(rig.journal, rig.name, lambda: rig.handle.figures.stored == 350)
        assert not tasks[0].done()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_run_that_gives_up_leaves_nobody_waiting(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(5)}) as rig:
        always(rig.tenant, lambda _: error(403, "x", "x"))
        await asyncio.gather(rig.source.tell_first_start(), rig.source.run(once=True))
        assert (len(lines(rig)), rig.source.health.reason) == (1, "forbidden")


@pytest.mark.parametrize(
    "answer", [error(403, "x", "x"), error(500, "x", "x"), Answer(200, {}, b'[{"log_id":1},7,null]')]
)
async def test_whatever_happens_it_is_a_line_and_nothing_else(tmp_path: Path, answer: Answer) -> None:
    async with rigged(tmp_path, tenant={"events": events(20)}) as rig:
        rig.tenant.script.extend([answer] * READS)
        await tell_first_start(rig.source.api, "earliest", rig.log)
        assert len(lines(rig)) == 1
        assert rig.source.health.state == "running"
        assert rig.handle.figures.checkpoint is None
        rig.tenant.script.clear()
        assert await rig.drained() == rig.issued()
