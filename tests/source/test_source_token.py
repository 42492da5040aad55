"""The access token: fetched rarely, renewed in time, and every way in which its endpoint can refuse."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import structlog
from source_case import Clock, events, rigged
from structlog.testing import LogCapture

from shipper.http import HttpClient
from shipper.metrics import Metrics
from shipper.reasons import Reason
from shipper.secret import Secret
from shipper.simulator.answer import Answer, Asked, error, json_answer
from shipper.sources.auth0_config import Auth0Config
from shipper.sources.auth0_grant import Auth0Grant
from shipper.sources.pace import ServerClock
from shipper.sources.start import EARLIEST
from shipper.sources.token import MAX_ANSWER_BYTES, Token
from shipper.sources.trouble import Trouble

TARGET = f"/api/v2/logs?from={EARLIEST}&take=1"
CANARY = "c4n4ry-s3cr3t"


def quota_used_up(headers: dict[str, str]) -> Answer:
    return json_answer(429, {"error": "too_many_requests", "error_description": "Client quota exceeded"}, headers)


async def test_one_token_does_for_many_pages(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"count": 3_000}) as rig:
        assert await rig.drained() == rig.issued()
        assert rig.token_requests == 1
        assert rig.count("shipper_token_requests_total") == 1


async def test_the_audience_is_the_tenants_own_domain_with_a_slash_whatever_the_address(tmp_path: Path) -> None:
    # The simulated tenant, which listens on another address, gives tokens for this audience only.
    async with rigged(tmp_path, tenant={"events": [], "domain": "other-one.eu.auth0.com"}) as rig:
        assert await rig.drained() == []
        assert rig.config.origin.startswith("http://127.0.0.1")


async def test_it_is_renewed_at_four_fifths_of_its_life_however_the_wall_clock_jumps(tmp_path: Path) -> None:
    clock = Clock()
    jump = 0.0
    async with rigged(tmp_path, clock=clock, tenant={"events": events(5), "token_life_secs": 1_000.0}) as rig:
        rig.source.api.server._wall = lambda: clock.wall() + jump
        await rig.source.api.get(TARGET)
        for secs, jump in ((100.0, 10**9), (500.0, -(10.0**9)), (799.0, 86_400.0)):  # noqa: B007
            clock.secs = secs
            await rig.source.api.get(TARGET)
            assert rig.token_requests == 1
        clock.secs = 800.0
        await asyncio.gather(*(rig.source.api.get(TARGET) for _ in range(6)))
        assert rig.token_requests == 2
        clock.secs = 1_599.0
        await rig.source.api.get(TARGET)
        assert rig.token_requests == 2
        assert rig.count("shipper_source_requests_total", code="401") == 0


async def test_while_it_is_still_valid_a_renewal_that_fails_stops_nothing(tmp_path: Path) -> None:
    clock = Clock()
    async with rigged(tmp_path, clock=clock, tenant={"count": 500, "token_life_secs": 1_000.0}) as rig:
        await rig.source.api.get(TARGET)
        rig.tenant.token_script.extend([error(503, "x", "x")] * 50)
        clock.secs = 850.0
        assert await rig.drained() == rig.issued()
        # One try, and then no other for a minute, however many pages come.
        assert rig.token_requests == 2
        assert [line["reason"] for line in rig.capture.entries if "renewed" in line["event"]] == ["server_error"]
        clock.secs = 911.0
        await rig.source.api.get(TARGET)
        assert rig.token_requests == 3
        clock.secs = 1_000.0
        with pytest.raises(Trouble, match="503"):
            await rig.source.api.get(TARGET)
        rig.tenant.token_script.clear()
        await rig.source.api.get(TARGET)
        assert rig.count("shipper_source_requests_total", code="401") == 0


@pytest.mark.parametrize(
    ("answer", "reason", "note"),
    [
        (json_answer(401, {"error": "access_denied", "error_description": CANARY}), "auth", "access_denied"),
        (json_answer(403, {"error": "access_denied", "error_description": CANARY}), "forbidden", "Management API"),
        (error(401, "Unauthorized", CANARY), "auth", "Unauthorized"),
        (error(403, "Forbidden", CANARY, "insufficient_scope"), "forbidden", "Forbidden"),
        (json_answer(400, {"error": "invalid_request", "error_description": CANARY}), "auth", "invalid_request"),
        (quota_used_up({"Retry-After": "30"}), "throttled", "too_many_requests"),
        (json_answer(500, {"error": CANARY + " " * 50}), "server_error", "HTTP 500 (no error code)"),
        (Answer(503, {}, b"<html>" + CANARY.encode()), "server_error", "HTTP 503 (no error code)"),
        (Answer(404, {}, b""), "not_found", "HTTP 404"),
        (Answer(302, {"Location": "https://evil.example/"}), "redirected", "HTTP 302"),
        (Answer(200, {}, b"<html>" + CANARY.encode()), "bad_answer", "no access token"),
        (Answer(200, {}, b""), "bad_answer", "no access token"),
        (json_answer(200, [CANARY]), "bad_answer", "no access token"),
        (json_answer(200, {"access_token": 7}), "bad_answer", "no access token"),
        (json_answer(200, {"access_token": ""}), "bad_answer", "no access token"),
        (json_answer(200, {"access_token": f"{CANARY}\r\nX-Evil: 1"}), "bad_answer", "no access token"),
        (json_answer(200, {"access_token": f"{CANARY}é"}), "bad_answer", "no access token"),
        (json_answer(200, {"token_type": "Bearer"}), "bad_answer", "no access token"),
        (Answer(200, {}, b'{"access_token":"' + b"x" * MAX_ANSWER_BYTES), "bad_answer", "more than 65536 bytes"),
        (Answer(200, {}, b"[" * 60_000), "bad_answer", "no access token"),
        (Answer(200, {"Content-Encoding": "gzip"}, b"nonsense"), "bad_answer", "gzip"),
        (Answer(cut_after=-1), "unreachable", "closed before the answer"),
    ],
)
async def test_a_refusal_says_why_without_quoting_and_is_waited_out(
    tmp_path: Path, answer: Answer, reason: Reason, note: str
) -> None:
    async with rigged(tmp_path, tenant={"events": events(150)}) as rig:
        rig.tenant.token_script.append(answer)
        assert await rig.drained() == rig.issued()
        assert rig.count("shipper_source_failures_total", reason=reason) == 1
        assert rig.sleeps.secs == [31.0 if reason == "throttled" else 1.0]
        assert rig.token_requests == 2
        text = json.dumps(rig.capture.entries, default=str)
        assert note in text
        assert CANARY not in text
        assert "simulated-secret" not in text


async def test_a_wrong_secret_holds_the_source_until_it_is_put_right(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("wrong-secret")
    async with rigged(tmp_path, tenant={"events": events(150)}, client_secret=Secret(path=file)) as rig:
        states = []

        async def correct(number: int) -> None:
            states.append((rig.source.health.state, rig.source.health.reason))
            if number == 2:
                file.write_text("simulated-secret")

        rig.sleeps.then = correct
        assert await rig.drained() == rig.issued()
        assert states == [("held", "auth")] * 2
        assert "check domain, client_id and client secret" in " ".join(rig.notes())
        assert "wrong-secret" not in json.dumps(rig.capture.entries, default=str)


@pytest.mark.parametrize("headers", [{"Retry-After": "soon"}, {"Retry-After": "-5"}, {}])
async def test_a_throttled_token_request_without_a_time_backs_off(tmp_path: Path, headers: dict[str, str]) -> None:
    async with rigged(tmp_path, tenant={"events": []}) as rig:
        rig.tenant.token_script.extend([quota_used_up(headers)] * 2)
        await rig.drained()
        assert rig.sleeps.secs == [1.0, 2.0]


async def test_an_absurd_retry_after_is_waited_for_five_minutes_at_most(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": []}) as rig:
        rig.tenant.token_script.append(quota_used_up({"Retry-After": "1000000000"}))
        rig.sleeps.hold_at(1)
        polling = asyncio.create_task(rig.source.run())
        await rig.sleeps.held.wait()
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        assert rig.sleeps.secs == [301.0]


async def test_a_slow_token_endpoint_meets_the_deadline(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(5)}, request={"timeout_secs": 0.2}) as rig:
        rig.tenant.token_script.append(Answer(body_after=asyncio.Event(), body=b"never"))
        assert await rig.drained() == rig.issued()
        assert rig.count("shipper_source_failures_total", reason="timeout") == 1


@pytest.mark.parametrize(
    ("scope", "superfluous"),
    [
        ("read:logs", 0),
        ("read:logs read:logs_users", 0),
        ("read:logs delete:users update:clients", 2),
        ("read:users read:logs read:logs_users", 1),
        ("", 0),
    ],
)
async def test_more_scope_than_is_needed_gets_one_warning(tmp_path: Path, scope: str, superfluous: int) -> None:
    async with rigged(tmp_path, tenant={"events": [], "scope": scope, "token_life_secs": 100.0}) as rig:
        for _ in range(3):
            await rig.source.api.token.get()
            rig.clock.secs += 90
        assert rig.token_requests == 3
        warnings = [line for line in rig.capture.entries if "superfluous_scopes" in line]
        assert [line["superfluous_scopes"] for line in warnings] == ([superfluous] if superfluous else [])


@pytest.mark.parametrize(
    ("answer", "life"),
    [
        ({"expires_in": 1_000}, 800.0),
        ({"expires_in": 10.5}, 8.4),
        ({}, 2_880.0),
        ({"expires_in": "1000"}, 2_880.0),
        ({"expires_in": 0}, 2_880.0),
        ({"expires_in": -5}, 2_880.0),
        ({"expires_in": 1e300}, 2_880.0),
        ({"expires_in": None}, 2_880.0),
    ],
)
async def test_a_life_that_makes_no_sense_is_taken_for_an_hour(
    tmp_path: Path, answer: dict[str, Any], life: float
) -> None:
    async with rigged(tmp_path, tenant={"events": []}) as rig:
        rig.tenant.token_script.append(json_answer(200, {"access_token": "one", "scope": 7, **answer}))
        assert await rig.source.api.token.get() == "one"
        rig.clock.secs = life - 0.1
        assert await rig.source.api.token.get() == "one"
        rig.clock.secs = life
        assert await rig.source.api.token.get() != "one"


async def test_a_caller_that_gives_up_leaves_the_token_to_the_next(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": []}) as rig:
        gate = asyncio.Event()

        async def hold(_: Asked) -> None:
            await gate.wait()

        rig.tenant.token_script.append(hold)
        first = asyncio.create_task(rig.source.api.token.get())
        second = asyncio.create_task(rig.source.api.token.get())
        await rig.running.until(lambda: rig.token_requests == 1)
        first.cancel()
        assert await second
        gate.set()
        assert rig.token_requests == 2
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_the_token_is_kept_in_memory_only(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(150)}) as rig:
        await rig.drained()
        token = await rig.source.api.token.get()
        assert len(token) > 20
        assert token.encode() not in everything_in(tmp_path)


def everything_in(place: Path) -> bytes:
    return b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file())


async def test_nobody_can_reach_the_endpoint_with_another_kind_of_settings() -> None:
    # A source with a fixed token has nothing to send to the token endpoint, so it must never ask it.
    config = Auth0Config(type="auth0", domain="acme.us.auth0.com", token=Secret("fixed"), base_url="http://127.0.0.1:9")
    http = HttpClient(proxy="none")
    log = structlog.wrap_logger(None, processors=[LogCapture()])
    token = Token(Auth0Grant(config), http, Metrics().source("acme"), log, server=ServerClock(), timeout_secs=1.0)
    assert await token.get() == "fixed"
    assert await token.renew("fixed") == "fixed"
    await http.close()
