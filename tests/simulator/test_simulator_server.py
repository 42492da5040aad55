"""The tenant over HTTP: the recorded exchanges, the chain, and what tests steer it with."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from shipper.simulator.answer import Answer, Asked, json_answer
from shipper.simulator.server import Running, serve
from shipper.simulator.tenant import Tenant

SHARED = Path(__file__).resolve().parents[3] / "shared"
NEXT = re.compile(r'<(http://[^/>]+)(/api/v2/logs\?from=([^&>]*)&take=(\d+))>; rel="next"')


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def bearer(running: Running) -> dict[str, str]:
    return {"Authorization": f"Bearer {running.tenant.issue_token()}"}


async def walk(client: aiohttp.ClientSession, running: Running, first: str = "", take: int = 7) -> list[bytes]:
    """Follow the chain from `first` to the first empty page, and return the bodies without their brackets."""
    headers, bodies = bearer(running), list[bytes]()
    path = f"/api/v2/logs?from={first}&take={take}"
    while True:
        async with client.get(running.url + path, headers=headers) as response:
            assert response.status == 200
            body = await response.read()
            link = NEXT.fullmatch(response.headers["Link"])
        assert link is not None
        assert link[1] == running.url
        assert link[4] == str(take)
        if body == b"[]":
            assert link[2] == path
            return bodies
        bodies.append(body[1:-1])
        path = link[2]


async def test_the_chain_visits_every_event_exactly_once_in_ascending_order(client: aiohttp.ClientSession) -> None:
    tenant = Tenant(count=1_000, plan="none")
    async with serve(tenant) as running:
        bodies = await walk(client, running, take=33)
    assert b",".join(bodies) == b",".join(raw for _, raw in tenant.issued())
    ids = [event["log_id"] for body in bodies for event in json.loads(b"[" + body + b"]")]
    assert len(ids) == 1_000
    assert ids == sorted(set(ids))


async def test_the_chain_goes_on_exclusively_from_any_position(client: aiohttp.ClientSession) -> None:
    tenant = Tenant(count=60, plan="none")
    everything = list(tenant.issued())
    async with serve(tenant) as running:
        for start in (0, 31, 58, 59):
            bodies = await walk(client, running, everything[start][0])
            assert b",".join(bodies) == b",".join(raw for _, raw in everything[start + 1 :])


@pytest.mark.parametrize("gzip", [False, True])
async def test_given_events_arrive_byte_for_byte(client: aiohttp.ClientSession, gzip: bool) -> None:
    events = [b'{"log_id":"9%055d","n":1.10,"t":"\\u00e9\\/\xc3\xa9","b":12345678901234567890}' % n for n in range(30)]
    async with serve(Tenant(events=events, plan="none", gzip=gzip)) as running:
        bodies = await walk(client, running)
    assert b",".join(bodies) == b",".join(events)


async def test_compression_is_only_for_those_who_accept_it(client: aiohttp.ClientSession) -> None:
    async with serve(Tenant(count=100, plan="none")) as running:
        url, encodings = f"{running.url}/api/v2/logs?from=&take=100", []
        for accepted in ("gzip, deflate", "identity"):
            async with client.get(url, headers={**bearer(running), "Accept-Encoding": accepted}) as response:
                assert len(await response.json()) == 100
                encodings.append(response.headers.get("Content-Encoding"))
    assert encodings == ["gzip", None]


async def test_recorded_events_are_served_as_they_were(client: aiohttp.ClientSession) -> None:
    recorded = SHARED / "samples" / "api_raw_ruby_auth0_MIT.json"
    if not recorded.exists():
        pytest.skip("the collected recordings are not beside this checkout")
    async with serve(Tenant(plan="none", events_file=str(recorded))) as running:
        bodies = await walk(client, running)
    served = json.loads(b"[" + b",".join(bodies) + b"]")
    assert served == sorted(json.loads(recorded.read_bytes()), key=lambda event: str(event["log_id"]))


async def test_a_checkpoint_page_has_the_recorded_headers(client: aiohttp.ClientSession) -> None:
    async with serve(Tenant(count=10)) as running:
        first = running.tenant.ids().__next__()
        url = f"{running.url}/api/v2/logs?from={first}&take=1"
        async with client.get(url, headers=bearer(running)) as response:
            (event,) = await response.json()
            headers = response.headers
    assert headers["Link"] == f'<{running.url}/api/v2/logs?from={event["log_id"]}&take=1>; rel="next"'
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["Cache-Control"] == "no-cache"
    assert headers["Vary"] == "origin,accept-encoding"
    assert (headers["X-Ratelimit-Limit"], headers["X-Ratelimit-Remaining"]) == ("50", "49")
    assert headers["X-Ratelimit-Reset"].isdecimal()
    assert headers["Date"].endswith(" GMT")


async def test_without_from_the_newest_fifty_come_first_and_nothing_leads_on(client: aiohttp.ClientSession) -> None:
    async with serve(Tenant(count=200)) as running:
        response = await client.get(f"{running.url}/api/v2/logs?take=5", headers=bearer(running))
        found = [event["log_id"] for event in await response.json()]
        assert "Link" not in response.headers
        assert found == list(running.tenant.ids())[:-51:-1]


@pytest.mark.parametrize(
    ("configured", "origin"),
    [("acme.us.auth0.com", "https://acme.us.auth0.com"), ("http://other.example:81", "http://other.example:81")],
)
async def test_link_names_the_configured_host(client: aiohttp.ClientSession, configured: str, origin: str) -> None:
    async with serve(Tenant(count=3, link_host=configured)) as running:
        response = await client.get(f"{running.url}/api/v2/logs?from=", headers=bearer(running))
        assert response.headers["Link"].startswith(f"<{origin}/api/v2/logs?from=900")


def wire_examples() -> list[dict[str, Any]]:
    file = SHARED / "samples" / "wire_examples.json"
    return json.loads(file.read_bytes()) if file.exists() else []


@pytest.mark.parametrize(
    ("what", "status", "headers"),
    [
        ("missing bearer", 401, {}),
        ("expired bearer", 401, {"Authorization": "Bearer old"}),
        ("scope missing (shape from docs tables: error code insufficient_scope)", 403, {"Authorization": "Bearer few"}),
    ],
)
async def test_refusals_have_the_recorded_shape(
    client: aiohttp.ClientSession, what: str, status: int, headers: dict[str, str]
) -> None:
    examples = {example["what"]: example for example in wire_examples()}
    if not examples:
        pytest.skip("the collected recordings are not beside this checkout")
    tenant = Tenant(token="few" if "few" in str(headers) else "old", scope="read:users")
    if "old" in str(headers):
        tenant.revoke_tokens()
    async with serve(tenant) as running:
        response = await client.get(f"{running.url}/api/v2/logs?from=", headers=headers)
        body = await response.json()
    recorded = examples[what]["body"]
    assert response.status == recorded["statusCode"] == status
    # The wording of a missing scope was never recorded, only its shape.
    assert {**body, "message": ""} == {**recorded, "message": ""}
    if status == 401:
        assert body["message"] == recorded["message"]


async def test_script_answers_the_next_requests_and_then_the_tenant_goes_on(client: aiohttp.ClientSession) -> None:
    async def later(asked: Asked) -> Answer:
        await asyncio.sleep(0)
        return json_answer(503, {"path": asked.path})

    tenant = Tenant(count=1, plan="none")
    tenant.script += [Answer(418, {"X-Odd": "1"}, b"tea"), later, lambda asked: None]
    tenant.token_script.append(json_answer(429, {"error": "too_many_requests"}, {"Retry-After": "3"}))
    async with serve(tenant) as running:
        seen = []
        for _ in range(4):
            async with client.get(f"{running.url}/api/v2/logs?from=", headers=bearer(running)) as response:
                seen.append((response.status, await response.read()))
        async with client.post(f"{running.url}/oauth/token", json={}) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "3")
    event = next(raw for _, raw in tenant.issued())
    assert seen == [(418, b"tea"), (503, b'{"path":"/api/v2/logs"}'), (200, b"[%b]" % event), (200, b"[%b]" % event)]


async def test_requests_tell_what_was_asked(client: aiohttp.ClientSession) -> None:
    tenant = Tenant(count=1)
    async with serve(tenant) as running:
        response = await client.get(f"{running.url}/api/v2/logs?from=900%20x&take=2", headers={"X-Me": "ü"})
        assert response.status == 401
    (asked,) = tenant.requests
    assert (asked.method, asked.path, asked.query) == ("GET", "/api/v2/logs", {"from": "900 x", "take": "2"})
    assert asked.headers["x-me"] == "ü"


async def test_until_waits_for_a_number_of_requests(client: aiohttp.ClientSession) -> None:
    tenant = Tenant(count=1)
    async with serve(tenant) as running, asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(running.until(lambda: len(tenant.requests) == 2))
        for expected in (False, True):
            await (await client.get(f"{running.url}/api/v2/logs?from=")).read()
            assert waiting.done() == expected


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(200, {}, b"[1,2]", cut_after=-1), aiohttp.ServerDisconnectedError),
        (Answer(200, {}, b"[1,2]", cut_after=3), aiohttp.ClientPayloadError),
    ],
)
async def test_a_torn_answer_is_an_error_for_its_reader(
    client: aiohttp.ClientSession, answer: Answer, error: type[Exception]
) -> None:
    tenant = Tenant(count=1)
    # aiohttp's client repeats a GET once by itself when a kept connection is gone.
    tenant.script += [answer, answer]
    async with serve(tenant) as running:
        with pytest.raises((error, aiohttp.ClientOSError)):
            async with client.get(f"{running.url}/api/v2/logs?from=") as response:
                await response.read()


async def test_a_body_can_be_held_back_behind_its_headers(client: aiohttp.ClientSession) -> None:
    tenant, gate = Tenant(count=1), asyncio.Event()
    tenant.script.append(Answer(200, {"Link": "<x>"}, b"[]", body_after=gate))
    async with serve(tenant) as running:
        response = await client.get(f"{running.url}/api/v2/logs?from=")
        assert response.headers["Link"] == "<x>"
        gate.set()
        assert await response.read() == b"[]"


async def test_another_process_learns_what_was_issued(client: aiohttp.ClientSession) -> None:
    tenant = Tenant(count=2_345)
    async with serve(tenant) as running:
        async with client.get(f"{running.url}/_simulator/count") as response:
            assert await response.json() == {"issued": 2_345}
        async with client.get(f"{running.url}/_simulator/ids") as response:
            assert (await response.text()).splitlines() == list(tenant.ids())
        async with client.get(f"{running.url}/_simulator/issued") as response:
            assert (await response.read()).splitlines() == [raw for _, raw in tenant.issued()]
        async with client.get(f"{running.url}/_simulator/secrets") as response:
            assert response.status == 404
    assert tenant.requests == []


async def simulator(*flags: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "shipper", "simulate", *flags,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_the_program_says_where_it_listens_serves_and_ends_cleanly_when_told(
    client: aiohttp.ClientSession,
) -> None:
    process = await simulator("--count", "12", "--plan", "none", "--no-gzip", "--token", "abc")
    assert process.stdout is not None
    assert process.stderr is not None
    line = (await process.stdout.readline()).decode()
    said = re.match(r"tenant (http://127\.0\.0\.1:\d+) .*issued=12 ", line)
    assert said, line
    assert "simulated-secret" not in line
    headers = {"Authorization": "Bearer abc"}
    async with client.get(f"{said[1]}/api/v2/logs?from=&take=100", headers=headers) as response:
        assert len(await response.json()) == 12
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert await process.stderr.read() == b""


@pytest.mark.parametrize("flags", [["--nonsense", "1"], ["--count", "x"], ["--rate"], ["--plan", "gold"]])
async def test_the_program_refuses_flags_it_does_not_know(flags: list[str]) -> None:
    process = await simulator(*flags)
    out, told = await process.communicate()
    assert (process.returncode, out) == (2, b"")
    assert told
    assert b"Traceback" not in told
