"""The two commands as an operator types them, as processes."""

import subprocess
from pathlib import Path

import pytest
from daemon_case import SECRETS, Daemon, Destination, Hec, TenantThread
from daemon_case import command as run_command
from replay_case import START_MS, at, hours_of_events

from shipper.simulator.tenant import Tenant


def tenant_with(events: list[bytes], hours: float = 9.0) -> Tenant:
    """One that knows the daemon's client, so many hours after the first event."""
    return Tenant(
        plan="none",
        events=events,
        clock=lambda: START_MS / 1000 + hours * 3600,
        client_id="canary-client",
        client_secret=SECRETS["client_secret"],
    )


def typed(command: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """One of the commands."""
    return run_command(command, *words)


def test_a_running_daemon_s_journal_is_replayed_and_its_lane_goes_on(tmp_path: Path) -> None:
    events = hours_of_events(2, 30)
    tenant = tenant_with(events)
    hec = Hec()
    with TenantThread(tenant) as running, Destination(default=hec) as destination:
        daemon = Daemon(tmp_path, running.url, destination.url)
        daemon.start()
        daemon.until(lambda: len(hec.envelopes) == 60, "it delivers")
        first = list(hec.envelopes)
        words = ["--to", "siem", "--from", "2020-01-01T00:00:00Z", "--until", "2030-01-01T00:00:00+01:00"]
        done = typed("replay", *words, "--config", str(daemon.config))
        assert done.returncode == 0, done.stderr
        assert "using the journal" in done.stderr
        assert "60 events of acme delivered to siem" in done.stderr
        assert hec.envelopes[60:] == first

        tenant.add(at(7100, 99))
        daemon.until(lambda: len(hec.envelopes) == 121, "it goes on")
        counted = [
            line for line in daemon.get("/metrics")[1].splitlines() if line.startswith("shipper_events_replayed")
        ]
        assert 'shipper_events_replayed_total{sink="siem",source="acme"} 60.0' in counted
        assert daemon.stop() == 0


def test_without_a_daemon_the_journal_itself_answers(tmp_path: Path) -> None:
    tenant = tenant_with(hours_of_events(2, 10))
    hec = Hec()
    with TenantThread(tenant) as running, Destination(default=hec) as destination:
        daemon = Daemon(tmp_path, running.url, destination.url)
        daemon.start("--once")
        assert daemon.wait() == 0
        export = tmp_path / "export.ndjson"
        export.write_bytes(b"\n".join(hec.envelopes[1:]))
        words = ["--sink", "siem", "--from", "2026-09-21T00:00:00Z", "--to", "2026-09-23T00:00:00Z", "--no-source"]
        config = ["--config", str(daemon.config)]
        done = typed("verify", *words, "--against", str(export), *config)
        assert done.returncode == 1, done.stderr
        assert "1 missing, 0 extra, 0 twice in 1 hours" in done.stdout
        export.write_bytes(b"\n".join(hec.envelopes))
        done = typed("verify", *words, "--against", str(export), *config)
        assert (done.returncode, done.stderr.count("\n")) == (0, 1)
        assert "2 hours with 20 events compared: all is there, once" in done.stdout


@pytest.mark.parametrize(
    ("command", "words", "says"),
    [
        ("replay", ["--to", "s", "--from", "yesterday", "--until", "2026-01-01T00:00Z"], "must be a time like"),
        ("replay", ["--to", "s", "--from", "2026-01-01", "--until", "2026-01-01T00:00Z"], "must say its time zone"),
        ("replay", ["--to", "s", "--from", "2026-01-02T00:00Z", "--until", "2026-01-01T00:00Z"], "--from must be bef"),
        (
            "verify",
            ["--sink", "s", "--from", "2026-01-02T00:00Z", "--to", "2026-01-02T00:00Z"],
            "--from must be before",
        ),
        ("verify", ["--from", "2026-01-02T00:00Z", "--to", "2026-01-02T00:00Z"], "Missing option '--sink'"),
        ("replay", ["--to", "s", "--from", "2026-01-01T00:00Z", "--until", "2026-01-02T00:00Z", "--using", "x"], "not"),
    ],
)
def test_what_is_typed_wrong_ends_in_one_clear_line(command: str, words: list[str], says: str) -> None:
    done = typed(command, *words)
    assert done.returncode == 2
    assert says in done.stderr.splitlines()[-1]


def test_a_name_that_is_not_there_ends_in_one_clear_line(tmp_path: Path) -> None:
    tenant = tenant_with(hours_of_events(1, 3))
    with TenantThread(tenant) as running:
        daemon = Daemon(tmp_path, running.url, "")
        daemon.start("--once")
        assert daemon.wait() == 0
    words = ["--to", "nowhere", "--from", "2026-01-01T00:00Z", "--until", "2026-01-02T00:00Z"]
    done = typed("replay", *words, "--config", str(daemon.config))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "shipper: there is no sink 'nowhere' (there are: console)"
