"""The fault matrix of the sinks: each row of `sink_faults_case.py` for each sink it names, at up to three moments."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from lane_under_fault_case import LaneUnderFault, assert_told, issued, lane_for, repeats
from place_case import CANARY, KEEPERS, Place
from sink_faults_case import (
    DEADLINE_SECS,
    FIRST,
    LONGEST_BACKOFF_SECS,
    S3,
    SHUTDOWN,
    SINK_FAULTS,
    SinkFault,
)
from tls_case import make_certificates, proxy

EVENTS, BATCH = 12, 4
CELLS = [
    pytest.param(fault, sink, moment, id=f"{fault.id}-{sink}-{moment}")
    for fault in SINK_FAULTS
    for sink in fault.sinks
    for moment in fault.moments
]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module", autouse=True)
def boto3_is_loaded() -> None:
    """Its import takes longer than a write may in some cells."""
    import sinks.s3_store  # noqa: F401


@asynccontextmanager
async def stage(fault: SinkFault, sink: str, state_dir: Path, certificates: Path) -> AsyncIterator[tuple[Place, Any]]:
    """A place that is well, and a lane into it."""
    folder = certificates if fault.tls else None
    async with AsyncExitStack() as stack:
        place = stack.enter_context(Place(KEEPERS[sink](), certificates=folder))
        general: dict[str, Any] = dict(fault.settings)
        if fault.hangs:
            general["request"] = {"timeout_secs": DEADLINE_SECS}
        if fault.tls:
            general["tls"] = {"ca_file": certificates / "authority.pem"}
        if fault.proxied:
            place.way = await stack.enter_async_context(proxy())
            general["proxy"] = place.way.url()
        yield place, await stack.enter_async_context(lane_for(place.keeper.sink(place.url, **general), state_dir))


@pytest.mark.parametrize(("fault", "sink", "moment"), CELLS)
async def test_a_fault_loses_nothing_is_counted_is_told_and_is_over_when_it_ends(
    fault: SinkFault,
    sink: str,
    moment: str,
    in_memory_path: Path,
    certificates: Path,
    aws: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    aws(("made-up-access-key", CANARY))
    culprit = (2 if moment == FIRST else 6) if fault.gives_up else 0
    events = issued(EVENTS, culprit, fault.every_secs)
    with Place(KEEPERS[sink]()) as stranger:
        async with stage(fault, sink, in_memory_path, certificates) as (place, lane):
            place.elsewhere = stranger.url
            if moment == FIRST:
                await lane.store(events)
            else:
                await lane.store(events[:BATCH])
                await lane.deliver()
                await lane.store(events[BATCH:])
            await asyncio.to_thread(fault.begin, place)
            if moment == SHUTDOWN:
                await shut_down_and_start_again(fault, place, lane, events)
            else:
                await deliver_through(fault, place, lane)
            assert lane.lane.figures.lag == 0
            await lane.assert_nothing_lost(events, place.keeper.taken)
            assert await lane.culprits_given_up() == [True] * fault.gives_up
            assert_counted(fault, sink, lane)
            assert_logged(fault, sink, lane, after_a_restart=moment == SHUTDOWN)
            assert_repeats(fault, sink, place, lane)
    assert stranger.requests == [], "followed a redirect"
    printed = capfd.readouterr()
    lane.assert_no_leak(printed.out + printed.err + caplog.text)


async def deliver_through(fault: SinkFault, place: Place, lane: LaneUnderFault) -> None:
    """Some writes fail, then the fault ends: the very next write is through."""
    flapping = fault.id.startswith("K16")
    lane.heal, lane.heal_after = place.heal, 0 if fault.gives_up or flapping else fault.writes
    await lane.deliver()
    if lane.heal_after:
        assert lane.failures() == lane.failed_until_healed == fault.writes
        assert lane.waits == [max(fault.asks or 0.0, secs) for secs in (1.0, 2.0)][: fault.writes]
    assert max([0.0, *lane.waits]) <= max(LONGEST_BACKOFF_SECS, fault.asks or 0.0)
    if flapping:
        assert set(lane.waits) == {1.0}, "a failure right after a success does not back off further"
        assert lane.writes()["delivered"] >= 0.4 * sum(lane.writes().values())


async def shut_down_and_start_again(fault: SinkFault, place: Place, lane: LaneUnderFault, events: list[Any]) -> None:
    """Stopped while the fault is on: the write in hand ends or is cut off; the next process delivers."""
    lane.parked = asyncio.Event()
    before = len(place.requests)
    task = asyncio.create_task(lane.delivery.run())
    hit = asyncio.create_task(place.received(before + 1))
    waits = asyncio.create_task(lane.parked.wait())
    await asyncio.wait([hit, waits], return_when=asyncio.FIRST_COMPLETED)
    lane.delivery.stop(task)
    if fault.hangs:
        task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.done(), "does not end"
    assert task.cancelled() or task.exception() is None
    for other in (hit, waits):
        other.cancel()
    await asyncio.gather(hit, waits, return_exceptions=True)
    await lane.assert_nothing_lost(events, place.keeper.taken)
    failed = lane.failures()
    if not fault.gives_up:
        await asyncio.to_thread(place.heal)
    await lane.reopen()
    await lane.deliver()
    if not fault.gives_up:
        assert lane.failures() == failed, "fails although the fault has ended"


def assert_counted(fault: SinkFault, sink: str, lane: LaneUnderFault) -> None:
    if fault.hangs and not lane.failures():
        return  # cut off by the shutdown, before it could fail
    assert set(lane.writes()) == {"delivered", fault.outcome}
    assert set(lane.failures_by_reason()) == {fault.reason_at(sink)}
    assert sum(lane.failures_by_reason().values()) == lane.failures()


def assert_logged(fault: SinkFault, sink: str, lane: LaneUnderFault, *, after_a_restart: bool) -> None:
    if fault.gives_up or not lane.failures():
        assert lane.capture.entries == []
        return
    told = lane.lines(fault.state_at(sink))
    assert_told(told[0], fault.reason_at(sink), fault.words)
    if after_a_restart:
        return
    recovered = lane.lines("recovered")
    assert len(recovered) == len(told), "one line when it begins and one when it ends"
    assert recovered[0]["reason"] == fault.reason_at(sink)


def assert_repeats(fault: SinkFault, sink: str, place: Place, lane: LaneUnderFault) -> None:
    """At most a batch for each write whose outcome was unknown; in the store nothing at all."""
    unknown = lane.failures() or 1
    allowed = BATCH * unknown if fault.takes and sink != S3 else 0
    assert repeats(place.keeper.taken) <= allowed
    if fault.takes and sink != S3:
        assert repeats(place.keeper.taken) > 0, "the fault did not do what it is there for"
