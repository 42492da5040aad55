"""The last quarter of an hour of every source and lane, so that a status page opened now shows how it came to this."""

import asyncio
import time
from collections import deque
from typing import Any

import msgspec

from shipper.scene import Scene

EVERY_SECS = 10.0
KEPT = 90


class Sample(msgspec.Struct, frozen=True):
    """How far everything was at one moment.

    at: milliseconds since 1970 UTC. sources: events stored, by name. lanes: events delivered, lag in events and in
    seconds, by source and sink.
    """

    at: int
    sources: dict[str, int]
    lanes: dict[tuple[str, str], tuple[int, int, float | None]]


class History:
    """Samples of a scene, the oldest given up for the newest."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._samples: deque[Sample] = deque(maxlen=KEPT)

    async def keep(self) -> None:
        """Samples until it is cancelled."""
        while True:
            self.sample(int(time.time() * 1000))
            await asyncio.sleep(EVERY_SECS)

    def sample(self, at: int) -> None:
        """Adds this moment. A clock that was set back begins a new history, so that times only ever grow."""
        if self._samples and at <= self._samples[-1].at:
            self._samples.clear()
        figures = self._scene.figures()
        lanes: dict[tuple[str, str], tuple[int, int, float | None]] = {}
        for source in figures.sources.values():
            for sink, lane in source.lanes.items():
                behind = self._scene.lane_lag_secs(source, lane)
                lag_secs = None if behind is None else round(behind, 1)
                lanes[source.name, sink] = lane.delivered, lane.lag, lag_secs
        stored = {name: source.stored for name, source in figures.sources.items()}
        self._samples.append(Sample(at, stored, lanes))

    def since(self, after: int) -> dict[str, Any]:
        """What was sampled behind this time, in columns; all of it, and `whole`, where it is nothing of this history.

        A source or lane that was not there at a time has null in its place.
        """
        whole = not self._samples or not self._samples[0].at <= after <= self._samples[-1].at
        samples = [sample for sample in self._samples if whole or sample.at > after]
        sources = {name: None for sample in samples for name in sample.sources}
        lanes = {key: None for sample in samples for key in sample.lanes}
        return {
            "every_seconds": EVERY_SECS,
            "whole": whole,
            "times": [sample.at for sample in samples],
            "sources": [
                {"source": name, "events": [sample.sources.get(name) for sample in samples]} for name in sources
            ],
            "lanes": [_columns(key, [sample.lanes.get(key) for sample in samples]) for key in lanes],
        }


def _columns(key: tuple[str, str], rows: list[tuple[int, int, float | None] | None]) -> dict[str, Any]:
    delivered, lag_events, lag_secs = zip(*(row or (None, None, None) for row in rows), strict=True)
    return {
        "source": key[0],
        "sink": key[1],
        "delivered": delivered,
        "lag_events": lag_events,
        "lag_seconds": lag_secs,
    }
