"""The daemon as a process: what a new user, an operator and a bad day see of it."""

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_case import AUTH0, SECRETS, SUCCESS, Daemon, Hec, TenantThread, command, envelopes, raw_of

from shipper.scripted import Destination, Received, Reply
from shipper.simulator.server import Running
from shipper.simulator.tenant import Tenant

SAMPLES = Path(__file__).parents[3] / "shared" / "samples"
CLIENT: dict[str, Any] = {"client_id": "canary-client", "client_secret": SECRETS["client_secret"], "plan": "none"}


@pytest.fixture
def tenant() -> Iterator[Running]:
    made = [raw for _, raw in Tenant(count=700, **CLIENT).issued()]
    with TenantThread(Tenant(events=made, **CLIENT)) as running:
        yield running


FIVE = "batch.max_events = 5\n"


def issued(running: Running) -> list[bytes]:
    return [raw for _, raw in running.tenant.issued()]


def recorded_events() -> list[bytes]:
    """The raw events recorded from real tenants, and the odd ones, each with an id of today's form."""
    events: list[Any] = json.loads((SAMPLES / "api_raw_ruby_auth0_MIT.json").read_text())
    events += json.loads((SAMPLES / "synth_from_schemas_Apache-2.0.json").read_text())
    events += [odd["event"] for odd in json.loads((SAMPLES / "edge_cases_handmade.json").read_text())]
    events += json.loads((SAMPLES / "api_raw_alertlogic_MIT.json").read_text())
    return [json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() for event in events]


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the recorded events are third-party data and not part of the project")
@pytest.mark.parametrize("kills", [0, 6])
def test_recorded_events_reach_both_sinks_byte_for_byte_also_through_kill_9(tmp_path: Path, kills: int) -> None:
    hec = Hec()
    with TenantThread(Tenant(events=recorded_events(), **CLIENT)) as running, Destination() as destination:
        daemon = Daemon(tmp_path, running.url, destination.url, siem=FIVE, extra=FIVE)

        def kill_before_some_answers(request: Received) -> Reply:
            if len(destination.requests) in [7 * (kill + 1) for kill in range(kills)]:
                daemon.process.kill()
            return hec(request)

        destination.default = kill_before_some_answers
        daemon.start()
        for _ in range(kills):
            assert daemon.wait() == -9
            daemon.start()
        expected = sorted(issued(running))
        daemon.until(lambda: set(map(raw_of, hec.envelopes)) >= set(expected), "HEC misses events")
        daemon.until(lambda: set(map(raw_of, daemon.lines)) >= set(expected), "stdout misses events")
        assert daemon.stop() == 0
    for held in (list(map(raw_of, hec.envelopes)), list(map(raw_of, daemon.lines))):
        assert sorted(set(held)) == expected
        assert len(held) - len(expected) <= 5 * kills


def test_once_ends_with_0_when_everything_is_delivered(tmp_path: Path, tenant: Running) -> None:
    with Destination(default=(hec := Hec())) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.start("--once")
        assert daemon.wait() == 0
        assert list(map(raw_of, hec.envelopes)) == issued(tenant)
        assert list(map(raw_of, daemon.lines)) == issued(tenant)


def test_once_ends_with_1_and_a_list_when_something_waits(tmp_path: Path, tenant: Running) -> None:
    refused = Reply(400, b'{"text":"Event field cannot be blank","code":13,"invalid-event-number":0}')
    with Destination(default=refused) as destination:
        siem = "batch.max_events = 700\nmax_dead_in_a_row = 1000\n"
        daemon = Daemon(tmp_path, tenant.url, destination.url, siem=siem)
        daemon.start("--once")
        assert daemon.wait() == 1
        assert [(record["sink"], record["waiting"]) for record in daemon.records("not delivered")] == [("siem", 700)]
        assert len(daemon.lines) == 700


def test_a_dead_destination_holds_up_nobody_else(tmp_path: Path, tenant: Running) -> None:
    with Destination(default=Reply(503)) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.start()

        def lanes() -> dict[str, Any]:
            return {lane["sink"]: lane for lane in json.loads(daemon.get("/api/status")[1])["lanes"]}

        daemon.until(lambda: len(daemon.lines) == 700 and lanes()["console"]["delivered"] == 700)
        assert (lanes()["siem"]["state"], lanes()["siem"]["reason"]) == ("waiting", "server_error")
        assert lanes()["siem"]["lag_events"] == 700
        assert lanes()["console"]["state"] == "running"
        assert daemon.stop() == 0


