"""Dead letters in an operator's hands: looked at safely, sent again, given up, carried away."""

import asyncio
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from daemon_case import SECRETS, SUCCESS, Daemon, Hec, TenantThread, envelopes, environ, raw_of

from shipper.cli import main
from shipper.event import Event, Page
from shipper.journal import Burial
from shipper.journal.sqlite import SqliteJournal
from shipper.reasons import Reason
from shipper.scripted import Destination, Received, Reply
from shipper.simulator.server import Running
from shipper.simulator.tenant import Tenant

CLIENT: dict[str, Any] = {"client_id": "canary-client", "client_secret": SECRETS["client_secret"], "plan": "none"}
NOBODY = "http://127.0.0.1:9"
HOSTILE_JSON = '{"a":"\u202eevil\u2066\u2028\u2029\x7f\x9b31m","b":"\\u001b[2J","n":1.50,"u":"é\U000e0001"}'.encode()
HOSTILE_BYTES = b"\x1b]0;owned\x07\r\n{\xff\xe2\x80\xae"
HOSTILE_ID = "[/red]\x1b[31m:smile:\u2029"
HOSTILE_WORDS = "\x1b[2Jrefused\r\n\u202e\x9b"


async def stock(state_dir: Path, raws: list[bytes], *, id_: str = "", words: str = "no", at: float = 0.0) -> None:
    """A journal whose sink siem has refused all these events, for the reasons refused and too_large in turn."""
    journal = await SqliteJournal.open(state_dir, max_bytes=1 << 30, clock=(lambda: at) if at else time.time)
    source, _ = await journal.source("acme", "auth0:acme.us.auth0.com")
    await source.begin("earliest", b'{"last":"900"}', 0)
    lane, _ = await journal.lane("acme", "siem")
    await journal.lane("acme", "console")
    events = [Event(id_ or f"{9 * 10**55 + n}", 1_700_000_000_000, "", "s", raw) for n, raw in enumerate(raws, start=1)]
    await source.append(Page(events, b'{"last":"900"}', 0, ""))
    reasons: tuple[Reason, ...] = ("refused", "too_large")
    await lane.ack(len(raws), [Burial(n, reasons[n % 2 - 1], words) for n in range(1, len(raws) + 1)])
    await journal.close()


def nothing_acts(output: str) -> bool:
    """Whether a terminal only shows it."""
    return all(char.isprintable() for line in output.split("\n") for char in line)


async def test_nothing_that_others_wrote_acts_on_a_terminal(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, NOBODY, NOBODY)
    await stock(tmp_path / "state", [HOSTILE_JSON], id_=HOSTILE_ID, words=HOSTILE_WORDS)
    shown = daemon.command("dead", "show", "1")
    listed, as_json = daemon.command("dead", "list"), daemon.command("dead", "list", "--json")
    assert [answer.returncode for answer in (shown, listed, as_json)] == [0, 0, 0]
    assert [nothing_acts(answer.stdout) for answer in (shown, listed, as_json)] == [True, True, True]
    assert json.loads(shown.stdout[shown.stdout.index("{") :]) == json.loads(HOSTILE_JSON)
    assert '"n": 1.50' in shown.stdout
    assert r"\u001b[2Jrefused\u000d\u000a\u202e\u009b" in shown.stdout
    assert r"[/red]\u001b[31m:smile:\u2029" in listed.stdout
    assert json.loads(as_json.stdout)["event_id"] == HOSTILE_ID


async def test_an_event_that_is_no_json_is_shown_in_one_line(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, NOBODY, NOBODY)
    await stock(tmp_path / "state", [HOSTILE_BYTES])
    shown = daemon.command("dead", "show", "1")
    assert nothing_acts(shown.stdout)
    assert shown.stdout.splitlines()[-1] == r"\u001b]0;owned\u0007\u000d\u000a{\xff\u202e"
    missing = daemon.command("dead", "show", "2")
    assert (missing.returncode, missing.stderr.splitlines()[1:]) == (2, ["shipper: there is no dead letter 2"])


@pytest.mark.parametrize(
    "words",
    [
        ("requeue",),
        ("requeue", "1", "--all"),
        ("requeue", "--all", "--sink", "siem"),
        ("purge", "--older-than", "0s"),
        ("purge", "--older-than", "soon", "--yes"),
        ("purge", "--yes"),
    ],
)
def test_what_sends_again_or_gives_up_wants_it_said_of_what_and_in_earnest(words: tuple[str, ...]) -> None:
    answer = CliRunner().invoke(main, ["dead", *words, "--config", "/nowhere"])
    assert answer.exit_code == 2


async def test_a_name_that_is_none_is_told_and_not_answered_with_no_dead_letters(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, NOBODY, NOBODY)
    await stock(tmp_path / "state", [b"1"])
    for words, says in (
        (("list", "--sink", "seim"), "knows no sink 'seim' (it knows: console, siem)"),
        (("requeue", "--source", "acne"), "knows no source 'acne' (it knows: acme)"),
        (("purge", "--older-than", "0s", "--yes", "--reason", "refuse"), "'refuse' is not one of"),
        (("export", "--sink", "seim"), "knows no sink 'seim'"),
    ):
        answer = daemon.command("dead", *words)
        assert (answer.returncode, answer.stdout) == (2, "")
        assert says in answer.stderr


