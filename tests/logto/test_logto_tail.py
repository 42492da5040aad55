"""Reading a Logto tenant's log: everything once, oldest first, and where it goes on."""

from pathlib import Path
from typing import Any

import pytest
from logto_case import LOGS, MARGIN, NOW, asked_for, event, events, logto_reading, logto_rigged
from source_case import Clock, journal_at

from shipper.simulator.logto import LogtoTenant
from shipper.simulator.server import serve
from shipper.sources.logto_window import LIVE_OVERLAP_MS, MOST

RELEASES = pytest.mark.parametrize("knows_times", [True, False], ids=["by-time", "by-pages"])


@RELEASES
async def test_everything_older_than_the_margin_is_stored_once_oldest_first(
    in_memory_path: Path, knows_times: bool
) -> None:
    made = events(350)
    young = [event(NOW - MARGIN + 1 + number, 1000 + number) for number in range(9)]
    async with logto_rigged(in_memory_path, tenant={"events": [*made, *young], "knows_times": knows_times}) as rig:
        assert await rig.drained() == made
        rig.clock.secs += 20
        assert await rig.drained() == made + young
        assert rig.handle.figures.horizon == NOW + 20_000 - MARGIN


@RELEASES
async def test_a_backlog_is_read_in_parts_none_of_which_is_large(in_memory_path: Path, knows_times: bool) -> None:
    made = events(4 * MOST, step_ms=137)
    async with logto_rigged(in_memory_path, tenant={"events": made, "knows_times": knows_times}) as rig:
        assert await rig.drained() == made
        sizes = [int(one["page"]) * int(one["page_size"]) for one in asked_for(rig.asked) if "end_time" in one]
        assert max(sizes) <= MOST + 200
        # A page for each hundred, some to find the beginning, and some that show the edge between two parts again.
        assert len(rig.asked) < 110


async def test_every_window_ends_before_the_margin_and_begins_within_what_is_known(in_memory_path: Path) -> None:
    async with logto_rigged(in_memory_path, tenant={"events": events(20)}) as rig:
        await rig.drained()
        rig.clock.secs += 5
        rig.tenant.add(event(NOW - 6_000, 99))
        await rig.drained()
        *_, last = asked_for(rig.asked)
        assert int(last["end_time"]) == NOW + 5_000 - MARGIN + 1
        assert int(last["start_time"]) == NOW - MARGIN - LIVE_OVERLAP_MS - 1


@RELEASES
async def test_a_restart_goes_on_where_the_journal_stands(in_memory_path: Path, knows_times: bool) -> None:
    made = events(150)
    async with logto_rigged(in_memory_path, tenant={"events": made[:120], "knows_times": knows_times}) as rig:
        await rig.drained()
        for raw in made[120:]:
            rig.tenant.add(raw)
        await rig.restart()
        assert await rig.drained() == made
        assert rig.count("shipper_events_duplicate_total") == 0


@RELEASES
async def test_a_checkpoint_alone_is_enough_to_double_nothing(in_memory_path: Path, knows_times: bool) -> None:
    # So it is after `--recover`: a new journal that knows no id, and the place that the old one had.
    same_time = [event(NOW - MARGIN, 500 + number) for number in range(40)]
    clock = Clock()
    tenant = LogtoTenant(
        events=[*events(60, upto=NOW - MARGIN - 1), *same_time],
        clock=clock.wall,
        knows_times=knows_times,
        logs_tokens=False,
    )
    async with serve(tenant) as running:
        async with journal_at(in_memory_path / "old") as journal, logto_reading(journal, running, clock) as rig:
            assert len(await rig.drained()) == 100
            kept = rig.handle.figures.checkpoint
        assert kept is not None
        late = event(NOW - MARGIN - 1_500, 900)
        tenant.add(late)
        tenant.add(event(NOW, 901))
        clock.secs += 60
        async with journal_at(in_memory_path / "new") as journal, logto_reading(journal, running, clock) as rig:
            await rig.handle.begin("recovered", kept, NOW)
            stored = await rig.drained()
        assert stored == [late, event(NOW, 901)]


@RELEASES
async def test_rows_of_one_time_that_change_places_between_two_pages_are_all_read(
    in_memory_path: Path, knows_times: bool
) -> None:
    made = [*events(30), *[event(NOW - MARGIN, 500 + number) for number in range(330)]]
    made += [event(NOW - MARGIN + 5, 2_000)]
    async with logto_rigged(in_memory_path, tenant={"events": made, "knows_times": knows_times}) as rig:
        rig.clock.secs += 60
        assert sorted(await rig.drained()) == sorted(made)


