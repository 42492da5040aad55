"""What the source makes of every kind of answer: the same page again, never skipped, at the right time."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from source_case import (
    EVERYTHING,
    START,
    Clock,
    Rig,
    altered,
    always,
    dated,
    event,
    events,
    journal_at,
    log_id,
    our_tasks,
    reading,
    rigged,
    round_trips,
    takes,
    until,
)

from shipper.reasons import Reason
from shipper.secret import Secret
from shipper.simulator.answer import Answer, Asked, error, json_answer
from shipper.simulator.server import Running
from shipper.simulator.tenant import Tenant
from shipper.sources.chain import Checkpoint
from shipper.sources.start import EARLIEST

HTML = Answer(200, {"Content-Type": "text/html"}, b"<!doctype html><title>Sign in</title>")
OBJECT = json_answer(200, {"start": 0, "limit": 50, "logs": []})


def truncated(tenant: Tenant) -> Callable[[Asked], Answer]:
    return altered(tenant, lambda _, a: replace(a, body=a.body[: len(a.body) // 2]))


def cut(tenant: Tenant) -> Callable[[Asked], Answer]:
    return altered(tenant, lambda _, a: replace(a, cut_after=len(a.body) // 2))


def reset(_: Tenant) -> Callable[[Asked], Answer]:
    return lambda _: Answer(cut_after=-1)


def fixed(answer: Answer) -> Callable[[Tenant], Callable[[Asked], Answer]]:
    return lambda _: lambda _: answer


TROUBLE: dict[str, tuple[Callable[[Tenant], Callable[[Asked], Answer]], Reason, str]] = {
    "500": (fixed(error(500, "Internal Server Error", "x")), "server_error", "500"),
    "502 with HTML": (fixed(Answer(502, {}, b"<html>")), "server_error", "502"),
    "503 with nothing": (fixed(Answer(503)), "server_error", "503"),
    "504": (fixed(Answer(504)), "server_error", "504"),
    "429": (fixed(error(429, "Too Many Requests", "x")), "throttled", "429"),
    "404": (fixed(error(404, "Not Found", "x")), "not_found", "404"),
    "400": (fixed(error(400, "Bad Request", "x")), "refused", "400"),
    "414": (fixed(error(414, "URI Too Long", "x")), "bad_answer", "414"),
    "204": (fixed(Answer(204)), "bad_answer", "204"),
    "HTML with 200": (fixed(HTML), "bad_answer", "200"),
    "an object with 200": (fixed(OBJECT), "bad_answer", "200"),
    "nothing with 200": (fixed(Answer(200)), "bad_answer", "200"),
    "no gzip though it says so": (fixed(Answer(200, {"Content-Encoding": "gzip"}, b"[]")), "bad_answer", "error"),
    "an unknown encoding": (fixed(Answer(200, {"Content-Encoding": "br"}, b"[]")), "bad_answer", "error"),
    "truncated JSON": (truncated, "bad_answer", "200"),
    "a cut connection": (cut, "bad_answer", "error"),
    "a reset connection": (reset, "unreachable", "error"),
}


@pytest.mark.parametrize("name", TROUBLE)
@pytest.mark.parametrize("gzipped", [True, False])
async def test_after_trouble_the_same_page_is_asked_for_again_and_nothing_is_skipped(
    tmp_path: Path, name: str, gzipped: bool
) -> None:
    make, reason, code = TROUBLE[name]
    async with rigged(tmp_path, tenant={"count": 500, "gzip": gzipped}) as rig:
        usual = rig.count("shipper_source_requests_total", code=code)
        # Twice each, since the HTTP library itself repeats a request whose reused connection was reset.
        bad = make(rig.tenant)
        rig.tenant.script.extend([lambda _: None, bad, bad, lambda _: None, lambda _: None, bad, bad])
        assert await rig.drained() == rig.issued()
        assert rig.count("shipper_source_failures_total", reason=reason) >= 1
        assert rig.count("shipper_source_requests_total", code=code) > usual
        assert rig.sleeps.secs
        assert set(rig.sleeps.secs) <= {1.0, 2.0}
        assert rig.count("shipper_events_duplicate_total") == 0
        assert rig.source.health.state == "running"


async def test_backoff_grows_to_a_minute_and_starts_anew_after_a_good_page(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(250)}) as rig:
        always(rig.tenant, lambda _: error(503, "x", "x"))
        rig.sleeps.hold_at(9)
        polling = asyncio.create_task(rig.source.run())
        await rig.sleeps.held.wait()
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        assert rig.sleeps.secs == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
        assert {one.query["from"] for one in rig.asked} == {EARLIEST}
        rig.tenant.script[:] = [lambda _: None, lambda _: error(503, "x", "x")]
        rig.sleeps.secs.clear()
        assert await rig.drained() == rig.issued()
        assert rig.sleeps.secs == [1.0]


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (error(503, "x", "x"), "waiting"),
        (HTML, "waiting"),
        (error(404, "x", "x"), "held"),
        (error(400, "x", "x"), "held"),
    ],
)
async def test_a_single_pass_gives_up_after_a_minute_of_trouble(tmp_path: Path, answer: Answer, state: str) -> None:
    async with rigged(tmp_path, tenant={"events": events(50)}) as rig:
        always(rig.tenant, lambda _: answer)
        await rig.source.run(once=True)
        assert rig.source.health.state == state
        assert 60.0 <= rig.clock.secs <= 130.0


# -- who may read ------------------------------------------------------------------------------------------------------


async def test_after_401_one_fresh_token_and_the_same_request_again(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(350)}) as rig:
        rig.tenant.script.extend([lambda _: None, lambda _: rig.tenant.revoke_tokens()])  # type: ignore[func-returns-value]
        assert await rig.drained() == rig.issued()
        assert rig.token_requests == 2
        refused = int(rig.count("shipper_source_requests_total", code="401"))
        assert refused >= 1
        assert rig.sleeps.secs == []
        assert rig.count("shipper_source_failures_total", reason="auth") == 0


async def test_requests_that_are_refused_together_renew_the_token_once(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(50)}) as rig:
        target = f"/api/v2/logs?from={EARLIEST}&take=1"
        await rig.source.api.get(target)
        rig.tenant.revoke_tokens()
        answers = await asyncio.gather(*(rig.source.api.get(target) for _ in range(12)))
        assert {answer.status for answer in answers} == {200}
        assert rig.token_requests == 2
        assert rig.count("shipper_token_requests_total") == 2


async def test_first_requests_together_fetch_one_token(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(50)}) as rig:
        target = f"/api/v2/logs?from={EARLIEST}&take=1"
        await asyncio.gather(*(rig.source.api.get(target) for _ in range(12)))
        assert rig.token_requests == 1


async def test_a_second_401_holds_the_source_and_names_the_scope(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(50)}) as rig:
        always(rig.tenant, lambda _: error(401, "Unauthorized", "Invalid token"))
        rig.sleeps.hold_at(1)
        polling = asyncio.create_task(rig.source.run())
        await rig.sleeps.held.wait()
        assert (rig.source.health.state, rig.source.health.reason) == ("held", "auth")
        assert "read:logs" in rig.source.health.note
        assert len(rig.asked) == 2
        assert rig.token_requests == 2
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)


async def test_403_holds_the_source_and_names_the_missing_scope(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(50), "scope": "read:users"}) as rig:
        rig.sleeps.hold_at(1)
        polling = asyncio.create_task(rig.source.run())
        await rig.sleeps.held.wait()
        assert (rig.source.health.state, rig.source.health.reason) == ("held", "forbidden")
        assert "scope read:logs" in rig.source.health.note
        assert rig.count("shipper_source_failures_total", reason="forbidden") == 1
        assert (len(rig.asked), rig.token_requests) == (1, 1)
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)


async def test_what_was_held_goes_on_by_itself_once_it_is_put_right(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(150), "scope": "read:users"}) as rig:

        async def grant(_number: int) -> None:
            rig.tenant.tokens.scope = "read:logs"
            rig.tenant.revoke_tokens()

        rig.sleeps.then = grant
        assert await rig.drained() == rig.issued()
        assert [line["event"] for line in rig.capture.entries if line["event"] in ("held", "recovered")] == [
            "held",
            "recovered",
        ]


async def test_a_fixed_token_is_used_and_never_asked_again_with_when_it_is_refused(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(150), "token": "fixed-t"}, token=Secret("fixed-t")) as rig:
        assert await rig.drained() == rig.issued()
        assert rig.token_requests == 0
        rig.tenant.revoke_tokens()
        rig.sleeps.hold_at(1)
        before = len(rig.asked)
        polling = asyncio.create_task(rig.source.run())
        await rig.sleeps.held.wait()
        assert (rig.source.health.state, rig.source.health.reason) == ("held", "auth")
        assert "the configured token" in rig.source.health.note
        assert len(rig.asked) == before + 1
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)


async def test_a_fixed_token_that_its_file_has_anew_is_used_at_once(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old-one\n")
    async with rigged(tmp_path, tenant={"events": events(150), "token": "new-one"}, token=Secret(path=file)) as rig:

        def rotate(_: Asked) -> Answer:
            file.write_text("new-one\n")
            return error(401, "Unauthorized", "Expired token")

        rig.tenant.script.append(rotate)
        assert await rig.drained() == rig.issued()
        assert rig.sleeps.secs == []


# -- how fast ----------------------------------------------------------------------------------------------------------


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
        except ConnectionError:
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
    gone = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        begun = {"body": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n[", "headers": b"HTTP/1.1 200 OK\r\nX: "}
        writer.write(begun.get(slow, b""))
        while not reader.at_eof():
            writer.write(b" " if slow in begun else b"")
            await asyncio.sleep(0.02)
        gone.set()

    async with raw_server(drip) as url, journal_at(tmp_path) as journal:
        settings: dict[str, Any] = {"base_url": url, "token": Secret("x"), "request": {"timeout_secs": 0.2}}
        async with reading(journal, Running(Tenant(events=[])), Clock(), **settings) as rig:
            rig.sleeps.hold_at(1)
            polling = asyncio.create_task(rig.source.run())
            async with asyncio.timeout(5):
                await rig.sleeps.held.wait()
                await gone.wait()
            assert rig.source.health.reason == "timeout"
            assert rig.count("shipper_source_requests_total", code="timeout") == 1
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


# -- a page that can't be split ----------------------------------------------------------------------------------------


def broken(count: int, *places: int) -> list[bytes]:
    made = events(count)
    for place in places:
        made[place] = made[place].replace(b'"type":"s"', b'"type":tru')
    return made


async def test_an_event_that_is_no_json_holds_the_source_with_its_neighbours_stored_and_can_be_stepped_over(
    tmp_path: Path,
) -> None:
    given = broken(250, 130)
    async with rigged(tmp_path, tenant={"events": given}) as rig:
        await rig.source.run(once=True)
        assert (rig.source.health.state, rig.source.health.reason) == ("held", "undecodable")
        assert await rig.stored() == given[:130]
        before, broken_id = log_id(-121, 129), log_id(-120, 130)
        assert f"from={before} " in rig.source.health.note
        command = re.search(r"`shipper checkpoint set acme (\S+) --yes`", rig.source.health.note)
        assert command is not None
        assert command[1] == broken_id
        assert rig.position == before
        # The second page is fetched again as it was, then in halves; what could be read of it was stored.
        asked = [one for one in rig.asked if one.query["from"] == log_id(-151, 99)]
        assert takes(asked) == [100, 100, 50, 25]
        assert takes(rig.asked)[-1] == 1
        # As the command does.
        await rig.journal.set_checkpoint("acme", Checkpoint(command[1]).encode(), "stepped over", "a person")
        await rig.restart()
        assert await rig.drained() == given[:130] + given[131:]
        assert takes(rig.asked)[-1] == 100


async def test_a_page_that_was_only_damaged_on_its_way_is_asked_for_whole_again(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(250)}) as rig:
        rig.tenant.script.append(truncated(rig.tenant))
        assert await rig.drained() == rig.issued()
        assert set(takes(rig.asked)) == {100}


async def test_events_that_are_no_json_are_stepped_over_one_by_one(tmp_path: Path) -> None:
    given = broken(230, 0, 1, 99, 100, 229)
    async with rigged(tmp_path, tenant={"events": given}) as rig:
        stepped = []
        for _ in range(9):
            await rig.source.run(once=True)
            if rig.source.health.state == "running":
                break
            command = re.search(r"checkpoint set acme (\S+) --yes", rig.source.health.note)
            assert command is not None
            stepped.append(command[1])
            await rig.journal.set_checkpoint("acme", Checkpoint(command[1]).encode(), "stepped over", "a person")
            await rig.restart()
        assert stepped == [log_id(n - 230, n) for n in (0, 1, 99, 100, 229)]
        assert await rig.stored() == [raw for n, raw in enumerate(given) if n not in (0, 1, 99, 100, 229)]


async def test_nesting_without_end_holds_the_source_too(tmp_path: Path) -> None:
    deep = event(-5, 1, more=b',"details":' + b"[" * 200_000 + b"]" * 200_000)
    async with rigged(tmp_path, tenant={"events": [event(-9), deep, event(-1)]}) as rig:
        await rig.source.run(once=True)
        assert rig.source.health.reason == "undecodable"
        assert await rig.stored() == [event(-9)]


async def test_behind_an_opaque_link_an_unreadable_page_is_asked_for_by_position(tmp_path: Path) -> None:
    given = broken(120, 110)
    async with rigged(tmp_path, tenant={"events": given}) as rig:

        def opaque(asked: Asked) -> Answer:
            position = {"c": log_id(-21, 99)}.get(asked.query.get("cursor", ""), asked.query.get("from", ""))
            answer = rig.tenant.answer(replace(asked, query={"take": "100", **asked.query, "from": position}))
            if asked.query.get("from") == EARLIEST:
                return replace(answer, headers={**answer.headers, "Link": "</api/v2/logs?cursor=c>; rel=next"})
            return answer

        always(rig.tenant, opaque)
        await rig.source.run(once=True)
        assert rig.source.health.reason == "undecodable"
        assert await rig.stored() == given[:110]
        assert f"from={log_id(-11, 109)} " in rig.source.health.note


# -- the journal has no room -------------------------------------------------------------------------------------------


async def test_a_full_journal_stops_polling_until_there_is_room_again(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"count": 6_000}, journal={"max_bytes": 300_000}) as rig:
        polling = asyncio.create_task(rig.source.run(once=True))
        await until(rig.journal, "acme", lambda: rig.handle.figures.paused)
        await round_trips(rig.running)
        assert (rig.source.health.state, rig.source.health.reason) == ("paused", "journal_full")
        assert our_tasks() == ["Auth0Source.run"]
        asked, stored = len(rig.asked), rig.handle.figures.stored
        await round_trips(rig.running)
        assert (len(rig.asked), rig.handle.figures.stored) == (asked, stored)
        seen: list[bytes] = []
        while not polling.done():
            seen += await handed_out(rig)
            await rig.journal.trim()
            await asyncio.sleep(0)
        await polling
        seen += await handed_out(rig)
        assert seen == rig.issued()
        assert rig.count("shipper_events_duplicate_total") == 0
        assert rig.source.health.state == "running"


async def handed_out(rig: Rig) -> list[bytes]:
    """What waits, delivered as a lane would."""
    stretch = await rig.lane.read(rig.lane.figures.position, EVERYTHING)
    if stretch is None:
        return []
    await rig.lane.ack(stretch.last)
    return [event.raw for event in stretch.events]


async def test_a_full_disk_stores_nothing_by_halves_and_the_same_page_comes_again(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"count": 2_000}) as rig:

        def most_pages(number: int) -> None:
            rig.journal._store._db._db.execute(f"PRAGMA max_page_count={number}")

        figures: list[tuple[int, str]] = []

        async def free(number: int) -> None:
            figures.append((rig.handle.figures.stored, rig.position))
            if number == 3:
                await rig.journal.run(most_pages, 1 << 30)

        await rig.journal.run(most_pages, 60)
        rig.sleeps.then = free
        assert await rig.drained() == rig.issued()
        # The disk was full three times, with the checkpoint just behind what was stored.
        assert len(figures) == 3
        assert len(set(figures)) == 1
        stored, position = figures[0]
        assert 0 < stored < 2_000
        assert position == list(rig.tenant.ids())[stored - 1]
        assert rig.count("shipper_source_failures_total", reason="disk_full") == 3
        assert rig.count("shipper_events_duplicate_total") == 0


async def test_a_first_start_on_a_full_disk_waits_for_room(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"count": 50}) as rig:

        def most_pages(number: int) -> None:
            rig.journal._store._db._db.execute(f"PRAGMA max_page_count={number}")

        async def free(_number: int) -> None:
            await rig.journal.run(most_pages, 1 << 30)

        await rig.journal.run(most_pages, 1)
        rig.sleeps.then = free
        assert await rig.drained() == rig.issued()
        assert rig.count("shipper_source_failures_total", reason="disk_full") >= 1
