"""Rough handling: a second daemon, a stopped process, a wall clock that jumps, few file descriptors, a backlog."""

import asyncio
import itertools
import json
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from daemon_case import SECRETS, Daemon, Hec, TenantThread, command, raw_of, until
from source_case import START, Clock, Rig, rigged

from bench.stage import DOMAIN, stage
from shipper import Batch, Sink, SinkConfig
from shipper.delivery import Delivery
from shipper.health import Health
from shipper.scripted import Destination, Received, Reply
from shipper.simulator.answer import Answer
from shipper.simulator.server import Running
from shipper.simulator.tenant import Tenant
from shipper.sources.auth0 import Auth0Source

CLIENT: dict[str, Any] = {"client_id": "canary-client", "client_secret": SECRETS["client_secret"], "plan": "none"}
COUNT = 700
HOUR, YEARS = 3_600.0, 10 * 365 * 86_400.0
FEW_DESCRIPTORS = 64
BACKLOG, LEVEL_AT = 40_000, 20_000
ALL_SINKS = """\
[sinks.observability]
type = "datadog"
url = "{url}"
api_key = "canary-dd-key"
add_tenant_name = false
request.retry_max_duration_secs = 0.2
[sinks.archive]
type = "s3"
bucket = "logs"
region = "us-east-1"
endpoint_url = "{url}"
batch.timeout_secs = 0
request.retry_max_duration_secs = 0.2
"""


@pytest.fixture
def tenant() -> Iterator[Running]:
    made = [raw for _, raw in Tenant(count=COUNT, **CLIENT).issued()]
    with TenantThread(Tenant(events=made, **CLIENT)) as running:
        yield running


def issued(running: Running) -> list[bytes]:
    return [raw for _, raw in running.tenant.issued()]


def late(number: int) -> bytes:
    """One more event, newer than all others."""
    return b'{"date":"2026-11-20T10:00:00.000Z","type":"s","log_id":"%d"}' % (95 * 10**54 + number)


# -- two daemons -------------------------------------------------------------------------------------------------------


def test_a_second_daemon_is_turned_away_within_a_second_and_the_first_is_not_disturbed(
    tmp_path: Path, tenant: Running
) -> None:
    with Destination(default=(hec := Hec())) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url, siem="batch.max_events = 5\n")
        daemon.start()
        daemon.until(lambda: len(hec.envelopes) > 50, "the first does not deliver")
        took, help_took = [], []
        for _ in range(3):
            began = time.monotonic()
            command("run", "--help")
            helped = time.monotonic()
            second = daemon.command("run")
            took.append(time.monotonic() - helped)
            help_took.append(helped - began)
            assert second.returncode == 75, second.stderr
        # Starting Python takes what it takes on a busy machine; none of it may be waiting for the other daemon.
        assert min(took) - min(help_took) < 1.0, (took, help_took)
        daemon.until(lambda: len(hec.envelopes) == COUNT, "the first stopped delivering")
        assert list(map(raw_of, hec.envelopes)) == issued(tenant)
        assert list(map(raw_of, daemon.lines)) == issued(tenant)
        assert daemon.records("waiting") == []
        assert daemon.records("held") == []
        assert daemon.stop() == 0


# -- a process that stands still ---------------------------------------------------------------------------------------


def test_a_daemon_that_stood_still_past_its_timeouts_and_token_goes_on_and_loses_nothing(tmp_path: Path) -> None:
    made = [raw for _, raw in Tenant(count=COUNT, **CLIENT).issued()]
    writing, go_on = threading.Event(), threading.Event()
    hec = Hec()

    def slow_once(request: Received) -> Reply:
        answer = hec(request)
        if len(hec.envelopes) > COUNT // 2 and not writing.is_set():
            writing.set()
            go_on.wait(20)
        return answer

    options = {**CLIENT, "token_life_secs": 1.0}
    with TenantThread(Tenant(events=made, **options)) as running, Destination(default=slow_once) as destination:
        siem = "batch.max_events = 50\nrequest.timeout_secs = 0.5\n"
        daemon = Daemon(tmp_path, running.url, destination.url, siem=siem)
        daemon.start()
        assert writing.wait(20), "it never wrote that much"
        daemon.process.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        for number in range(5):
            running.tenant.add(late(number))
        go_on.set()
        # Longer than the write's deadline, and than its token lives.
        until(lambda: time.monotonic() > stopped + 2.0)
        daemon.process.send_signal(signal.SIGCONT)
        expected = issued(running)
        assert len(expected) == COUNT + 5
        daemon.until(lambda: set(map(raw_of, hec.envelopes)) >= set(expected), "HEC misses events")
        daemon.until(lambda: len(daemon.lines) == len(expected), "stdout misses events")
        assert daemon.stop() == 0
    held = list(map(raw_of, hec.envelopes))
    assert list(dict.fromkeys(held)) == expected, "out of order"
    assert len(held) - len(expected) <= 50, "more than one batch came again"
    assert list(map(raw_of, daemon.lines)) == expected


