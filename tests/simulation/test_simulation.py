"""The program in virtual time, killed, stopped or cancelled at every step: nothing is lost, invented or altered.

What a failure says (seed, fault, step) is all that a run depends on. `SIMULATION_SEEDS=37-38` runs other seeds.
"""

import asyncio
import multiprocessing
import os
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import ClassVar

import pytest
from simulation_case import Plant, every_step

from shipper.event import Page
from shipper.journal import Appended, Burial, Limits, Stretch
from shipper.journal.sqlite import SqliteLane, SqliteSource

SEEDS = range(*map(int, os.environ.get("SIMULATION_SEEDS", "0-50").split("-")))


def test_nothing_is_lost_whatever_happens_at_any_step() -> None:
    # Processes, since each has one loop to itself: as many as there are cores.
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        outcomes = list(pool.map(every_step, SEEDS))
    assert [finding for _, found in outcomes for finding in found] == []
    assert sum(runs for runs, _ in outcomes) > 100 * len(SEEDS), "it has become too short to find anything"


class CheckpointFirst(SqliteSource):
    async def append(self, page: Page) -> Appended:
        await super().append(Page([], page.checkpoint, page.horizon))
        return await super().append(page)


class AckBeforeWrite(SqliteLane):
    async def read(
        self, after: int, limits: Limits, upto: int | None = None, without: Sequence[range] = ()
    ) -> Stretch | None:
        stretch = await super().read(after, limits, upto, without)
        if stretch is not None:
            await super().ack(stretch.last)
        return stretch


class LateAck(SqliteLane):
    _acks: ClassVar[list[asyncio.Task[None]]] = []

    async def ack(self, upto: int, dead: Sequence[Burial] = (), left_out: Sequence[range] = ()) -> None:
        self._acks[:] = [
            *(task for task in self._acks if not task.done()),
            asyncio.ensure_future(self._late(upto, dead, left_out)),
        ]

    async def _late(self, upto: int, dead: Sequence[Burial], left_out: Sequence[range]) -> None:
        await asyncio.sleep(4)
        await super().ack(upto, dead, left_out)


class NothingReserved(SqliteLane):
    async def reserve(self, first: int, last: int, left_out: Sequence[range] = ()) -> bool:
        return False


class ReservedWhole(SqliteLane):
    async def reserve(self, first: int, last: int, left_out: Sequence[range] = ()) -> bool:
        return await super().reserve(first, last)


@pytest.mark.parametrize(
    ("plant", "said", "seeds"),
    [
        (Plant(source=CheckpointFirst), "the checkpoint is ahead", range(3)),
        (Plant(lane=AckBeforeWrite), "neither taken nor buried", range(3)),
        (Plant(lane=LateAck), "twice for|move together", range(3)),
        (Plant(lane=NothingReserved), "twice: in|delivered of", range(8, 11)),
        (Plant(lane=ReservedWhole), "move together", range(33, 34)),
    ],
    ids=[
        "checkpoint before events",
        "ack before write",
        "ack after a while",
        "ranges not reserved",
        "ranges reserved without what is left out",
    ],
)
def test_a_planted_bug_is_found(plant: Plant, said: str, seeds: range) -> None:
    for seed in seeds:
        _, found = every_step(seed, plant)
        if found:
            assert re.search(said, found[0])
            return
    pytest.fail("nobody noticed")