async def test_dead_letters_are_exported_with_their_own_bytes_into_a_private_new_file(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, NOBODY, NOBODY)
    numbered = [b'{"n": %d}' % n for n in range(150)]
    await stock(tmp_path / "state", [HOSTILE_JSON, HOSTILE_BYTES, b'{"x":NaN}', b'{"two":\n2}', *numbered], words="why")
    target = tmp_path / "out.ndjson"
    answer = daemon.command("dead", "export", str(target))
    assert answer.returncode == 0
    assert "154 dead letters" in answer.stderr
    assert "personal data" in answer.stderr
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    lines = target.read_bytes().split(b"\n")[:-1]
    assert HOSTILE_JSON in lines[0]
    found = [json.loads(line) for line in lines]
    assert found[0].keys() == {"source", "sink", "reason", "at", "event_id", "detail", "data"}
    assert [letter.get("data") for letter in found[1:4]] == [None, None, {"two": 2}]
    assert found[1]["raw_base64"] == "G10wO293bmVkBw0Ke//igK4="
    assert [letter["data"]["n"] for letter in found[4:]] == list(range(150))
    again = daemon.command("dead", "export", str(target))
    assert (again.returncode, target.read_bytes().split(b"\n")[:-1]) == (2, lines)
    piped = daemon.command("dead", "export", "--reason", "too_large")
    assert [json.loads(line)["reason"] for line in piped.stdout.splitlines()] == ["too_large"] * 77


async def test_purging_spares_what_is_younger_or_queued_and_is_counted_and_audited(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, NOBODY, NOBODY)
    await stock(tmp_path / "state", [b"1", b"2", b"3", b"4"], at=time.time() - 86_400 * 2)
    assert daemon.command("dead", "requeue", "4", "9").stdout == "1 dead letters go out again\n"
    assert "queued" in daemon.command("dead", "list").stdout
    for age, removed in (("3d", 0), ("47h", 3), ("0s", 0)):
        answer = daemon.command("dead", "purge", "--older-than", age, "--sink", "siem", "--yes")
        assert answer.stdout == f"{removed} dead letters removed\n"
    [left] = [json.loads(line) for line in daemon.command("dead", "list", "--json").stdout.splitlines()]
    assert (left["id"], left["queued"]) == (4, True)
    audit = [json.loads(line) for line in daemon.command("audit", "--json").stdout.splitlines()]
    assert [line["what"] for line in audit][:2] == [
        "dead requeue: 1 of acme to siem",
        "dead letters removed: 3 of acme to siem",
    ]
    assert all(line["who"] and time.time() - line["at"] / 1000 < 600 for line in audit)


def given_away(place: Path, roots: str) -> Path:
    """The journal, as someone else's; who may not give files away puts a link to one of root's there."""
    journal = place / "state" / "journal"
    if os.geteuid() == 0:
        os.chown(journal, 54321, -1)
    else:
        journal.rename(place / "aside")
        journal.symlink_to(roots)
    return journal


async def test_only_its_owner_asks_a_journal_that_no_daemon_holds(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, NOBODY, NOBODY)
    missing = daemon.command("dead", "list")
    assert (missing.returncode, "no journal here" in missing.stderr) == (2, True)
    assert not (tmp_path / "state").exists()
    await stock(tmp_path / "state", [b"1"])
    journal = given_away(tmp_path, "/")
    before = sorted(journal.iterdir())
    foreign = daemon.command("dead", "list")
    assert (foreign.returncode, foreign.stdout, "belongs to user" in foreign.stderr) == (2, "", True)
    assert sorted(journal.iterdir()) == before


@pytest.mark.parametrize("how", [(), ("--recover",), ("--fresh",)])
async def test_only_its_owner_runs_a_journal(tmp_path: Path, how: tuple[str, ...]) -> None:
    daemon = Daemon(tmp_path, NOBODY, NOBODY)
    await stock(tmp_path / "state", [b"1"])
    journal = given_away(tmp_path, "/root")  # where it is a link: not even readable
    before = sorted((file.name, file.stat().st_uid) for file in journal.iterdir()) if os.geteuid() == 0 else []
    foreign = daemon.command("run", *how)
    assert (foreign.returncode, "belongs to user" in foreign.stderr) == (74, True)
    assert foreign.stderr.count("\n") == 2
    if before:
        assert sorted((file.name, file.stat().st_uid) for file in journal.iterdir()) == before


def test_a_reader_that_goes_away_is_no_bug(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, NOBODY, NOBODY)
    asyncio.run(stock(tmp_path / "state", [b"1"]))
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", "shipper", "dead", "list", "--json", "--config", str(daemon.config)]
    answer = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, env=environ(), timeout=30, check=False)
    os.close(write)
    assert (answer.returncode, answer.stderr) == (74, b"")


# -- with a daemon -----------------------------------------------------------------------------------------------------


