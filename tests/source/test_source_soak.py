"""Everything at once: random faults over the whole chain, and restarts in between."""

import asyncio
import random
from pathlib import Path

import pytest
from source_case import rigged

from shipper.retry import Backoff

FAULTS = "429:0.05,500:0.05,reset:0.05,html:0.03,truncated:0.03,cut:0.03,401:0.02"


@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize("plan", ["none", "enterprise"])
async def test_with_random_faults_everything_is_stored_exactly_once_in_order(
    tmp_path: Path, seed: int, plan: str
) -> None:
    async with rigged(tmp_path, tenant={"count": 3_000, "fault": FAULTS, "seed": seed, "plan": plan}) as rig:
        rig.backoff = Backoff(initial=0.1, cap=1.0, draw=random.Random(seed).random)
        await rig.restart()
        assert await rig.drained() == rig.issued()
        assert [event.id for event in await rig.events()] == list(rig.tenant.ids())
        assert rig.handle.figures.stored == 3_000
        assert rig.count("shipper_events_duplicate_total") == 0
        assert rig.sleeps.secs


@pytest.mark.parametrize("seed", range(2))
async def test_with_random_faults_and_restarts_everything_is_stored_exactly_once_in_order(
    tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    async with rigged(tmp_path, tenant={"count": 6_000, "fault": FAULTS, "seed": seed}) as rig:
        rig.backoff = Backoff(initial=0.1, cap=1.0, draw=draw.random)
        for _ in range(12):
            await rig.restart()
            polling = asyncio.create_task(rig.source.run(once=True))
            some = len(rig.asked) + draw.randrange(1, 8)
            crashed = asyncio.create_task(rig.running.until(lambda some=some: len(rig.asked) >= some))  # type: ignore[misc]
            await asyncio.wait([polling, crashed], return_when=asyncio.FIRST_COMPLETED)
            polling.cancel()
            crashed.cancel()
            await asyncio.wait([polling, crashed])
        await rig.restart()
        assert await rig.drained() == rig.issued()
