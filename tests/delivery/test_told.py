"""What delivery tells a sink about its batch, and a sink about what is no failure."""

from pathlib import Path
from typing import Any

from lane_case import Destination, Lane, Step, lane_of

from shipper import Batch, Rejected, Unavailable


class Replaying(Destination):
    replays_batches = True

    def __init__(self, script: list[Step | None], **settings: Any) -> None:
        super().__init__(script, **settings)
        self.replayed: list[tuple[int, bool]] = []

    async def write(self, batch: Batch) -> float | None:
        self.replayed.append((len(batch.events), batch.replayed))
        return await super().write(batch)


def unavailable(batch: Batch) -> None:
    raise Unavailable("timeout")


async def test_a_range_is_replayed_from_its_second_write_on_also_in_another_process(tmp_path: Path) -> None:
    sink = Replaying([unavailable] * 20, batch={"max_events": 3})
    async with lane_of(tmp_path, sink, 5) as lane:
        await lane.deliver()
        tries = len(sink.replayed)
        lane.restart()
        sink.script = []
        await lane.deliver()
    assert sink.replayed[:tries] == [(3, False)] + [(3, True)] * (tries - 1)
    assert sink.replayed[tries:] == [(3, True), (2, False)]


async def test_a_half_is_a_range_of_its_own(tmp_path: Path) -> None:
    def too_large(batch: Batch) -> None:
        raise Rejected("too_large")

    sink = Replaying([too_large], batch={"max_events": 4})
    async with lane_of(tmp_path, sink, 4) as lane:
        await lane.deliver()
    assert sink.replayed == [(4, False), (2, False), (2, False)]


async def test_a_sink_that_replays_nothing_is_told_nothing(tmp_path: Path) -> None:
    told: list[bool] = []

    def note(batch: Batch) -> None:
        told.append(batch.replayed)
        if len(told) < 3:
            unavailable(batch)

    async with lane_of(tmp_path, Destination(rule=note), 1) as lane:
        await lane.deliver()
    assert told == [False] * 3


def counted(lane: Lane) -> float | None:
    labels = {"source": "acme", "sink": "siem", "notice": "key_conflict"}
    return lane.metrics.registry.get_sample_value("shipper_notices_total", labels)


async def test_a_notice_is_counted_each_time_and_logged_at_once_and_then_hourly(tmp_path: Path) -> None:
    def tell(batch: Batch) -> None:
        batch.tell("key_conflict", "our own words")

    async with lane_of(tmp_path, Destination(rule=tell, batch={"max_events": 1}), 3) as lane:
        assert counted(lane) == 0
        await lane.deliver()
        assert counted(lane) == 3
        lane.now += 3600
        await lane.store(4, 4)
        await lane.deliver()
        assert counted(lane) == 4
        assert [(call.method_name, call.kwargs["note"], call.kwargs["times"]) for call in lane.log.calls] == [
            ("error", "our own words", 1),
            ("error", "our own words", 3),
        ]
        assert lane.figures.delivered == 4
