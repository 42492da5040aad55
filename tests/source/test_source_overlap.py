"""The overlap check: what was indexed behind the checkpoint is found and delivered late, and nothing else is."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from daemon_case import SECRETS, Daemon, TenantThread, raw_of
from source_case import START, Clock, Rig, altered, dated, event, events, log_id, rigged

from shipper.simulator.answer import Answer, Asked, error
from shipper.simulator.tenant import Tenant
from shipper.sources.chain import Checkpoint
from shipper.sources.overlap import BACK, PAGES
from shipper.sources.start import EARLIEST, synthetic_id

HOURLY: dict[str, Any] = {"overlap_check_secs": 3600.0, "poll_interval_secs": 1800.0, "retention_days": 30.0}
"""So a check comes with every second poll once caught up."""


@asynccontextmanager
async def polled(rig: Rig, sleeps: int) -> AsyncIterator[None]:
    """Within: the source has polled until it went to sleep for that many times."""
    rig.sleeps.held.clear()
    rig.sleeps.hold_at(sleeps)
    polling = asyncio.create_task(rig.source.run())
    await rig.sleeps.held.wait()
    try:
        yield
    finally:
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)


def late_lines(rig: Rig) -> list[Any]:
    return [line for line in rig.capture.entries if "behind the checkpoint" in str(line["event"])]


def late_count(rig: Rig) -> float:
    return rig.count("shipper_late_events_total")


async def test_an_event_that_was_indexed_behind_the_checkpoint_is_found_and_delivered_once(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(250)}, **HOURLY) as rig:
        late = [event(-100.5, 1000), event(-20.5, 1001)]

        async def arrive(number: int) -> None:
            if number == 1:
                for one in late:
                    rig.tenant.add(one)

        rig.sleeps.then = arrive
        async with polled(rig, 3):
            assert await rig.stored() == [*events(250), *late]
            assert late_count(rig) == 2
            (line,) = late_lines(rig)
            assert (line["log_level"], line["events"]) == ("warning", 2)
            assert rig.position == log_id(-1, 249)
            assert rig.count("shipper_events_duplicate_total") == 0
        # Known from now on, to the next checks and to the next start.
        await rig.restart()
        async with polled(rig, 9):
            assert rig.handle.figures.stored == 252
        assert (late_count(rig), len(late_lines(rig))) == (2, 1)


async def test_the_chain_goes_on_as_if_nobody_had_looked_back(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(250)}, **HOURLY) as rig:

        async def arrive(number: int) -> None:
            # Right before a check, both ahead of the checkpoint and behind it.
            if number == 2:
                rig.tenant.add(event(10, 1))
                rig.tenant.add(event(-30.5, 1000))

        rig.sleeps.then = arrive
        async with polled(rig, 5):
            assert await rig.stored() == [*events(250), event(-30.5, 1000), event(10, 1)]
            assert late_count(rig) == 1
            assert rig.position == log_id(10, 1)
            assert rig.count("shipper_events_duplicate_total") == 0
            assert rig.source.health.failures == 0


async def test_where_nothing_came_late_nothing_is_counted_and_ten_pages_are_the_most(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"count": 3_000}, **HOURLY) as rig:
        await rig.drained()
        before, ids = len(rig.asked), list(rig.tenant.ids())
        async with polled(rig, 3):
            asked = [one.query["from"] for one in rig.asked[before:]]
            # A poll, another one, and the check, which ends with the checkpoint's own event.
            assert asked[:2] == [ids[-1]] * 2
            assert asked[2:-1] == [ids[number] for number in range(3_000 - 1 - BACK, 3_000 - 1, 100)]
            assert len(asked[2:-1]) <= PAGES
            assert asked[-1] == ids[-1]
        assert (late_count(rig), late_lines(rig)) == (0, [])
        assert await rig.stored() == rig.issued()


async def test_it_comes_once_an_interval(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(50)}, **HOURLY) as rig:
        await rig.drained()
        before = len(rig.asked)
        async with polled(rig, 9):
            checks = [number for number, one in enumerate(rig.asked[before:]) if one.query["from"] == log_id(-50, 0)]
            assert checks == [2, 5, 8, 11]


async def test_nothing_is_looked_at_again_before_the_source_has_caught_up(tmp_path: Path) -> None:
    always_due = {**HOURLY, "overlap_check_secs": 0.001}
    async with rigged(tmp_path, tenant={"count": 2_000, "plan": "free"}, **always_due) as rig:

        async def caught_up(_number: int) -> None:
            if rig.sleeps.secs[-1] == 1800.0:
                rig.sleeps.hold_at(len(rig.sleeps.secs))

        rig.sleeps.then = caught_up
        async with polled(rig, 1_000):
            asked = [one.query["from"] for one in rig.asked]
            assert sorted(asked) == asked
            assert len(asked) == 21
            assert len(rig.sleeps.secs) > 10


async def test_more_late_events_than_ten_pages_hold_are_found_bit_by_bit(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(950)}, **HOURLY) as rig:
        await rig.drained()
        for number in range(300):
            rig.tenant.add(event(-90.5, 2000 + number))
        before = len(rig.asked)
        async with polled(rig, 3):
            assert len(rig.asked) - before == 2 + PAGES + 1
        async with polled(rig, 20):
            pass
        assert late_count(rig) == 300
        assert len(set(await rig.stored())) == rig.handle.figures.stored == 1_250


async def test_it_never_looks_further_back_than_ids_are_known(tmp_path: Path) -> None:
    clock = Clock()
    kept = {"keep_days": 0.0, "clock": clock.wall}
    async with rigged(tmp_path, clock=clock, tenant={"count": 12_500}, journal=kept, **HOURLY) as rig:
        await rig.drained()
        await rig.lane.ack(12_500)
        clock.secs += 10
        before = rig.handle.figures.bytes
        await rig.journal.trim()
        # Nothing is left but the ids of the last 10,000 events.
        assert rig.handle.figures.bytes < before / 10
        async with polled(rig, 7):
            pass
        assert late_count(rig) == 0
        assert rig.handle.figures.stored == 12_500


async def test_what_lies_before_a_start_is_never_late(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(250)}, start=log_id(-51, 199), **HOURLY) as rig:
        async with polled(rig, 5):
            pass
        assert await rig.stored() == rig.issued()[200:]
        assert late_count(rig) == 0


async def test_a_checkpoint_that_was_set_forgets_what_was_known_and_nothing_is_late_then(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(250)}, **HOURLY) as rig:
        await rig.drained()
        await rig.journal.set_checkpoint("acme", Checkpoint(log_id(-11, 239)).encode(), "", "")
        await rig.restart()
        async with polled(rig, 5):
            pass
        # Ten events again, as someone wanted it, and nothing else.
        assert rig.handle.figures.stored == 260
        assert late_count(rig) == 0


async def test_a_tenant_that_answers_with_other_pages_adds_nothing(tmp_path: Path) -> None:
    given = events(400)
    async with rigged(tmp_path, tenant={"events": given}, start=log_id(-301, 99), **HOURLY) as rig:
        await rig.drained()

        def oldest(asked: Asked) -> Answer:
            return rig.tenant.answer(replace(asked, query={**asked.query, "from": EARLIEST}))

        rig.tenant.script.extend([lambda _: None, lambda _: None, *[oldest] * PAGES])
        async with polled(rig, 4):
            pass
        assert await rig.stored() == given[100:]
        assert late_count(rig) == 0


async def test_a_429_ends_the_check_and_the_next_one_finds_it(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(950)}, **HOURLY) as rig:
        await rig.drained()
        rig.tenant.add(event(-1.5, 2000))
        refused = dated(rig.tenant, error(429, "Too Many Requests", "x", "too_many_requests"))
        rig.tenant.script.extend([lambda _: None, lambda _: None, lambda _: None, refused])
        before = len(rig.asked)
        async with polled(rig, 3):
            # Two polls, two requests of the check, and the next poll right as ever.
            assert len(rig.asked) - before == 5
            assert rig.sleeps.secs == [1800.0] * 3
            assert late_count(rig) == 0
            assert rig.source.health.state == "running"
            (line,) = [line for line in rig.capture.entries if line["event"] == "overlap check given up"]
            assert (line["reason"], line["log_level"]) == ("throttled", "info")
            assert rig.count("shipper_source_failures_total", reason="throttled") == 0
        await rig.restart()
        async with polled(rig, 7):
            assert late_count(rig) == 1


@pytest.mark.parametrize("body", [b"<html>", b'[{"log_id":"' + log_id(-5).encode() + b'"},{"type":tru}]'])
async def test_a_page_that_can_not_be_read_ends_the_check(tmp_path: Path, body: bytes) -> None:
    async with rigged(tmp_path, tenant={"events": events(50)}, **HOURLY) as rig:
        await rig.drained()

        def damage(_: Asked, answer: Answer) -> Answer:
            return Answer(200, {"Link": answer.headers["Link"]}, body)

        rig.tenant.script.extend([lambda _: None, lambda _: None, altered(rig.tenant, damage)])
        async with polled(rig, 4):
            assert rig.handle.figures.stored == 50
            assert rig.source.health.state == "running"
        (line,) = [line for line in rig.capture.entries if line["event"] == "overlap check given up"]
        assert line["reason"] == "bad_answer"


async def test_it_keeps_to_the_tenants_limits(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(950), "plan": "free"}, **HOURLY) as rig:
        late = event(-1.5, 2000)

        async def arrive(number: int) -> None:
            if rig.sleeps.secs[-1] == 1800.0:
                rig.tenant.script.append(lambda _: rig.tenant.add(late))
                rig.sleeps.then = None

        rig.sleeps.then = arrive
        async with polled(rig, 40):
            pass
        assert rig.count("shipper_source_requests_total", code="429") == 0
        assert late_count(rig) == 1


async def test_it_asks_for_nothing_that_the_retention_has_taken(tmp_path: Path) -> None:
    tenant = {"events": events(50), "retention_days": 1, "rejects_expired": True}
    async with rigged(tmp_path, tenant=tenant, start=log_id(-60), **{**HOURLY, "retention_days": 1.0}) as rig:
        await rig.drained()
        rig.clock.secs += 23.5 * 3600
        rig.tenant.add(event(rig.clock.secs, 60))
        await rig.restart()
        async with polled(rig, 3):
            # The check comes an hour later: the oldest known event has expired meanwhile, the newest one has not.
            margin = synthetic_id(int((START + rig.clock.secs - 86_400 + 3600) * 1000))
            assert [one.query["from"] for one in rig.asked][-2] == margin
        assert rig.count("shipper_source_requests_total", code="400") == 0
        assert late_count(rig) == 0


async def test_zero_switches_it_off_and_a_single_pass_does_without(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(250)}, **{**HOURLY, "overlap_check_secs": 0.0}) as rig:
        async with polled(rig, 9):
            assert len(rig.asked) == 3 + 9
        await rig.restart(overlap_check_secs=0.001)
        await rig.source.run(once=True)
        assert len(rig.asked) == 3 + 9 + 1


# -- as a process ------------------------------------------------------------------------------------------------------


def test_the_daemon_delivers_a_late_event_behind_the_others_and_counts_it(tmp_path: Path) -> None:
    client: dict[str, Any] = {"client_id": "canary-client", "client_secret": SECRETS["client_secret"], "plan": "none"}
    now = time.time() - START
    given = [event(now - 300 + number, number) for number in range(150)]
    with TenantThread(Tenant(events=given, **client)) as tenant:
        daemon = Daemon(tmp_path, tenant.url, "")
        settings = "poll_interval_secs = 0.1\noverlap_check_secs = 0.2\n"
        daemon.config.write_text(daemon.config.read_text().replace("poll_interval_secs = 0.1\n", settings))
        daemon.start()
        daemon.until(lambda: len(daemon.lines) == 150)
        tenant.tenant.add(event(now - 250.5, 2000))
        daemon.until(lambda: len(daemon.lines) == 151)
        assert [raw_of(line) for line in daemon.lines] == [*given, event(now - 250.5, 2000)]
        assert 'shipper_late_events_total{source="acme"} 1.0' in daemon.get("/metrics")[1]
        assert daemon.stop() == 0
