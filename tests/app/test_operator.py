"""What an operator does on a bad day: another try, giving up, renaming; with events waiting and the balance kept."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from daemon_case import SECRETS, Daemon, Hec, TenantThread, command, raw_of

from shipper.scripted import Destination, Reply
from shipper.simulator.server import Running
from shipper.simulator.tenant import Tenant

CLIENT: dict[str, Any] = {"client_id": "canary-client", "client_secret": SECRETS["client_secret"], "plan": "none"}
ROOT = Path(__file__).parents[2]
UNAUTHORIZED = Reply(401, b'{"text":"Invalid authorization","code":3}')


@pytest.fixture
def tenant() -> Iterator[Running]:
    made = [raw for _, raw in Tenant(count=50, **CLIENT).issued()]
    with TenantThread(Tenant(events=made, **CLIENT)) as running:
        yield running


def issued(running: Running) -> list[bytes]:
    return [raw for _, raw in running.tenant.issued()]


def figures(daemon: Daemon, sink: str) -> dict[str, float]:
    """The lane's metrics, by name."""
    found = {}
    for line in daemon.get("/metrics")[1].splitlines():
        name, _, rest = line.partition("{")
        if f'sink="{sink}",source="acme"}}' in rest:
            found[name] = float(line.split()[-1])
    return found


def balance(daemon: Daemon, sink: str) -> float:
    """What the lane has of all that was stored, in whatever way: it must be everything."""
    found = figures(daemon, sink)
    settled = ("delivered_total", "filtered_total", "given_up_total")
    return sum(found[f"shipper_events_{name}"] for name in settled) + found["shipper_lag_events"]


def patient(daemon: Daemon) -> None:
    """A lane in trouble would wait for an hour."""
    text = daemon.config.read_text().replace("retry_max_duration_secs = 0.2", "retry_max_duration_secs = 3600")
    daemon.config.write_text(text.replace("[sinks.siem]\n", "[sinks.siem]\nrequest.retry_initial_backoff_secs = 60\n"))


def test_retry_makes_a_held_lane_try_at_once(tmp_path: Path, tenant: Running) -> None:
    with Destination(default=UNAUTHORIZED) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        patient(daemon)
        assert daemon.command("retry").returncode == 69
        daemon.start()
        daemon.until(lambda: daemon.records("held"))
        destination.default = (hec := Hec())
        assert daemon.command("retry", "nobody").returncode == 2
        answer = daemon.command("retry", "siem")
        assert (answer.returncode, answer.stdout) == (0, "1 sources and lanes try now\n")
        daemon.until(lambda: len(hec.envelopes) == 50)
        daemon.stop()


def test_a_changed_secret_file_makes_a_held_lane_try_at_once_with_it(tmp_path: Path, tenant: Running) -> None:
    hec = Hec()
    with Destination() as destination:
        destination.default = lambda request: (
            hec(request) if request.headers["Authorization"] == "Splunk rotated" else UNAUTHORIZED
        )
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        patient(daemon)
        (tmp_path / "hec.token").write_text("stale")
        text = daemon.config.read_text().replace(f'token = "{SECRETS["token"]}"', 'token_file = "hec.token"')
        daemon.config.write_text(text)
        daemon.start()
        daemon.until(lambda: daemon.records("held"))
        (tmp_path / "hec.token").write_text("rotated")
        daemon.until(lambda: len(hec.envelopes) == 50, "the new token is not used")
        daemon.stop()


def test_accepted_dead_letters_let_a_lane_go_on_that_was_held_for_refusing_everything(
    tmp_path: Path, tenant: Running
) -> None:
    refusal = Reply(400, b'{"text":"Event field cannot be blank","code":13,"invalid-event-number":0}')
    with Destination(default=refusal) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url, siem="max_dead_in_a_row = 10\n")
        patient(daemon)
        daemon.start()
        daemon.until(lambda: daemon.records("held"))
        assert figures(daemon, "siem")["shipper_dead_letters"] == 0
        assert daemon.command("retry", "siem", "--accept-dead", "50").returncode == 0
        daemon.until(lambda: figures(daemon, "siem")["shipper_lag_events"] == 0)
        assert figures(daemon, "siem")["shipper_dead_letters"] == 50
        assert "retry siem: 50 refused events may be dead" in daemon.command("audit").stdout
        daemon.stop()


def test_a_sink_in_use_is_neither_forgotten_nor_renamed(tmp_path: Path, tenant: Running) -> None:
    with Destination(default=Hec()) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.start()
        daemon.until(lambda: len(daemon.lines) == 50)
        for words in (
            ("forget", "sinks.siem", "--yes"),
            ("forget", "sources.acme", "--yes"),
            ("rename", "siem", "new"),
        ):
            answer = daemon.command(*words)
            assert (answer.returncode, "in use" in answer.stderr) == (2, True)
        daemon.stop()


