"""How often, how long and how much: a tenant's limits, and ours for its answers."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from source_case import (
    START,
    Clock,
    always,
    dated,
    event,
    events,
    journal_at,
    reading,
    rigged,
)

from shipper.secret import Secret
from shipper.simulator.answer import Answer, Asked, error
from shipper.simulator.server import Running
from shipper.simulator.tenant import Tenant


@pytest.mark.parametrize("skew", [0, 3600, -3600, 10 * 365 * 86400, -10 * 365 * 86400])
async def test_429_waits_for_the_reset_in_the_servers_time(tmp_path: Path, skew: int) -> None:
    async with rigged(tmp_path, tenant={"events": events(50), "skew_secs": skew}) as rig:
        limits = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(START) + skew + 7)}
        rig.tenant.script.append(dated(rig.tenant, error(429, "Too Many Requests", "x", "too_many_requests", limits)))
        await rig.drained()
        # The wait that was asked for, and up to a second of jitter.
        assert rig.sleeps.secs == [pytest.approx(8.0, abs=1.0)]
        assert rig.sleeps.secs[0] >= 7.0


async def test_a_reset_that_is_years_ahead_is_waited_for_a_minute_at_most(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(50)}) as rig:
        limits = {"x-ratelimit-reset": str(int(START) + 10**9)}
        rig.tenant.script.append(dated(rig.tenant, error(429, "x", "x", "", limits)))
        await rig.drained()
        assert rig.sleeps.secs == [61.0]


@pytest.mark.parametrize("headers", [{}, {"x-ratelimit-reset": "1"}, {"x-ratelimit-reset": "soon"}])
async def test_429_without_a_reset_to_come_backs_off(tmp_path: Path, headers: dict[str, str]) -> None:
    async with rigged(tmp_path, tenant={"events": events(50)}) as rig:
        rig.tenant.script.extend([dated(rig.tenant, error(429, "x", "x", "", headers))] * 3)
        await rig.drained()
        assert rig.sleeps.secs == [1.0, 2.0, 4.0]


async def test_429_again_and_again_is_tried_at_each_reset_and_leaves_no_turn_to_others(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(50)}) as rig:

        def refuse(asked: Asked) -> Answer:
            limits = {"x-ratelimit-reset": str(int(rig.tenant.now()) + 3)}
            return dated(rig.tenant, error(429, "x", "x", "", limits))

        rig.tenant.script.extend([refuse] * 8)
        await rig.drained()
        assert len(rig.sleeps.secs) == 8
        assert max(rig.sleeps.secs) <= 4.0


async def test_429_with_retry_after_waits_as_long(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(50)}) as rig:
        rig.tenant.script.append(error(429, "x", "x", "", {"Retry-After": "20"}))
        await rig.drained()
        assert rig.sleeps.secs == [21.0]


@pytest.mark.parametrize(("plan", "burst"), [("essentials", 10), ("enterprise", 50), ("enterprise_nonprod", 10)])
@pytest.mark.parametrize("skew", [0, -7200])
async def test_the_tenants_other_readers_keep_a_fifth_of_the_bucket(
    tmp_path: Path, plan: str, burst: int, skew: int
) -> None:
    async with rigged(tmp_path, tenant={"count": 9_000, "plan": plan, "skew_secs": skew}) as rig:
        left: list[int] = []

        def look(asked: Asked) -> Answer:
            answer = rig.tenant.answer(asked)
            left.append(int(answer.headers["x-ratelimit-remaining"]))
            return answer

        always(rig.tenant, look)
        assert await rig.drained() == rig.issued()
        assert rig.count("shipper_source_requests_total", code="429") == 0
        assert min(left) == burst // 5
        assert rig.count("shipper_source_rate_limit_remaining") == left[-1]
        # The rest of the bucket is used: the drain is as fast as the plan allows, but for rounding to whole seconds.
        sustained = {"essentials": 100 / 60, "enterprise": 16.0, "enterprise_nonprod": 2.0}[plan]
        assert rig.clock.secs <= 3.0 * max(1.0, (len(left) - burst * 0.8) / sustained)


async def test_the_smallest_plan_is_read_without_a_refusal(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"count": 1_000, "plan": "free"}) as rig:
        assert await rig.drained() == rig.issued()
        assert rig.count("shipper_source_requests_total", code="429") == 0


# -- too slow, too large -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def raw_server(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}"
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("slow", ["headers", "body", "nothing"])
async def test_one_deadline_holds_for_a_whole_request_however_steadily_it_drips(tmp_path: Path, slow: str) -> None:
    dripped, gone = asyncio.Event(), asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        begun = {"body": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n[", "headers": b"HTTP/1.1 200 OK\r\nX: "}
        writer.write(begun.get(slow, b""))
        dripped.set()
        # A client that leaves with some of it unread resets the connection: that is an exception, and no end.
        while not reader.at_eof() and reader.exception() is None:
            writer.write(b" " if slow in begun else b"")
            await asyncio.sleep(0.02)
        gone.set()

    async with raw_server(drip) as url, journal_at(tmp_path) as journal:
        settings: dict[str, Any] = {"base_url": url, "token": Secret("x"), "request": {"timeout_secs": 0.2}}
        async with reading(journal, Running(Tenant(events=[])), Clock(), **settings) as rig:

            async def hold_once_it_dripped(waits: int) -> None:
                # A busy machine may let a request run out of time before it is heard at all.
                if dripped.is_set():
                    rig.sleeps.hold_at(waits)

            rig.sleeps.then = hold_once_it_dripped
            polling = asyncio.create_task(rig.source.run())
            async with asyncio.timeout(30):
                await rig.sleeps.held.wait()
                await gone.wait()
            assert rig.source.health.reason == "timeout"
            assert rig.count("shipper_source_requests_total", code="timeout") == len(rig.sleeps.secs)
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)


@pytest.mark.parametrize("packed", [True, False])
async def test_an_answer_of_more_than_16_mib_is_refused_and_asked_for_again(tmp_path: Path, packed: bool) -> None:
    body = b"[" + b" " * (16 << 20) + b"]"
    headers = {"Content-Encoding": "gzip"} if packed else {}
    async with rigged(tmp_path, tenant={"events": events(150)}) as rig:
        rig.tenant.script.append(Answer(200, headers, gzip.compress(body, 1) if packed else body))
        assert await rig.drained() == rig.issued()
        assert rig.sleeps.secs == [1.0]
        assert any(f"more than {16 << 20} bytes" in note for note in rig.notes())


async def test_an_answer_just_below_16_mib_is_read(tmp_path: Path) -> None:
    given = [event(n, n, more=b',"details":"' + b"x" * 160_000 + b'"') for n in range(100)]
    async with rigged(tmp_path, tenant={"events": given}) as rig:
        assert await rig.drained() == given
        assert rig.sleeps.secs == []