def test_a_start_says_where_each_lane_resumes(tmp_path: Path, tenant: Running) -> None:
    with Destination(default=Hec()) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.start("--once")
        daemon.wait()
        assert [record["sink"] for record in daemon.records("new lane")] == ["siem", "console"]
        daemon.log.clear()
        daemon.start("--once")
        daemon.wait()
        resumes = [(record["sink"], record["position"], record["behind"]) for record in daemon.records("lane resumes")]
        assert resumes == [("siem", 700, 0), ("console", 700, 0)]
        assert len(daemon.records("the journal has its place, so start is ignored")) == 1


# -- ends --------------------------------------------------------------------------------------------------------------


def test_sigterm_ends_it_although_a_destination_hangs(tmp_path: Path, tenant: Running) -> None:
    with Destination(default="hang") as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.start()
        daemon.until(lambda: destination.requests)
        assert daemon.stop() == 0
        assert daemon.records("a write did not end in time; its events are sent again")


def test_a_second_sigterm_ends_it_at_once(tmp_path: Path, tenant: Running) -> None:
    with Destination(default="hang") as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.config.write_text(daemon.config.read_text().replace("shutdown_secs = 1.5", "shutdown_secs = 3000"))
        daemon.start()
        daemon.until(lambda: destination.requests)
        daemon.process.terminate()
        daemon.until(lambda: daemon.records("stopping"))
        assert daemon.stop() == 0


def test_a_closed_stdout_ends_it_with_74_when_nothing_else_is_in_use(tmp_path: Path, tenant: Running) -> None:
    daemon = Daemon(tmp_path, tenant.url, "")
    read, write = os.pipe()
    os.close(read)
    daemon.start(stdout=write)
    os.close(write)
    assert daemon.wait() == 74
    assert daemon.records("stopping")[-1]["reason"] == "io"


def test_a_closed_stdout_holds_its_lane_while_another_sink_goes_on(tmp_path: Path, tenant: Running) -> None:
    with Destination(default=(hec := Hec())) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        read, write = os.pipe()
        os.close(read)
        daemon.start(stdout=write)
        os.close(write)
        daemon.until(lambda: len(hec.envelopes) == 700)
        daemon.until(lambda: daemon.records("held"))
        assert daemon.stop() == 0