# -- a wall clock that jumps -------------------------------------------------------------------------------------------


class Jumping(Clock):
    """Our machine's clock: the monotonic one goes its way, the wall clock is wrong by `wrong` seconds."""

    wrong = 0.0

    def wall(self) -> float:
        return START + self.secs + self.wrong


class Keeper(Sink):
    """Keeps what it gets, and lets the clock jump in each write."""

    def __init__(self, clock: Jumping, jumps: Iterator[float], **settings: Any) -> None:
        super().__init__(SinkConfig.model_validate({"type": "keeper", **settings}))
        self.clock, self.jumps = clock, jumps
        self.held: list[bytes] = []

    async def write(self, batch: Batch) -> None:
        self.held += [event.raw for event in batch.events]
        self.clock.wrong = next(self.jumps)


async def deliver_all(rig: Rig, clock: Jumping, sink: Sink) -> None:
    """The lane `probe`, until all that is stored is delivered."""
    delivery = Delivery(
        rig.lane,
        sink,
        Auth0Source.origin("acme", rig.config),
        slots=asyncio.Semaphore(1),
        health=Health(structlog.wrap_logger(None, processors=[rig.capture]), clock.monotonic),
        metrics=rig.metrics.lane("acme", "probe"),
        clock=clock.wall,
    )
    task = asyncio.create_task(delivery.run())
    delivery.finish(task)
    await asyncio.wait([task], timeout=10)
    assert rig.lane.figures.lag == 0, "it waits"


@pytest.mark.parametrize("jump", [HOUR, -HOUR, YEARS, -YEARS])
@pytest.mark.parametrize("keep_days", [0.0, 3.0])
async def test_a_wall_clock_that_jumps_with_every_page_and_write_loses_nothing(
    tmp_path: Path, jump: float, keep_days: float
) -> None:
    clock = Jumping()
    tenant = {"clock": lambda: START + clock.secs, "count": 450, "token_life_secs": 60.0}
    journal = {"clock": clock.wall, "keep_days": keep_days}
    async with rigged(tmp_path, clock=clock, tenant=tenant, journal=journal) as rig:
        jumps = itertools.cycle([jump, 0.0, -jump, 0.0, 0.0])

        def jump_then_answer(_asked: object) -> Answer | None:
            clock.wrong = next(jumps)
            rig.tenant.script.append(jump_then_answer)
            return None

        rig.tenant.script.append(jump_then_answer)
        sink = Keeper(clock, jumps, batch={"max_events": 40})
        await rig.source.run(once=True)
        for _ in range(3):
            clock.wrong = next(jumps)
            await rig.journal.trim()
        await deliver_all(rig, clock, sink)
        await rig.journal.trim()
        rig.tenant.script.clear()
        assert sink.held == rig.issued()
        assert rig.handle.figures.stored == 450
        assert await rig.journal.dead_letters() == []
        # A token's life is counted by the monotonic clock, and the server's time comes from the server.
        assert rig.token_requests == 1
        assert rig.source.api.server.now() == int((START + clock.secs) * 1000)


@pytest.mark.parametrize("jump", [HOUR, -HOUR, YEARS, -YEARS])
async def test_events_that_wait_for_a_fuller_batch_do_not_wait_for_the_clock_to_catch_up(
    tmp_path: Path, jump: float
) -> None:
    clock = Jumping()
    async with rigged(tmp_path, clock=clock, tenant={"count": 5}, journal={"clock": clock.wall}) as rig:
        sink = Keeper(clock, itertools.repeat(0.0), batch={"max_events": 1000, "timeout_secs": 0.3})
        await rig.source.run(once=True)
        clock.wrong = jump
        await deliver_all(rig, clock, sink)
        assert sink.held == rig.issued()