@pytest.fixture
def tenant() -> Iterator[Running]:
    """Forty events of 50 kB."""
    made = [raw[:-1] + b',"pad":"%s"}' % (b"x" * 50_000) for _, raw in Tenant(count=40, **CLIENT).issued()]
    with TenantThread(Tenant(events=made, **CLIENT)) as running:
        yield running


class Choosy:
    """A destination that refuses some events until it is cleared of that."""

    def __init__(self, running: Running, refused: list[int]) -> None:
        raws = [raw for _, raw in running.tenant.issued()]
        self.bad = {raws[n] for n in refused}
        self.hec = Hec()

    def __call__(self, request: Received) -> Reply:
        for number, envelope in enumerate(envelopes(request.body)):
            if raw_of(envelope) in self.bad:
                return Reply(400, b'{"text":"Invalid data","code":12,"invalid-event-number":%d}' % number)
        return self.hec(request)

    @property
    def got(self) -> list[bytes]:
        return [raw_of(envelope) for envelope in self.hec.envelopes]


def lane(daemon: Daemon) -> dict[str, Any]:
    found = json.loads(daemon.get("/api/status")[1])
    [siem] = [one for one in found["lanes"] if one["sink"] == "siem"]
    return dict(siem)


def metric(daemon: Daemon, name: str) -> float:
    lines = daemon.get("/metrics")[1].splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{") and 'sink="siem"' in line)


def test_requeued_dead_letters_arrive_byte_for_byte_while_the_daemon_runs(tmp_path: Path, tenant: Running) -> None:
    refused = [3, 17, 39]
    with Destination() as destination:
        destination.default = choosy = Choosy(tenant, refused)
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.start()
        daemon.until(lambda: lane(daemon)["dead_letters"] == 3 and lane(daemon)["lag_events"] == 0)
        shown = daemon.command("dead", "show", "1")
        assert "canary" not in shown.stderr
        assert '"pad": "xxx' in shown.stdout
        choosy.bad.clear()
        assert daemon.command("dead", "requeue", "2", "3").stdout == "2 dead letters go out again\n"
        daemon.until(lambda: lane(daemon)["dead_letters"] == 1)
        raws = [raw for _, raw in tenant.tenant.issued()]
        assert choosy.got[-2:] == [raws[17], raws[39]]
        assert daemon.command("dead", "requeue", "--sink", "siem", "--reason", "refused").returncode == 0
        daemon.until(lambda: lane(daemon)["dead_letters"] == 0)
        assert sorted(choosy.got) == sorted(raws)
        assert metric(daemon, "shipper_events_requeued_total") == 3
        daemon.config.write_text(daemon.config.read_text().replace('listen = "127.0.0.1:0"', 'listen = ""'))
        assert "of the requeued dead letters 0 wait, 3 were delivered" in daemon.command("status").stdout
        daemon.stop()


@pytest.mark.parametrize("way", ["purge", "requeue"])
def test_a_lane_that_the_dead_letters_limit_holds_goes_on_by_itself_once_some_have_gone(
    tmp_path: Path, tenant: Running, way: str
) -> None:
    refused = [n for n in range(36) if n % 4]
    with Destination() as destination:
        destination.default = choosy = Choosy(tenant, refused)
        # A batch is an event, so that one in four proves the destination.
        daemon = Daemon(tmp_path, tenant.url, destination.url, siem="batch.max_events = 1\n")
        text = daemon.config.read_text()
        daemon.config.write_text(text.replace("[admin]", "[journal]\ndead_letters_max_bytes = 1_000_000\n[admin]"))
        daemon.start()
        daemon.until(lambda: lane(daemon)["reason"] == "journal_full")
        held = lane(daemon)
        assert held["lag_events"] > 0
        assert 0 < held["dead_letters"] < 20
        raws = [raw for _, raw in tenant.tenant.issued()]
        if way == "purge":
            answer = daemon.command("dead", "purge", "--older-than", "0s", "--yes")
            removed = int(answer.stdout.split()[0])
            daemon.until(lambda: lane(daemon)["lag_events"] == 0)
            assert removed == held["dead_letters"] == metric(daemon, "shipper_dead_letters_removed_total")
            assert lane(daemon)["dead_letters"] == 27 - removed
        else:
            choosy.bad.clear()
            assert daemon.command("dead", "requeue", "--all").returncode == 0
            daemon.until(lambda: lane(daemon)["lag_events"] == 0)
            daemon.until(lambda: lane(daemon)["dead_letters"] < held["dead_letters"])
            daemon.command("dead", "requeue", "--all")
            daemon.until(lambda: lane(daemon)["dead_letters"] == 0)
            assert set(choosy.got) == set(raws)
        assert lane(daemon)["state"] == "running"
        daemon.stop()


def test_a_refusing_answer_is_one_line(tmp_path: Path, tenant: Running) -> None:
    with Destination(default=SUCCESS) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.start()
        daemon.until(lambda: daemon.records("started"))
        answer = daemon.command("dead", "show", "77")
        assert (answer.returncode, answer.stdout) == (2, "")
        assert answer.stderr.splitlines()[1:] == ["shipper: there is no dead letter 77"]
        daemon.stop()
