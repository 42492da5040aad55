"""The next page's request starts before this page's body is read, and never costs order, limits or cleanliness."""

import asyncio
import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from source_case import START, Rig, altered, events, log_id, our_tasks, rigged, round_trips, takes

from shipper.simulator.answer import Answer, Asked, error
from shipper.sources.start import EARLIEST

PAGES = [EARLIEST, log_id(-201, 99), log_id(-101, 199), log_id(-1, 299)]
"""Where the pages of `events(300)` begin; behind the last one there is nothing."""


def body_after(rig: Rig, gate: asyncio.Event) -> Callable[[Asked], Answer]:
    return altered(rig.tenant, lambda _, answer: replace(answer, body_after=gate))


def positions(rig: Rig) -> list[str]:
    return [one.query["from"] for one in rig.asked]


async def test_the_next_request_starts_once_the_link_is_in_and_before_the_body_is(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(300)}) as rig:
        gate = asyncio.Event()
        rig.tenant.script.append(body_after(rig, gate))
        polling = asyncio.create_task(rig.source.run(once=True))
        await rig.running.until(lambda: len(rig.asked) == 2)
        assert positions(rig) == PAGES[:2]
        assert rig.handle.figures.stored == 0
        assert rig.position == EARLIEST
        gate.set()
        await polling
        assert await rig.stored() == rig.issued()
        assert positions(rig) == PAGES


async def test_never_more_than_one_request_is_ahead(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(300)}) as rig:
        gate = asyncio.Event()
        rig.tenant.script.append(body_after(rig, gate))
        polling = asyncio.create_task(rig.source.run(once=True))
        await rig.running.until(lambda: len(rig.asked) == 2)
        # The second page has arrived whole by now; the third must not be asked for before the first is read.
        await round_trips(rig.running)
        assert positions(rig) == PAGES[:2]
        gate.set()
        await polling
        assert await rig.stored() == rig.issued()


async def test_pages_are_stored_in_order_though_the_later_one_arrives_first(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(300)}) as rig:
        first, second = asyncio.Event(), asyncio.Event()
        rig.tenant.script.extend([body_after(rig, first), lambda _: None, body_after(rig, second)])
        polling = asyncio.create_task(rig.source.run(once=True))
        await rig.running.until(lambda: len(rig.asked) == 2)
        await round_trips(rig.running)
        assert rig.handle.figures.stored == 0
        first.set()
        await rig.running.until(lambda: len(rig.asked) == 4)
        second.set()
        await polling
        assert await rig.stored() == rig.issued()


async def test_the_end_of_the_chain_is_not_asked_for_twice(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(300)}) as rig:
        gate = asyncio.Event()
        rig.tenant.script.extend([lambda _: None] * 3 + [body_after(rig, gate)])
        polling = asyncio.create_task(rig.source.run(once=True))
        await rig.running.until(lambda: len(rig.asked) == 4)
        await round_trips(rig.running)
        assert positions(rig) == PAGES
        gate.set()
        await polling
        assert positions(rig) == PAGES


@pytest.mark.parametrize("fault", ["truncated", "cut"])
async def test_what_was_asked_ahead_is_dropped_when_its_page_must_be_fetched_again(tmp_path: Path, fault: str) -> None:
    async with rigged(tmp_path, tenant={"events": events(300)}) as rig:
        gate, never = asyncio.Event(), asyncio.Event()

        def damaged(asked: Asked) -> Answer:
            answer = replace(rig.tenant.answer(asked), body_after=gate)
            half = len(answer.body) // 2
            return replace(answer, body=answer.body[:half]) if fault == "truncated" else replace(answer, cut_after=half)

        tasks: list[list[str]] = []

        async def look(_number: int) -> None:
            tasks.append(our_tasks())

        rig.sleeps.then = look
        rig.tenant.script.extend([damaged, body_after(rig, never)])
        polling = asyncio.create_task(rig.source.run(once=True))
        await rig.running.until(lambda: len(rig.asked) == 2)
        gate.set()
        await polling
        assert positions(rig) == [*PAGES[:2], *PAGES]
        assert await rig.stored() == rig.issued()
        assert tasks == [["Reading.run"]]


async def test_nothing_is_asked_ahead_at_the_reserve_of_the_bucket(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(300)}) as rig:

        def low(asked: Asked, answer: Answer) -> Answer:
            limits = {"x-ratelimit-limit": "10", "x-ratelimit-remaining": "2", "x-ratelimit-reset": f"{START + 3:.0f}"}
            return replace(answer, headers={**answer.headers, **limits}, body_after=gate)

        gate = asyncio.Event()
        rig.tenant.script.append(altered(rig.tenant, low))
        polling = asyncio.create_task(rig.source.run(once=True))
        await rig.running.until(lambda: len(rig.asked) == 1)
        await round_trips(rig.running)
        assert positions(rig) == PAGES[:1]
        gate.set()
        await polling
        assert await rig.stored() == rig.issued()
        assert rig.sleeps.secs == [3.0]


