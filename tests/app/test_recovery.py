"""A damaged or lost journal: nothing begins anew by itself, and `run --recover` brings all that was not settled."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_case import SECRETS, Daemon, Hec, TenantThread, raw_of

from shipper.scripted import Destination, Reply
from shipper.simulator.server import Running
from shipper.simulator.tenant import Tenant

CLIENT: dict[str, Any] = {"client_id": "canary-client", "client_secret": SECRETS["client_secret"], "plan": "none"}
COUNT = 10_000
MORE = 200


@pytest.fixture
def tenant() -> Iterator[Running]:
    with TenantThread(Tenant(count=COUNT, **CLIENT)) as running:
        yield running


def stored(daemon: Daemon) -> int:
    found: int = json.loads(daemon.get("/api/status")[1])["sources"][0]["events"]
    return found


def damage(path: Path) -> None:
    """The disk has lost the middle of the file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 4 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 4)
    path.write_bytes(data)


def settled_in(daemon: Daemon) -> bool:
    return (daemon.place / "state/journal/settled.json").exists()


def test_everything_undelivered_arrives_after_the_journal_was_destroyed(tmp_path: Path, tenant: Running) -> None:
    hec = Hec()
    with Destination(default=Reply(503)) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.config.write_text(daemon.config.read_text().partition("[sinks.console]")[0])
        daemon.start()
        daemon.until(lambda: stored(daemon) == COUNT and settled_in(daemon), "it never says what is settled")
        daemon.stop()
        directory = tmp_path / "state/journal"
        damage(directory / "journal.sqlite")

        destination.default = hec
        daemon.start()
        assert daemon.wait() == 74
        assert "moved to" in daemon.log[-1]
        assert "shipper run --recover" in daemon.log[-1]
        (aside,) = directory.glob("corrupt-*")
        assert (aside / "journal.sqlite").stat().st_size > COUNT * 100, "it is kept whole"

        daemon.start()
        assert daemon.wait() == 74, "nothing begins anew by itself"
        assert "run --recover" in daemon.log[-1]
        assert not hec.envelopes

        daemon.start("--once", "--recover")
        assert daemon.wait() == 0
    assert [raw_of(e) for e in hec.envelopes] == [raw for _, raw in tenant.tenant.issued()]
    assert daemon.records("the source goes on behind what every lane had settled")
    assert "recover acme" in daemon.command("audit", "--json").stdout


def test_recover_leaves_a_whole_journal_alone(tmp_path: Path, tenant: Running) -> None:
    hec = Hec()
    with Destination(default=hec) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.start("--once")
        assert daemon.wait() == 0
        daemon.start("--once", "--recover")
        assert daemon.wait() == 0
    assert daemon.records("nothing to recover: the journal is whole")
    assert len(hec.envelopes) == COUNT, "nothing came twice"
    assert not list((tmp_path / "state/journal").glob("corrupt-*"))


def test_fresh_begins_anew_where_the_journal_is_gone(tmp_path: Path, tenant: Running) -> None:
    hec = Hec()
    with Destination(default=hec) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.start()
        daemon.until(lambda: settled_in(daemon))
        daemon.stop()
        (tmp_path / "state/journal/journal.sqlite").unlink()
        (tmp_path / "state/journal/journal.sqlite-wal").unlink(missing_ok=True)
        daemon.start("--once")
        assert daemon.wait() == 74
        looked = daemon.command("dead", "list")
        assert (looked.returncode, "run --recover" in looked.stderr) == (74, True)
        assert not (tmp_path / "state/journal/journal.sqlite").exists(), "a look puts no empty journal there"
        hec.envelopes.clear()
        daemon.start("--once", "--fresh")
        assert daemon.wait() == 0
    assert len(hec.envelopes) == COUNT


def test_a_page_that_can_not_be_read_ends_the_daemon_and_recover_reads_it_again(
    tmp_path: Path, tenant: Running
) -> None:
    with Destination(default=Reply(503)) as destination:
        daemon = Daemon(tmp_path, tenant.url, destination.url)
        daemon.start()
        daemon.until(lambda: stored(daemon) == COUNT and settled_in(daemon))
        daemon.stop()
        path = tmp_path / "state/journal/journal.sqlite"
        data = bytearray(path.read_bytes())
        frame = data.index(b"\x28\xb5\x2f\xfd", len(data) // 2)
        data[frame + 40] ^= 0xFF
        path.write_bytes(data)
        hec = Hec()
        destination.default = hec
        daemon.start("--once")
        assert daemon.wait() == 74
        assert "run --recover" in daemon.log[-1] or daemon.records("stopping")[-1]["reason"] == "io"
        daemon.start("--once", "--recover")
        assert daemon.wait() == 0
    arrived = {raw_of(e) for e in hec.envelopes}
    assert arrived == {raw for _, raw in tenant.tenant.issued()}
