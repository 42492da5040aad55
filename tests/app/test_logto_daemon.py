"""The daemon and its commands with a Logto tenant, as processes."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from daemon_case import LOGTO, SECRETS, Daemon, TenantThread, raw_of

from shipper.simulator.logto import LogtoTenant
from shipper.simulator.options import Options
from shipper.simulator.server import Serving

COUNT = 420


@pytest.fixture
def tenant(request: pytest.FixtureRequest) -> Iterator[Serving[LogtoTenant]]:
    """A backlog, and rows that come in while it is read, each committed up to half a second after its time."""
    with TenantThread(made(backlog=300, rate=40.0, commit_secs=0.5, knows_times=request.param)) as running:
        yield running


def made(**changes: Any) -> LogtoTenant:
    options = Options(kind="logto", client_id="canary-client", client_secret=SECRETS["client_secret"], count=COUNT)
    return LogtoTenant(replace(options, **changes))


def assert_in_order(raws: list[bytes], issued: list[bytes]) -> None:
    """Each once and by its time; nothing tells which of one time was first."""
    assert Counter(raws) == Counter(issued)
    times = [json.loads(raw)["createdAt"] for raw in raws]
    assert times == sorted(times)


@pytest.mark.parametrize("tenant", [True, False], ids=["by-time", "by-pages"], indirect=True)
def test_a_tenant_from_backlog_to_live_over_a_kill(tmp_path: Path, tenant: Serving[LogtoTenant]) -> None:
    daemon = Daemon(tmp_path, tenant.url, "", source=LOGTO)
    daemon.start()
    daemon.until(lambda: len(daemon.lines) >= 320, "the backlog and some that came since")
    daemon.kill()
    before = len(daemon.lines)
    daemon.start()
    daemon.until(lambda: len({json.loads(line)["log_id"] for line in daemon.lines}) >= COUNT, "all there is")
    daemon.until(lambda: len(daemon.records("started")) == 2)
    status = json.loads(daemon.get("/api/status")[1])["sources"][0]
    assert (status["state"], status["events"], status["retention_gaps"]) == ("running", COUNT, 0)
    assert status["tenant"] == f"logto:{tenant.url}"
    shown = daemon.command("status")
    assert (shown.returncode, "acme" in shown.stdout) == (0, True)
    assert daemon.stop() == 0
    issued = [raw for _, raw in tenant.tenant.issued()]
    assert Counter(map(raw_of, dict.fromkeys(daemon.lines))) == Counter(issued)
    assert set(Counter(daemon.lines).values()) <= {1, 2}
    twice = [line for line, times in Counter(daemon.lines).items() if times == 2]
    assert all(line in daemon.lines[:before] for line in twice), "only what was in hand when it was killed"
    times = [json.loads(raw_of(line))["createdAt"] for line in daemon.lines[before:]]
    assert times == sorted(times)
    assert not any(secret in line for secret in SECRETS.values() for line in daemon.log)
    assert {json.loads(line)["log_id"] == json.loads(line)["data"]["id"] for line in daemon.lines} == {True}


@pytest.fixture
def old_tenant() -> Iterator[Serving[LogtoTenant]]:
    with TenantThread(made()) as running:
        yield running


def test_the_commands_know_the_tenant(tmp_path: Path, old_tenant: Serving[LogtoTenant]) -> None:
    tenant = old_tenant
    daemon = Daemon(tmp_path, tenant.url, "", source=LOGTO)
    issued = dict(tenant.tenant.issued())
    text = daemon.config.read_text()
    daemon.config.write_text(f'{text}[sinks.console.filter]\ninclude_categories = ["auth.login.fail"]\n')
    checked = daemon.command("check")
    daemon.config.write_text(text)
    assert (checked.returncode, f"{COUNT} events" in checked.stdout) == (0, True), checked.stdout
    assert "sinks.console.filter: no event of Logto's is in auth.login.fail" in checked.stdout
    id_, raw = next(iter(issued.items()))
    assert daemon.command("get", id_).stdout.encode() == raw + b"\n"
    assert "not_found" in daemon.command("get", "a" * 21).stderr
    file = tmp_path / "all.ndjson"
    exported = daemon.command("export", "--from", "earliest", "--format", "raw", "-o", str(file))
    assert exported.returncode == 0, exported.stderr
    assert_in_order(file.read_bytes().splitlines(), list(issued.values()))
    refused = daemon.command("export", "--query", "type:f")
    assert (refused.returncode, "--query is Auth0's" in refused.stderr) == (2, True)
    daemon.start("--once")
    assert daemon.wait() == 0
    assert_in_order([raw_of(line) for line in daemon.lines], list(issued.values()))
    place = daemon.command("checkpoint", "show").stdout
    time = json.loads(list(issued.values())[400])["createdAt"]
    back = daemon.command("checkpoint", "set", "acme", f"{_written(time)}", "--yes")
    assert (back.returncode, f"resumes behind {_written(time)}" in back.stdout) == (0, True), back.stderr
    assert place != daemon.command("checkpoint", "show").stdout
    assert "no time with its zone" in daemon.command("checkpoint", "set", "acme", "9" * 56, "--yes").stderr
    daemon.lines.clear()
    daemon.start("--once")
    assert daemon.wait() == 0
    again = [raw for raw in issued.values() if json.loads(raw)["createdAt"] >= time]
    assert_in_order([raw_of(line) for line in daemon.lines], again)


def _written(at_ms: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"