async def test_nothing_is_asked_ahead_while_a_page_is_read_in_parts(tmp_path: Path) -> None:
    given = events(120)
    given[110] = given[110].replace(b'"type":"s"', b'"type":tru')
    async with rigged(tmp_path, tenant={"events": given}) as rig:
        await rig.source.run(once=True)
        # Each smaller page was asked for once only: one ahead would have had to be asked for again.
        small = [(one.query["from"], one.query["take"]) for one in rig.asked if one.query["take"] not in ("100", "1")]
        assert len(small) == len(set(small))
        assert 1 in takes(rig.asked)


async def test_a_failed_request_ahead_is_this_pages_trouble_only_when_its_turn_comes(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(300)}) as rig:
        gate = asyncio.Event()
        rig.tenant.script.extend([body_after(rig, gate), error(503, "x", "x")])
        polling = asyncio.create_task(rig.source.run(once=True))
        await rig.running.until(lambda: len(rig.asked) == 2)
        await round_trips(rig.running)
        assert rig.source.health.state == "running"
        gate.set()
        await polling
        assert await rig.stored() == rig.issued()
        assert rig.sleeps.secs == [1.0]
        assert positions(rig) == [*PAGES[:2], *PAGES[1:]]


# -- cancellation ------------------------------------------------------------------------------------------------------


def complaints() -> list[str]:
    """What the loop has to say of exceptions that nobody took."""
    found: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(str(context["message"])))
    return found


@pytest.mark.parametrize("held", ["token", "headers", "body", "ahead", "sleep"])
async def test_a_source_that_is_cancelled_ends_at_once_wherever_it_waits(tmp_path: Path, held: str) -> None:
    never, found = asyncio.Event(), complaints()
    async with rigged(tmp_path, tenant={"events": events(300)}) as rig:

        async def hold(_: Asked) -> None:
            await never.wait()

        if held == "token":
            rig.tenant.token_script.append(hold)
        elif held == "headers":
            rig.tenant.script.append(hold)
        elif held == "sleep":
            rig.sleeps.hold_at(1)
        else:
            rig.tenant.script.extend(
                [lambda _: None, body_after(rig, never)] if held == "ahead" else [body_after(rig, never)]
            )
        polling = asyncio.create_task(rig.source.run())
        await (rig.sleeps.held.wait() if held == "sleep" else rig.running.until(lambda: bool(rig.tenant.requests)))
        await round_trips(rig.running)
        polling.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait([polling])
        assert polling.cancelled()
        await rig.source.close()
        assert our_tasks() == []
        never.set()
        gc.collect()
        await asyncio.sleep(0)
        assert found == []


@pytest.mark.parametrize("fault", ["", "500:0.15,reset:0.15,truncated:0.1,401:0.1"])
async def test_cancelled_at_every_step_it_loses_nothing_and_leaves_nothing_behind(tmp_path: Path, fault: str) -> None:
    found = complaints()
    async with rigged(tmp_path, tenant={"count": 4_000, "fault": fault}) as rig:
        rig.backoff = replace(rig.backoff, initial=0.0)
        cancelled, ids = 0, list(rig.tenant.ids())
        for steps in range(0, 200, 4):
            await rig.restart()
            polling = asyncio.create_task(rig.source.run(once=True))
            for _ in range(steps):
                await asyncio.sleep(0)
            polling.cancel()
            ended, _ = await asyncio.wait([polling], timeout=5)
            assert ended
            cancelled += polling.cancelled()
            await rig.source.close()
            assert our_tasks() == []
            await rig.journal.alive()
            # Never past what is stored: the checkpoint is that of the last event.
            if rig.handle.figures.stored:
                assert rig.position == ids[rig.handle.figures.stored - 1]
        assert cancelled > 20
        await rig.restart()
        assert await rig.drained() == rig.issued()
        gc.collect()
        await asyncio.sleep(0)
        assert found == []


async def test_closing_ends_all_requests_and_connections(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(300)}) as rig:
        rig.tenant.script.extend([body_after(rig, asyncio.Event())] * 2)
        polling = asyncio.create_task(rig.source.run())
        await rig.running.until(lambda: len(rig.asked) == 2)
        polling.cancel()
        await asyncio.wait([polling])
        assert our_tasks() != []
        await rig.source.close()
        assert our_tasks() == []
        session: Any = rig.source.api._http._session
        assert session.closed
        await rig.source.close()
