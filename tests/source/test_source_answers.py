"""What the source makes of every kind of answer: the same page again, never skipped, at the right time."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from source_case import (
    altered,
    always,
    events,
    rigged,
)

from shipper.reasons import Reason
from shipper.secret import Secret
from shipper.simulator.answer import Answer, Asked, error, json_answer
from shipper.simulator.tenant import Tenant
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


@pytest.mark.parametrize(
    ("name", "gzipped"), [*((name, True) for name in TROUBLE), ("truncated JSON", False), ("a cut connection", False)]
)
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
        rig.tenant.script.extend([lambda _: None, lambda _: rig.tenant.revoke_tokens()])
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