# -- few file descriptors ----------------------------------------------------------------------------------------------


class Everything:
    """Three destinations at one address; what each holds."""

    def __init__(self) -> None:
        self.hec = Hec()
        self.datadog: list[str] = []
        self.objects = 0

    def __call__(self, request: Received) -> Reply:
        if request.method == "PUT":
            self.objects += 1
            return Reply(200, headers={"ETag": '"made-up"'})
        if request.path == "/api/v2/logs":
            self.datadog += [entry["log_id"] for entry in json.loads(request.body)]
            return Reply(202, b"{}")
        return self.hec(request)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "made-up-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-aws-secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def limited(place: Path, tenant: Running, url: str) -> Daemon:
    """A daemon with four sinks that may have this few files open."""
    daemon = Daemon(place, tenant.url, url, extra=ALL_SINKS.format(url=url))
    daemon.start()
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (FEW_DESCRIPTORS, FEW_DESCRIPTORS))
    return daemon


def test_four_sinks_work_with_64_file_descriptors(tmp_path: Path, tenant: Running, aws: None) -> None:
    with Destination(default=(held := Everything())) as destination:
        daemon = limited(tmp_path, tenant, destination.url)
        daemon.until(lambda: held.objects and len(held.hec.envelopes) == len(held.datadog) == COUNT, "not delivered")
        daemon.until(lambda: len(daemon.lines) == COUNT)
        assert list(map(raw_of, held.hec.envelopes)) == issued(tenant)
        assert daemon.records("waiting") == []
        assert len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir())) < FEW_DESCRIPTORS - 16
        assert daemon.stop() == 0


def test_a_daemon_without_a_free_file_descriptor_says_so_and_goes_on_once_there_are_some(
    tmp_path: Path, tenant: Running, aws: None
) -> None:
    # Whoever is hung up on needs a new socket for the next try.
    with Destination(default="reset") as destination:
        daemon = limited(tmp_path, tenant, destination.url)
        host, _, port = daemon.address.removeprefix("http://").partition(":")
        daemon.until(lambda: len(daemon.lines) == COUNT, "stdout needs no new file")
        visitors = [socket.create_connection((host, int(port)), timeout=5) for _ in range(FEW_DESCRIPTORS)]
        daemon.until(lambda: any("out of system resource" in line for line in daemon.log), "it does not say why")
        for number in range(5):
            tenant.tenant.add(late(number))
        destination.default = held = Everything()
        for visitor in visitors:
            visitor.close()
        daemon.until(lambda: held.objects, "nothing is archived")
        daemon.until(lambda: len(held.hec.envelopes) == len(held.datadog) == COUNT + 5, "not delivered")
        assert list(map(raw_of, held.hec.envelopes)) == issued(tenant)
        daemon.until(lambda: len(daemon.lines) == COUNT + 5)
        assert daemon.stop() == 0
    assert not any("Traceback" in line for line in daemon.log)


# -- a large backlog ---------------------------------------------------------------------------------------------------


def test_a_backlog_takes_no_memory_of_its_own() -> None:
    """The bench's row, smaller; `make soak` has the one with a million."""
    with stage() as here, here.destination(), here.tenant("--count", str(BACKLOG)):
        here.tell("down")
        with here.daemon({DOMAIN: here.tenant_url}) as daemon:
            daemon.until(lambda stored, _: stored >= LEVEL_AT)
            level = daemon.program.memory().now
            daemon.until(lambda stored, waiting: stored == waiting == BACKLOG)
            filled = daemon.program.memory().peak
            here.tell("up")
            daemon.until(lambda _, waiting: waiting == 0)
            drained = daemon.program.memory().peak
        assert here.tell("count")["hec"] == BACKLOG
    assert filled < 120, "MB while the backlog grew"
    assert filled - level < 10, "MB above the level of fewer events"
    assert drained < 120, "MB while it drained"