async def test_an_event_that_was_committed_after_its_margin_is_stored_late_and_told_once(in_memory_path: Path) -> None:
    made = events(20)
    async with logto_rigged(in_memory_path, tenant={"events": made}) as rig:
        await rig.drained()
        late = [event(NOW - MARGIN - 500 - number, 100 + number) for number in range(2)]
        for raw in late:
            rig.tenant.add(raw)
            assert (await rig.drained())[20:] == late[: late.index(raw) + 1]
        assert rig.count("shipper_late_events_total") == 2
        told = [line for line in rig.capture.entries if "committed later" in line["event"]]
        assert [line["events"] for line in told] == [1]
        assert "window_margin_secs" in told[0]["do"]


async def test_a_window_margin_of_ones_own_is_kept(in_memory_path: Path) -> None:
    made = events(60, upto=NOW)
    async with logto_rigged(in_memory_path, tenant={"events": made}, window_margin_secs=30.0) as rig:
        assert await rig.drained() == made[:-30]


async def test_only_events_of_the_filters_are_asked_for(in_memory_path: Path) -> None:
    made = [
        event(NOW - 90_000, 1, more=b',"applicationId":"a1","userId":"u 1"'),
        event(NOW - 80_000, 2, more=b',"applicationId":"a1","userId":"u2"'),
        event(NOW - 70_000, 3, more=b',"applicationId":"a2","userId":"u 1"'),
        event(NOW - 60_000, 4, key="Unknown", more=b',"applicationId":"a1","userId":"u 1"'),
    ]
    wanted: dict[str, Any] = {"log_key": "Interaction.SignIn.Submit", "application_id": "a1", "user_id": "u 1"}
    async with logto_rigged(in_memory_path, tenant={"events": made}, **wanted) as rig:
        assert await rig.drained() == made[:1]


async def test_keys_that_logto_does_not_show_are_no_reason_to_wait(in_memory_path: Path) -> None:
    hidden = [event(NOW - 50_000, 7, key="TriggerHook.PostSignIn"), event(NOW - 40_000, 8, key="TrustedDevice.Used")]
    async with logto_rigged(in_memory_path, tenant={"events": [*events(5), *hidden]}) as rig:
        assert await rig.drained() == events(5)


@pytest.mark.parametrize(
    ("start", "first"),
    [("earliest", 0), ("latest", 40), ("2026-09-21T14:13:00Z", None), ("2026-09-21T16:13:00+02:00", None)],
)
async def test_reading_begins_at_the_start(in_memory_path: Path, start: str, first: int | None) -> None:
    from shipper.sources.start import time_in

    made = events(40)
    later = [event(NOW + number, 100 + number) for number in range(5)]
    async with logto_rigged(in_memory_path, tenant={"events": made}, start=start) as rig:
        assert await rig.drained() == ([] if start == "latest" else rig.issued()[-len(await rig.stored()) :])
        for raw in later:
            rig.tenant.add(raw)
        rig.clock.secs += 60
        everything = made + later
        begin = first if first is not None else sum(NOW - MARGIN - (39 - n) * 1000 < time_in(start) for n in range(40))
        assert await rig.drained() == everything[begin:]


async def test_the_first_start_tells_how_much_there_is(in_memory_path: Path) -> None:
    async with logto_rigged(in_memory_path, tenant={"events": events(1_234)}) as rig:
        import asyncio

        telling = asyncio.create_task(rig.source.tell_first_start())
        await asyncio.sleep(0)
        await rig.drained()
        await telling
        lines = [line["event"] for line in rig.capture.entries]
        assert "first start: 1,234 events, 1,234 of the last day" in lines
        assert [line["resolved"] for line in rig.capture.entries if line["event"] == "first start"] == [0]


async def test_a_release_that_knows_no_times_is_told_of_once(in_memory_path: Path) -> None:
    async with logto_rigged(in_memory_path, tenant={"events": events(150), "knows_times": False}) as rig:
        await rig.drained()
        await rig.drained()
        told = [line for line in rig.capture.entries if "start_time" in line["event"]]
        assert len(told) == 1


async def test_pages_are_asked_for_as_the_api_allows(in_memory_path: Path) -> None:
    for knows_times in (True, False):
        made = {"events": events(1_500, step_ms=3), "knows_times": knows_times}
        async with logto_rigged(in_memory_path / str(knows_times), tenant=made) as rig:
            await rig.drained()
            assert {one.path for one in rig.asked} == {LOGS}
            assert all(int(one["page"]) >= 1 and 1 <= int(one["page_size"]) <= 100 for one in asked_for(rig.asked))
            assert rig.count("shipper_source_requests_total", code="400") == 0
            assert rig.token_requests == 1
