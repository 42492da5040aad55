"""HEC's acknowledgement under faults: always sent again, never counted as delivered, and over when the fault ends."""

import asyncio
from pathlib import Path

import pytest
from ack_faults_case import ACK_FAULTS, CALM, HURRY, AckFault, AckKeeper, HurriedLoop, hurried
from lane_under_fault_case import LaneUnderFault, assert_told, issued, lane_for, repeats
from place_case import Place
from sink_faults_case import FIRST, SHUTDOWN

from shipper import Event

EVENTS, BEFORE = 16, 4
CELLS = [pytest.param(fault, moment, id=f"{fault.id}-{moment}") for fault in ACK_FAULTS for moment in fault.moments]


@pytest.mark.parametrize(("fault", "moment"), CELLS)
def test_what_is_not_acknowledged_is_sent_again_and_never_counted_as_delivered(
    fault: AckFault,
    moment: str,
    in_memory_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    lane = hurried(cell(fault, moment, in_memory_path))
    printed = capfd.readouterr()
    lane.assert_no_leak(printed.out + printed.err + caplog.text)


async def cell(fault: AckFault, moment: str, state_dir: Path) -> LaneUnderFault:
    events, keeper = issued(EVENTS), AckKeeper()
    before = 0 if moment == FIRST else BEFORE
    with Place(keeper) as place:
        async with lane_for(keeper.sink(place.url), state_dir) as lane:
            if before:
                await lane.store(events[:before])
                await lane.deliver()
            await lane.store(events[before:])
            fault.begin(keeper)
            if fault.reason == "unacknowledged":
                loop().go(HURRY)
            if moment == SHUTDOWN:
                await shut_down_and_start_again(place, lane, events)
            else:
                await deliver_through(place, lane, before)
                assert set(lane.failures_by_reason()) == {fault.reason}
                assert_told(lane.lines(fault.state)[0], fault.reason, fault.words)
                assert len(lane.lines("recovered")) == 1
            assert lane.lane.figures.delivered == EVENTS
            assert await lane.journal.dead_letters() == []
            await lane.assert_nothing_lost(events, keeper.taken)
            assert bool(repeats(keeper.taken)) == fault.repeats
            assert repeats(keeper.taken) <= EVENTS - before
            return lane


def loop() -> HurriedLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, HurriedLoop)
    return running


async def deliver_through(place: Place, lane: LaneUnderFault, before: int) -> None:
    """One write fails and delivers nothing, then the fault ends: the very next write is through."""

    def heal() -> None:
        assert lane.lane.figures.delivered == before, "counted as delivered"
        place.heal()
        running.call_soon_threadsafe(running.go, CALM)

    running = loop()
    lane.heal, lane.heal_after = heal, 1
    await lane.deliver()
    assert lane.failures() == lane.failed_until_healed == 1
    assert lane.waits == [1.0]


async def shut_down_and_start_again(place: Place, lane: LaneUnderFault, events: list[Event]) -> None:
    """Stopped while a write waits for its acknowledgement, and not waited for; the next process delivers."""
    lane.parked = asyncio.Event()
    before = len(place.requests)
    task = asyncio.create_task(lane.delivery.run())
    asked = asyncio.create_task(place.received(before + (EVENTS - BEFORE) // 4 + 1, within_secs=1000))
    waits = asyncio.create_task(lane.parked.wait())
    await asyncio.wait([asked, waits], return_when=asyncio.FIRST_COMPLETED)
    lane.delivery.stop(task)
    for one in (task, asked, waits):
        one.cancel()
    await asyncio.gather(task, asked, waits, return_exceptions=True)
    assert lane.lane.figures.delivered == BEFORE, "counted as delivered"
    await lane.assert_nothing_lost(events, place.keeper.taken)
    failed = lane.failures()
    place.heal()
    loop().go(CALM)
    await lane.reopen()
    await lane.deliver()
    assert lane.failures() == failed, "fails although the fault has ended"
