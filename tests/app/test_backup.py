"""A copy of a journal that is being written is a journal, whole up to some commit, and a daemon goes on from it."""

import asyncio
import json
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from daemon_case import SECRETS, Daemon, Hec, TenantThread, raw_of
from journal_case import check_file, event, in_memory, loud, page

from shipper.commands.backup import back_up
from shipper.desk import Desk
from shipper.journal import UnknownNameError
from shipper.journal.sqlite import FILE, SqliteJournal
from shipper.journal.store import Store
from shipper.scripted import Destination
from shipper.simulator.tenant import Tenant

CLIENT: dict[str, Any] = {"client_id": "canary-client", "client_secret": SECRETS["client_secret"], "plan": "none"}


def restored(backup: Path, place: Path, tenant: str, hec: str) -> Daemon:
    """A daemon of another host whose journal is the copy."""
    (place / "state" / "journal").mkdir(parents=True)
    backup.rename(place / "state" / "journal" / FILE)
    return Daemon(place, tenant, hec)


def positions(path: Path) -> tuple[int, dict[str, int]]:
    """Events stored and where the lanes stand, once the file has been looked at."""
    store = Store(path, max_bytes=1 << 30)
    try:
        check_file(store)
        source = store.figures.sources["acme"]
        return source.stored, {sink: lane.position for sink, lane in source.lanes.items()}
    finally:
        store.close()


def test_a_copy_made_while_the_daemon_writes_is_where_another_daemon_goes_on(tmp_path: Path) -> None:
    made = [raw for _, raw in Tenant(count=8_000, **CLIENT).issued()]
    (tmp_path / "new").mkdir()
    copy = tmp_path / "copy.sqlite"
    with (
        TenantThread(Tenant(events=made, latency_secs=0.05, **CLIENT)) as running,
        Destination(default=Hec()) as destination,
        Destination(default=(hec := Hec())) as other,
    ):
        daemon = Daemon(tmp_path, running.url, destination.url)
        daemon.start()
        daemon.until(lambda: len(daemon.lines) >= 500)
        answer = daemon.command("backup", str(copy))
        assert answer.returncode == 0, answer.stderr
        assert "personal data" in answer.stdout
        daemon.kill()
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml", "copy.sqlite", "new", "state"]
        issued = [raw for _, raw in running.tenant.issued()]
        moved = restored(copy, tmp_path / "new", running.url, other.url)
        stored, lanes = positions(tmp_path / "new" / "state" / "journal" / FILE)
        assert 500 <= stored <= 8_000
        assert max(lanes.values()) <= stored
        moved.start("--once")
        assert moved.wait() == 0
        assert list(map(raw_of, hec.envelopes)) == issued[lanes["siem"] :]
        assert list(map(raw_of, moved.lines)) == issued[lanes["console"] :]


def test_a_stopped_journal_is_copied_too_but_no_file_is_replaced(tmp_path: Path) -> None:
    made = [raw for _, raw in Tenant(count=300, **CLIENT).issued()]
    copy = tmp_path / "copy.sqlite"
    with TenantThread(Tenant(events=made, **CLIENT)) as running:
        daemon = Daemon(tmp_path, running.url, "")
        daemon.start("--once")
        assert daemon.wait() == 0
        assert daemon.command("backup", str(copy)).returncode == 0
        before = copy.read_bytes()
        again = daemon.command("backup", str(copy))
        assert (again.returncode, again.stderr.splitlines()[1:]) == (
            2,
            [f"shipper: {copy}: is there already: name a new file"],
        )
        nowhere = daemon.command("backup", str(tmp_path / "no" / "where"))
        assert (nowhere.returncode, "No such file" in nowhere.stderr) == (74, True)
        assert copy.read_bytes() == before
        assert positions(copy) == (300, {"console": 300})
        audit = [json.loads(line) for line in daemon.command("audit", "--json").stdout.splitlines()]
        assert [line["what"] for line in audit].count("backup") == 1


@pytest.fixture
def quick() -> Iterator[Path]:
    """A directory for many commits."""
    with in_memory() as directory:
        yield Path(directory)


async def journal_of(tmp_path: Path) -> SqliteJournal:
    journal = await SqliteJournal.open(tmp_path, max_bytes=1 << 30)
    source, _ = await journal.source("acme", "auth0:acme")
    await source.append(page([event(number) for number in range(1, 500)]))
    return journal


async def test_a_copy_that_takes_too_long_is_none(quick: Path) -> None:
    journal = await journal_of(quick)
    desk = Desk(journal, hold_secs=0.0)

    async def slow(what: str, question: Mapping[str, Any]) -> Any:
        answer = await desk.answer(what, question)
        if what == "backup.hold":
            for _ in range(3):  # turns of the loop, in which the time runs out
                await asyncio.sleep(0)
        return answer

    (quick / "out").mkdir()
    with pytest.raises(UnknownNameError, match="took too long"):
        await back_up(slow, quick / "journal" / FILE, quick / "out" / "copy", "me")
    assert list((quick / "out").iterdir()) == []
    with pytest.raises(UnknownNameError, match="took too long"):
        await desk.answer("backup.hold", {"hold": "of the daemon before"})
    await journal.close()


async def test_the_file_stands_still_until_the_last_copy_is_made(quick: Path) -> None:
    journal = await journal_of(quick)
    desk = Desk(journal)
    source, _ = await journal.source("acme", "auth0:acme")
    file = quick / "journal" / FILE
    first, second = [await desk.answer("backup.hold", {}) for _ in range(2)]
    before = file.read_bytes()
    await desk.answer("backup.release", {**first, "who": "me"})
    for number in range(500, 1000):
        await source.append(page([event(number)]))
    assert file.read_bytes() == before
    await desk.answer("backup.release", {**second, "who": "me"})
    for number in range(1000, 1500):
        await source.append(page([event(number)]))
    assert file.read_bytes() != before
    await journal.close()


@pytest.mark.parametrize("when", [5, 6, 7])
async def test_a_log_that_begins_anew_while_it_is_copied_is_copied_again(quick: Path, when: int) -> None:
    """The older log's head and the newer one's content would put older pages over newer ones."""
    journal = await journal_of(quick)
    source, _ = await journal.source("acme", "auth0:acme")
    for number in range(500, 524):
        await source.append(page([loud(number, 1 << 20)]))
    asked = 0

    async def busy(what: str, question: Mapping[str, Any]) -> Any:
        nonlocal asked
        answer = await desk.answer(what, question)
        asked += what == "backup.hold" and "hold" in question
        if asked == when and what == "backup.hold":
            for number in range(524, 548):
                await source.append(page([loud(number, 1 << 20)]))
        return answer

    desk, copy = Desk(journal), quick / "copy"
    await back_up(busy, quick / "journal" / FILE, copy, "me", renew_secs=0.0)
    await journal.close()
    assert asked >= 7, "the log was copied twice"
    stored, _ = positions(copy)
    assert stored in (523, 547)