def test_a_second_daemon_ends_at_once_with_75_and_the_first_goes_on(tmp_path: Path, tenant: Running) -> None:
    with Destination(default=(hec := Hec())) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.start()
        daemon.until(lambda: len(hec.envelopes) == 700)
        second = daemon.command("run")
        assert second.returncode == 75
        assert f"pid {daemon.process.pid}" in second.stderr
        tenant.tenant.add(b'{"date":"2026-11-20T10:00:00.000Z","type":"s","log_id":"9' + b"1" * 55 + b'"}')
        daemon.until(lambda: len(hec.envelopes) == 701)
        assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("client_secret", "client_secrt"), "sources.acme.client_secrt"),
        (('"127.0.0.1:0"', '"somewhere"'), "admin.listen"),
        (('type = "stdout"', 'type = "stdut"'), "stdout"),
        (("[admin]", "[admin"), "line"),
    ],
)
def test_a_wrong_configuration_ends_it_with_78_and_one_clear_line(
    tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    daemon = Daemon(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9")
    daemon.config.write_text(daemon.config.read_text().replace(*change, 1))
    answer = daemon.command("run")
    assert answer.returncode == 78
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not any(secret in answer.stderr for secret in SECRETS.values())


def test_an_address_in_use_is_said_and_ends_it_with_78(tmp_path: Path, tenant: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        daemon = Daemon(tmp_path, tenant.url, "http://127.0.0.1:9")
        port = taken.getsockname()[1]
        daemon.config.write_text(daemon.config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        daemon.start()
        assert daemon.wait() == 78
        assert daemon.records("can't listen")[0]["listen"] == f"127.0.0.1:{port}"


def test_the_same_name_for_another_tenant_ends_it_with_78(tmp_path: Path, tenant: Running) -> None:
    with Destination(default=Hec()) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.start("--once")
        daemon.wait()
        text = daemon.config.read_text()
        daemon.config.write_text(text.replace("acme.us.auth0.com", "other.eu.auth0.com"))
        answer = daemon.command("run")
        assert answer.returncode == 78
        assert "sources.acme" in answer.stderr
        daemon.config.write_text(text.replace("[sources.acme]", "[sources.renamed]"))
        daemon.start("--once")
        assert daemon.wait() == 0
        assert daemon.records("the source has a new name; it goes on where it stood")[0]["former"] == "acme"
        assert len(tenant.tenant.requests) > 0
        assert len(daemon.lines) == 700


# -- looking at it -----------------------------------------------------------------------------------------------------


def test_the_admin_server_takes_get_and_head_only(tmp_path: Path, tenant: Running) -> None:
    with Destination(default=Hec()) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.start()
        daemon.until(lambda: len(daemon.lines) == 700)
        for path in ("/", "/metrics", "/-/healthy", "/-/ready", "/api/status"):
            assert daemon.get(path)[0] == 200
            assert daemon.get(path, "HEAD") == (200, "")
            assert {daemon.get(path, method)[0] for method in ("POST", "PUT", "DELETE", "PATCH")} == {405}
        assert daemon.get("/api/dead")[0] == 404
        daemon.stop()


def test_counters_go_on_over_restarts_and_balance(tmp_path: Path, tenant: Running) -> None:
    def figure(name: str, labels: str) -> float:
        line = next(line for line in daemon.get("/metrics")[1].splitlines() if line.startswith(f"{name}{{{labels}}} "))
        return float(line.split()[-1])

    with Destination(default=Hec()) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        for _ in range(2):
            daemon.start()
            daemon.until(lambda: figure("shipper_lag_events", 'sink="siem",source="acme"') == 0)
            daemon.until(lambda: figure("shipper_events_delivered_total", 'sink="siem",source="acme"') == 700)
            assert figure("shipper_events_fetched_total", 'source="acme"') == 700
            assert figure("shipper_lag_seconds", 'sink="siem",source="acme"') < 60
            assert figure("shipper_source_state", 'source="acme",state="running"') == 1
            assert daemon.stop() == 0
            daemon.log.clear()


def test_a_sink_that_left_the_configuration_keeps_its_place_and_is_named(tmp_path: Path, tenant: Running) -> None:
    with Destination(default=Reply(503)) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.start()
        daemon.until(lambda: len(daemon.lines) == 700)
        daemon.stop()
        with_siem = daemon.config.read_text()
        without = with_siem[: with_siem.index("[sinks.siem]")] + with_siem[with_siem.index("[sinks.console]") :]
        daemon.config.write_text(without)
        daemon.log.clear()
        daemon.start()
        daemon.until(lambda: daemon.records("events wait for a lane that is not in use"))
        lanes = {lane["sink"]: lane for lane in json.loads(daemon.get("/api/status")[1])["lanes"]}
        assert (lanes["siem"]["state"], lanes["siem"]["lag_events"]) == ("disabled", 700)
        daemon.stop()
        daemon.config.write_text(with_siem)
        destination.default = (hec := Hec())
        daemon.log.clear()
        daemon.start("--once")
        assert daemon.wait() == 0
        assert list(map(raw_of, hec.envelopes)) == issued(tenant)


def test_no_secret_and_no_event_content_in_any_output(tmp_path: Path, tenant: Running) -> None:
    """Destinations and tenant answer with everything that they were told, as real ones do in their error texts."""
    seen: list[Received] = []

    def echo(request: Received) -> Reply:
        seen.append(request)
        told = json.dumps({"text": request.body.decode() + str(request.headers), "code": 6, "invalid-event-number": 1})
        return Reply((400, 401, 503, 200)[len(seen) % 4], told.encode())

    with Destination(default=echo) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url, siem="batch.max_events = 20\n")
        daemon.start()
        daemon.until(lambda: len(seen) > 12)
        output = [daemon.get("/metrics")[1], daemon.get("/api/status")[1], daemon.command("status").stdout]
        output += [daemon.command(*words).stdout for words in (["dead", "list"], ["config", "show"])]
        daemon.stop()
        text = "\n".join([*output, *daemon.log])
    assert "refused" in text
    assert not any(secret in text for secret in SECRETS.values())
    users = {json.loads(raw).get("user_name") for raw in issued(tenant)} - {None, ""}
    assert users
    assert not any(user in text for user in users)
    journal = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert not any(secret.encode() in journal for secret in SECRETS.values())


# -- commands ----------------------------------------------------------------------------------------------------------


def test_check_tries_everything_and_says_what_to_do(tmp_path: Path, tenant: Running) -> None:
    with Destination(default=Reply(400, b'{"text":"No data","code":5}')) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        answer = daemon.command("check")
        assert answer.returncode == 0
        assert all(name in answer.stdout for name in ("sources.acme", "sinks.siem", "sinks.console", "read:logs"))
        destination.default = Reply(403, b'{"text":"Invalid token","code":4}')
        answer = daemon.command("check")
        assert answer.returncode == 1
        assert "FAILED" in answer.stdout
        offline = daemon.command("check", "--offline")
        assert (offline.returncode, "sinks.siem" in offline.stdout) == (0, False)
        assert not (tmp_path / "state").exists()


def test_check_tells_of_a_source_that_no_sink_takes_from(tmp_path: Path) -> None:
    only = 'from_sources = ["acme"]\n'
    daemon = Daemon(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9", siem=only, extra=only)
    with daemon.config.open("a") as file:
        file.write(f"[sources.beta]\n{AUTH0.replace('TENANT', 'http://127.0.0.1:9').replace('acme.', 'beta.')}")
    answer = daemon.command("check", "--offline")
    assert (answer.returncode, "sources.beta: no enabled sink takes" in answer.stdout) == (0, True), answer.stderr
    assert "sources.acme:" not in answer.stdout


def test_status_shows_the_lanes_and_ends_with_1_when_one_is_in_trouble(tmp_path: Path, tenant: Running) -> None:
    with Destination(default=Hec()) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        assert daemon.command("status").returncode == 69
        daemon.start()
        daemon.until(lambda: len(daemon.lines) == 700)
        listen = daemon.address.removeprefix("http://")
        daemon.config.write_text(daemon.config.read_text().replace("127.0.0.1:0", listen))
        answer = daemon.command("status")
        assert (answer.returncode, "acme → siem" in answer.stdout) == (0, True)
        destination.default = Reply(401, b'{"text":"Invalid authorization","code":3}')
        tenant.tenant.add(b'{"date":"2026-11-20T10:00:00.000Z","type":"s","log_id":"9' + b"1" * 55 + b'"}')
        daemon.until(lambda: daemon.records("held"))
        answer = daemon.command("status")
        assert answer.returncode == 1
        assert "held" in answer.stdout
        assert json.loads(daemon.command("status", "--json").stdout)["lanes"]
        daemon.stop()


def test_dead_letters_are_listed_while_it_runs_and_while_it_does_not(tmp_path: Path, tenant: Running) -> None:
    bad = json.loads(issued(tenant)[41])["log_id"].encode()

    def refuse_one(request: Received) -> Reply:
        ids = [json.loads(envelope)["log_id"].encode() for envelope in envelopes(request.body)]
        if bad in ids:
            number = ids.index(bad)
            return Reply(400, b'{"text":"Invalid data","code":12,"invalid-event-number":%d}' % number)
        return SUCCESS

    with Destination(default=refuse_one) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.start()
        daemon.until(lambda: json.loads(daemon.get("/api/status")[1])["lanes"][1]["lag_events"] == 0)
        control = tmp_path / "state" / "journal" / "control.sock"
        assert stat.S_IMODE(control.stat().st_mode) == 0o600
        running = daemon.command("dead", "list", "--json")
        daemon.stop()
        stopped = daemon.command("dead", "list", "--json")
        letters = [json.loads(line) for line in running.stdout.splitlines()]
        assert [(letter["sink"], letter["reason"], letter["event_id"]) for letter in letters] == [
            ("siem", "refused", bad.decode())
        ]
        assert stopped.stdout == running.stdout
        assert daemon.command("dead", "list", "--sink", "console").stdout == "no dead letters\n"


def test_a_checkpoint_is_set_only_with_yes_and_makes_the_source_resume_there(tmp_path: Path, tenant: Running) -> None:
    with Destination(default=(hec := Hec())) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.start("--once")
        daemon.wait()
        tenth = json.loads(issued(tenant)[9])["log_id"]
        assert daemon.command("checkpoint", "set", "acme", tenth).returncode == 2
        assert daemon.command("checkpoint", "set", "acme", "yesterday", "--yes").returncode == 2
        assert daemon.command("checkpoint", "set", "other", tenth, "--yes").returncode == 2
        assert daemon.command("checkpoint", "set", "acme", tenth, "--yes").returncode == 0
        assert tenth in daemon.command("checkpoint", "show").stdout
        hec.envelopes.clear()
        daemon.start("--once")
        daemon.wait()
        assert list(map(raw_of, hec.envelopes)) == issued(tenant)[10:]


def test_config_show_masks_secrets_and_is_toml(tmp_path: Path) -> None:
    import tomllib

    daemon = Daemon(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9")
    answer = daemon.command("config", "show")
    assert answer.returncode == 0
    assert tomllib.loads(answer.stdout)["sinks"]["siem"]["token"] != SECRETS["token"]
    assert not any(secret in answer.stdout for secret in SECRETS.values())


def test_help_and_sinks(tmp_path: Path) -> None:
    assert "shipper demo" in command("--help").stdout
    assert "splunk_hec" in command("sinks").stdout


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, shipper.cli; print([m for m in ('aiohttp', 'pydantic', 'rich', 'sqlite3') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"