@pytest.mark.parametrize("running", [False, True])
def test_forget_gives_up_what_waits_for_a_disabled_sink_and_counts_it(
    tmp_path: Path, tenant: Running, running: bool
) -> None:
    with Destination(default=UNAUTHORIZED) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.start()
        daemon.until(lambda: daemon.records("held"))
        daemon.stop()
        enabled = daemon.config.read_text()
        daemon.config.write_text(enabled.replace("[sinks.siem]\n", "[sinks.siem]\nenabled = false\n"))
        daemon.log.clear()
        if running:
            daemon.start()
            daemon.until(lambda: daemon.records("events wait for a lane that is not in use"))
            assert figures(daemon, "siem")["shipper_lag_events"] == 50
        assert daemon.command("forget", "sinks.siem").returncode == 2
        assert daemon.command("forget", "siem", "--yes").returncode == 2
        answer = daemon.command("forget", "sinks.siem", "--yes")
        assert answer.stdout == "sink siem is forgotten; 50 events given up\n"
        assert daemon.command("forget", "sinks.nobody", "--yes").returncode == 2
        if not running:
            daemon.start()
        daemon.until(lambda: figures(daemon, "siem")["shipper_lag_events"] == 0)
        assert figures(daemon, "siem")["shipper_events_given_up_total"] == 50
        assert balance(daemon, "siem") == 50
        daemon.stop()
        # Configured again, it is a new lane: from the earliest event that the journal still has.
        destination.default = (hec := Hec())
        daemon.config.write_text(enabled)
        daemon.log.clear()
        daemon.start("--once")
        assert daemon.wait() == 0
        assert [record["sink"] for record in daemon.records("new lane")] == ["siem"]
        assert list(map(raw_of, hec.envelopes)) == issued(tenant)


def test_a_disabled_sink_gets_everything_when_it_is_enabled_again(tmp_path: Path, tenant: Running) -> None:
    with Destination(default=UNAUTHORIZED) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        enabled = daemon.config.read_text()
        daemon.start()
        daemon.until(lambda: daemon.records("held"))
        daemon.stop()
        daemon.config.write_text(enabled.replace("[sinks.siem]\n", "[sinks.siem]\nenabled = false\n"))
        daemon.start("--once")
        assert daemon.wait() == 0
        destination.default = (hec := Hec())
        daemon.config.write_text(enabled)
        daemon.start("--once")
        assert daemon.wait() == 0
        assert list(map(raw_of, hec.envelopes)) == issued(tenant)


def test_rename_carries_places_and_dead_letters(tmp_path: Path, tenant: Running) -> None:
    with Destination(default=UNAUTHORIZED) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.start()
        daemon.until(lambda: daemon.records("held"))
        daemon.stop()
        assert daemon.command("rename", "siem", "console").returncode == 2
        assert daemon.command("rename", "nobody", "new").returncode == 2
        assert daemon.command("rename", "siem", "splunk").returncode == 0
        destination.default = (hec := Hec())
        daemon.config.write_text(daemon.config.read_text().replace("[sinks.siem]", "[sinks.splunk]"))
        daemon.log.clear()
        daemon.start("--once")
        assert daemon.wait() == 0
        assert daemon.records("new lane") == []
        assert list(map(raw_of, hec.envelopes)) == issued(tenant)


def test_a_forgotten_source_begins_anew(tmp_path: Path, tenant: Running) -> None:
    with Destination(default=UNAUTHORIZED) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.start()
        daemon.until(lambda: daemon.records("held"))
        daemon.stop()
        answer = daemon.command("forget", "sources.acme", "--yes")
        assert answer.stdout == "source acme is forgotten; 50 events given up\n"
        destination.default = (hec := Hec())
        daemon.log.clear()
        daemon.lines.clear()
        daemon.start("--once")
        assert daemon.wait() == 0
        assert list(map(raw_of, hec.envelopes)) == issued(tenant)
        assert list(map(raw_of, daemon.lines)) == issued(tenant)


def test_status_names_gaps_and_requeued_dead_letters_only_where_there_are_some(tmp_path: Path) -> None:
    source: dict[str, Any] = {
        "source": "acme",
        "state": "running",
        "events": 1,
        "lag_seconds": 0.0,
        "retention_headroom_seconds": None,
        "retention_gaps": 2,
        "last_retention_gap": {"since": 1_700_000_000_000, "until": 1_700_003_600_000, "may_be_empty": True},
    }
    lane = {**source, "sink": "siem", "delivered": 1, "lag_events": 0, "dead_letters": 4, "queued": 1, "requeued": 3}
    quiet = {**lane, "sink": "[b]console[/]", "queued": 0, "requeued": 0}
    with Destination() as answers:
        daemon = Daemon(tmp_path, "http://127.0.0.1:9", "")
        listen = answers.url.removeprefix("http://")
        daemon.config.write_text(daemon.config.read_text().replace("127.0.0.1:0", listen))
        answers.default = Reply(200, json.dumps({"sources": [source], "lanes": [lane, quiet]}).encode())
        full = daemon.command("status")
        assert (full.returncode, full.stdout.splitlines()[-2:]) == (
            0,
            [
                "acme: its retention ran out before a poll, so far 2 times; the last gap is from "
                "2023-11-14 22:13:20Z to 2023-11-14 23:13:20Z (it may be empty)",
                "acme → siem: of the requeued dead letters 1 wait, 3 were delivered",
            ],
        )
        assert "[b]console[/]" in full.stdout


def test_the_schema_knows_the_example_and_refuses_what_the_program_refuses() -> None:
    schema = json.loads(command("config", "schema").stdout)
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    text = (ROOT / "config.example.toml").read_text()
    example = tomllib.loads(text)
    assert list(validator.iter_errors(example)) == []
    example["sinks"]["siem"]["tokn"] = "x"
    assert list(validator.iter_errors(example))
    assert text.startswith("#:schema ")
    named = ROOT / text.split()[1]
    assert json.loads(named.read_text()) == schema, "run: shipper config schema > config.schema.json"
