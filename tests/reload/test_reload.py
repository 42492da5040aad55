"""SIGHUP: the daemon goes on by another configuration; nothing is lost, and who is not concerned is not disturbed."""

import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from daemon_case import SECRETS, Hec, TenantThread, command, raw_of
from manager_case import Manager
from reload_case import CLIENT, SIGHUP, Reloaded, Stream, hec, issued, tenant

from shipper.scripted import Destination, Received, Reply
from shipper.simulator.server import Running
from shipper.simulator.tenant import Tenant

UNAUTHORIZED = Reply(401, b'{"text":"Invalid authorization","code":3}')


class Scene:
    """Tenants and destinations of one test."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def stream(self, **options: Any) -> Stream:
        return self._stack.enter_context(Stream(**options))

    def tenant(self, count: int, **options: Any) -> Running:
        return self._stack.enter_context(TenantThread(Tenant(count=count, **CLIENT, **options)))

    def destination(self, default: Any = None) -> tuple[Destination, Hec]:
        held = Hec()
        return self._stack.enter_context(Destination(default=default or held)), held


@pytest.fixture
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(stack)


def test_a_configuration_that_changes_under_load_loses_repeats_and_disturbs_nothing(
    tmp_path: Path, scene: Scene
) -> None:
    events_of_acme, events_of_beta = scene.stream(), scene.stream(seed=2, domain="beta.eu.auth0.com")
    acme, beta = events_of_acme.running, events_of_beta.running
    (steady, at_steady), (changing, at_changing), (coming, at_coming) = (scene.destination() for _ in range(3))
    daemon = Reloaded(
        tmp_path,
        sources__acme=tenant(acme.url),
        sinks__steady=hec(steady.url, from_sources=["acme"]),
        sinks__changing=hec(changing.url),
    )
    daemon.start()
    daemon.until(lambda: at_steady.envelopes and at_changing.envelopes)
    connections = steady.accepted
    daemon.reload(sinks__coming=hec(coming.url))
    daemon.until(lambda: at_coming.envelopes)
    daemon.reload(sinks__changing=hec(changing.url, **{"batch.max_events": 7}))
    daemon.reload(sources__beta=tenant(beta.url, "beta.eu.auth0.com"))
    daemon.until(lambda: daemon.lanes()["beta changing"]["delivered"])
    daemon.reload(sinks__coming=None)
    assert daemon.lanes()["acme coming"]["state"] == "disabled"
    with pytest.raises(StopIteration):
        daemon.figure("shipper_writes_total", outcome="delivered", sink="coming", source="acme")
    daemon.until(lambda: daemon.lanes()["acme coming"]["lag_events"], "what comes meanwhile is kept for it")
    daemon.reload(sources__acme=tenant(acme.url, poll_interval_secs=0.2))
    daemon.reload(sinks__changing=hec(changing.url, index="other"), sinks__coming=hec(coming.url))
    daemon.reload(sources__beta=None, sources__renamed=tenant(beta.url, "beta.eu.auth0.com"))
    assert "beta changing" not in daemon.lanes()
    daemon.reload(sources__renamed=tenant(beta.url, "beta.eu.auth0.com", enabled=False))
    daemon.reload(sources__renamed=tenant(beta.url, "beta.eu.auth0.com"))
    of_acme, of_beta = events_of_acme.end(), events_of_beta.end()
    both = len(of_acme) + len(of_beta)
    daemon.until(lambda: len(at_changing.envelopes) >= both and len(at_coming.envelopes) >= both)
    daemon.until(lambda: len(at_steady.envelopes) >= len(of_acme))
    # Nobody was cut off, so nothing came twice either.
    assert list(map(raw_of, at_steady.envelopes)) == of_acme
    for held in (at_changing, at_coming):
        whole, theirs = list(map(raw_of, held.envelopes)), set(of_acme)
        assert [raw for raw in whole if raw in theirs] == of_acme
        assert [raw for raw in whole if raw not in theirs] == of_beta
    assert steady.accepted == connections == 1
    assert b'"index":"other"' in changing.requests[-1].body
    told = [
        {key: record[key] for key in ("added", "removed", "changed") if key in record}
        for record in daemon.records("reloaded")
    ]
    assert told[0] == {"added": ["sinks.coming", "acme → coming"]}
    assert told[1] == {"changed": ["sinks.changing", "acme → changing"]}
    assert told[4] == {"changed": ["sources.acme"]}
    assert len(told) == 9
    assert daemon.stop() == 0
    kept = [json.loads(line)["what"] for line in daemon.command("audit", "--json").stdout.splitlines()]
    assert [line.split()[0] for line in kept] == ["start", *["reload"] * 9]


def test_a_write_that_hangs_is_cut_off_and_goes_on_by_the_new_settings(tmp_path: Path, scene: Scene) -> None:
    acme = scene.tenant(100)
    hanging, _ = scene.destination("hang")
    right, at_right = scene.destination()
    daemon = Reloaded(tmp_path, sources__acme=tenant(acme.url), sinks__siem=hec(hanging.url))
    daemon.start()
    daemon.until(lambda: hanging.requests)
    daemon.reload(sinks__siem=hec(right.url))
    daemon.until(lambda: len(at_right.envelopes) >= 100)
    assert list(map(raw_of, at_right.envelopes)) == issued(acme)
    assert daemon.records("a write did not end in time; its events are sent again")
    # The same file again makes what is held try at once, and interrupts nothing.
    right.default = UNAUTHORIZED
    slow = {"request.retry_initial_backoff_secs": 60, "request.retry_max_duration_secs": 3600}
    daemon.reload(
        sinks__siem=hec(right.url, **slow),
        sources__beta=tenant(scene.tenant(10, seed=2, domain="beta.eu.auth0.com").url, "beta.eu.auth0.com"),
    )
    daemon.until(lambda: daemon.records("held"))
    right.default = at_right
    daemon.reload()
    daemon.until(lambda: len(at_right.envelopes) == 110)
    assert "added" not in daemon.records("reloaded")[-1]
    assert daemon.stop() == 0


def test_ranges_that_were_reserved_are_written_as_they_were_by_a_changed_archive(tmp_path: Path, scene: Scene) -> None:
    acme = scene.tenant(30)
    put: list[str] = []

    def store(request: Received) -> Any:
        if request.method != "PUT":
            return Reply(403)
        put.append(request.path)
        return "hang" if len(put) == 1 else Reply(200, headers={"ETag": '"made-up"'})

    bucket, _ = scene.destination(store)
    s3 = {"type": "s3", "bucket": "logs", "region": "eu-west-1", "endpoint_url": bucket.url, "batch.timeout_secs": 0}
    daemon = Reloaded(tmp_path, sources__acme=tenant(acme.url), sinks__archive={**s3, "batch.max_events": 25})
    daemon.start(
        environment={"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_EC2_METADATA_DISABLED": "true"}
    )
    daemon.until(lambda: put)
    daemon.reload(sinks__archive={**s3, "batch.max_events": 4, "storage_class": "STANDARD_IA"})
    daemon.until(lambda: daemon.lanes()["acme archive"]["lag_events"] == 0)
    assert put[1] == put[0], "what was being written has the same name, and so the same events"
    assert bucket.requests[-1].headers["x-amz-storage-class"] == "STANDARD_IA"
    assert len(put) > 3
    assert daemon.stop() == 0


def test_what_is_wrong_is_refused_whole_and_told(tmp_path: Path, scene: Scene) -> None:
    acme = scene.tenant(1000, rate=50)
    siem, _ = scene.destination()
    other, _ = scene.destination()
    with Manager(tmp_path / "notify") as manager:
        daemon = Reloaded(tmp_path, sources__acme=tenant(acme.url), sinks__siem=hec(siem.url))
        daemon.start(environment={"NOTIFY_SOCKET": manager.address})
        daemon.until(lambda: siem.requests)
        head = daemon.head
        new = hec(other.url)
        (tmp_path / "no.pem").write_text("no certificate")

        def refused(head: str = head, **changes: Any) -> str:
            before = {name: daemon.tables.get(name.replace("__", ".")) for name in changes}
            said = len(daemon.records("reload refused: all goes on as before"))
            daemon.head = head
            daemon.reload("refused", **changes)
            daemon.head = head
            daemon.write(**before)
            return str(daemon.records("reload refused: all goes on as before")[said]["note"])

        assert "line" in refused(head + "[admin")
        assert "sinks.new.indx" in refused(sinks__new={**new, "indx": "x"})
        assert refused(head + "journal.max_bytes = 2_000_000\n", sinks__new=new).startswith(
            "journal.max_bytes: a reload"
        )
        assert "knows this name as auth0:acme" in refused(
            sources__acme=tenant(acme.url, "other.eu.auth0.com"), sinks__new=new
        )
        assert "must hold certificates in PEM" in refused(sinks__new={**new, "tls.ca_file": str(tmp_path / "no.pem")})
        assert daemon.reloads("refused") == 5
        assert other.requests == []
        assert list(daemon.lanes()) == ["acme siem"]
        assert "the last reload was refused" in manager.values("STATUS")[-1]
        daemon.head = head
        daemon.reload(sinks__new=new)
        daemon.until(lambda: other.requests)
        assert "refused" not in manager.values("STATUS")[-1]
        assert len(manager.values("RELOADING")) == 6
        assert manager.values("READY") == ["1"] * 7
        assert siem.accepted == 1
        # The last one, since from then on there is little to read.
        daemon.head = head + 'log.level = "error"\n'
        daemon.reload()
        assert daemon.stop() == 0
        assert daemon.records("stopped") == []
    assert not any(secret in "\n".join(daemon.log) for secret in SECRETS.values())


def test_who_reloads_by_command_hears_what_is_wrong_and_when_it_is_in_force(tmp_path: Path, scene: Scene) -> None:
    acme = scene.tenant(10)
    siem, _ = scene.destination()
    hanging, _ = scene.destination("hang")
    run = tmp_path / "run"
    run.mkdir()
    with Manager(tmp_path / "notify") as manager:
        daemon = Reloaded(tmp_path, sources__acme=tenant(acme.url), sinks__siem=hec(siem.url))
        daemon.start(environment={"RUNTIME_DIRECTORY": str(run), "NOTIFY_SOCKET": manager.address})
        daemon.until(lambda: siem.requests)
        daemon.write(sinks__siem=hec(siem.url, index="other"), sinks__new=hec(hanging.url))
        answer = daemon.command("reload")
        assert (answer.returncode, answer.stdout) == (0, "reloaded\n")
        assert list(daemon.lanes()) == ["acme new", "acme siem"]
        # As the unit asks: a file that nobody can read gets to the daemon, too, which counts and tells it.
        head, daemon.head = daemon.head, daemon.head + "[admin"
        daemon.write()
        assert daemon.command("reload").returncode == 78
        assert daemon.reloads("refused") == 0
        answer = command("reload", RUNTIME_DIRECTORY=str(run))
        assert answer.returncode == 78
        assert "reload refused, all goes on as before: line" in answer.stderr
        assert daemon.reloads("refused") == 1
        # The write in hand hangs, so this one does not come to its end before the stop.
        daemon.head = head
        daemon.until(lambda: hanging.requests)
        daemon.write(sinks__new=hec(hanging.url, index="other"))
        with ThreadPoolExecutor() as beside:
            waiting = beside.submit(daemon.command, "reload")
            daemon.until(lambda: len(manager.values("RELOADING")) == 3)
            assert daemon.stop() == 0
            assert waiting.result().returncode == 78
        assert command("reload", RUNTIME_DIRECTORY=str(run)).returncode == 69


def test_hangups_at_any_time_and_many_at_once_do_no_harm(tmp_path: Path, scene: Scene) -> None:
    stream = scene.stream()
    acme = stream.running
    siem, at_siem = scene.destination()
    console, at_console = scene.destination()
    daemon = Reloaded(
        tmp_path, sources__acme=tenant(acme.url), sinks__siem=hec(siem.url), sinks__console=hec(console.url)
    )
    daemon.start()
    daemon.until(lambda: daemon.log, "it reads its configuration")
    hangups = Hangups(daemon.process.pid)
    with hangups:
        daemon.until(lambda: daemon.records("started"))
        for step in range(12):
            daemon.write(
                sinks__siem=hec(siem.url, index=str(step)),
                sinks__console=hec(console.url) if step % 3 else None,
            )
            reloads(daemon, 2)
        expected = stream.end()
        daemon.until(lambda: len(at_siem.envelopes) >= len(expected) and len(at_console.envelopes) >= len(expected))
        assert daemon.stop() == 0
    for held in (at_siem, at_console):
        assert list(map(raw_of, held.envelopes)) == expected


def reloads(daemon: Reloaded, more: int) -> None:
    """Waits for so many, wherever they come from."""
    seen = len(daemon.records("reloaded"))
    daemon.until(lambda: len(daemon.records("reloaded")) >= seen + more)


class Hangups:
    """SIGHUP to a process, again and again."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _send(self) -> None:
        while not self._over.wait(0.01):
            try:
                os.kill(self._pid, SIGHUP)
            except ProcessLookupError:
                return


def test_a_stop_in_the_middle_of_a_reload_does_not_wait_for_it(tmp_path: Path, scene: Scene) -> None:
    acme = scene.tenant(100)
    hanging, _ = scene.destination("hang")
    daemon = Reloaded(tmp_path, sources__acme=tenant(acme.url), sinks__siem=hec(hanging.url))
    daemon.start()
    daemon.until(lambda: hanging.requests)
    # The write in hand hangs, so this reload does not come to its end.
    daemon.write(sinks__siem=hec(hanging.url, index="other"))
    daemon.process.send_signal(SIGHUP)
    daemon.process.send_signal(SIGHUP)
    assert daemon.stop() == 0
    assert daemon.records("reloaded") == []
