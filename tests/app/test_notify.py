"""What a service manager hears of the daemon, and what an operator beside its unit can do without its secrets."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from daemon_case import SECRETS, Daemon, Hec, TenantThread, command, environ, until
from manager_case import Manager

from shipper.config import ConfigError, load
from shipper.health import Health
from shipper.journal import Figures, LaneFigures, SourceFigures
from shipper.notify import Notify
from shipper.reasons import Reason
from shipper.scene import Scene
from shipper.scripted import Destination
from shipper.simulator.tenant import Tenant

CLIENT: dict[str, Any] = {"client_id": "canary-client", "client_secret": SECRETS["client_secret"], "plan": "none"}
WATCHDOG_SECS = 0.4


class Unit:
    """The daemon as the unit starts it: notified, with credentials that nobody else sees and a directory in /run."""

    def __init__(self, place: Path, tenant: str, hec: str, manager: Manager) -> None:
        self.manager = manager
        self.run = place / "run"
        self.run.mkdir()
        credentials = place / "credentials"
        credentials.mkdir()
        (credentials / "secrets_sources.acme.client_secret").write_text(SECRETS["client_secret"])
        (credentials / "secrets_sinks.siem.token").write_text(SECRETS["token"])
        self.daemon = Daemon(place, tenant, hec)
        text = self.daemon.config.read_text()
        for line in (f'client_secret = "{SECRETS["client_secret"]}"\n', f'token = "{SECRETS["token"]}"\n'):
            assert line in text
            text = text.replace(line, "")
        self.daemon.config.write_text(text)
        self.daemon.start(
            environment={
                "NOTIFY_SOCKET": manager.address,
                "WATCHDOG_USEC": str(int(WATCHDOG_SECS * 1_000_000)),
                "RUNTIME_DIRECTORY": str(self.run),
                "CREDENTIALS_DIRECTORY": str(credentials),
            }
        )


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    with (
        TenantThread(Tenant(count=50, **CLIENT)) as tenant,
        Destination(default=Hec()) as destination,
        Manager(tmp_path / "notify") as manager,
    ):
        yield Unit(tmp_path, tenant.url, destination.url, manager)


def test_a_manager_hears_ready_once_then_life_and_status_and_the_end(unit: Unit) -> None:
    manager, daemon = unit.manager, unit.daemon
    until(lambda: manager.values("READY"))
    # Whoever hears it can ask already.
    assert daemon.get("/-/ready")[0] == 200
    until(lambda: len(manager.values("WATCHDOG")) > 2)
    until(lambda: "2 lanes: 2 running; 0 events behind" in manager.values("STATUS"), lambda: manager.heard)
    daemon.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, daemon.process.pid, os.WSTOPPED | os.WNOWAIT)
    fed = len(manager.values("WATCHDOG"))
    # As long as systemd waits before it kills.
    assert not asyncio.run(_comes(lambda: len(manager.values("WATCHDOG")) > fed + 1, WATCHDOG_SECS * 2))
    daemon.process.send_signal(signal.SIGCONT)
    until(lambda: len(manager.values("WATCHDOG")) > fed + 2)
    assert manager.values("STOPPING") == []
    assert daemon.stop() == 0
    assert manager.values("READY") == manager.values("STOPPING") == ["1"]
    # shutdown_secs of 1.5, and a little for the journal.
    assert int(manager.values("EXTEND_TIMEOUT_USEC")[-1]) > 1_500_000
    starting = manager.heard.index(["STATUS=starting", "EXTEND_TIMEOUT_USEC=60000000"])
    assert starting == 0


async def _comes(condition: Any, within_secs: float) -> bool:
    end = asyncio.get_running_loop().time() + within_secs
    while not condition():
        if asyncio.get_running_loop().time() > end:
            return False
        await asyncio.sleep(0.01)
    return True


def test_an_operator_needs_none_of_the_units_secrets(tmp_path: Path, unit: Unit) -> None:
    daemon, config = unit.daemon, ["--config", str(unit.daemon.config)]
    daemon.until(lambda: len(daemon.lines) == 50)
    assert (unit.run / "control.sock").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="client_secret"):
        load(daemon.config, environ())
    listen = daemon.address.removeprefix("http://")
    daemon.config.write_text(daemon.config.read_text().replace("127.0.0.1:0", listen))
    for words in (
        ["status"],
        ["retry"],
        ["dead", "list"],
    ):
        answer = command(*words, *config)
        assert answer.returncode == 0, (words, answer.stderr)
    assert daemon.stop() == 0
    # What led there stays beside the journal, and then leads to nobody.
    assert (tmp_path / "state/journal/control.sock").readlink() == unit.run / "control.sock"
    assert command("dead", "list", *config).returncode == 0


def test_a_wrong_configuration_is_never_ready(tmp_path: Path) -> None:
    with Manager(tmp_path / "notify") as manager:
        daemon = Daemon(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9")
        daemon.config.write_text(daemon.config.read_text().replace("client_id", "client_idd"))
        daemon.start(environment={"NOTIFY_SOCKET": manager.address})
        assert daemon.wait() == 78
        assert manager.values("READY") == []


# -- the protocol ------------------------------------------------------------------------------------------------------


class Rests:
    """Sleep that lasts until the test says so."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.begun = asyncio.Event()
        self._over = asyncio.Event()

    async def __call__(self, secs: float) -> None:
        self.asked.append(secs)
        self.begun.set()
        await self._over.wait()
        self._over.clear()

    async def end(self) -> None:
        """Ends one that has begun, and lets go on whoever waited for it, as far as that goes."""
        await self.begun.wait()
        self.begun.clear()
        self._over.set()
        for _ in range(9):
            await asyncio.sleep(0)


@pytest.mark.parametrize("address", ["path", "@shipper-test-{pid}"])
async def test_only_the_living_feed_the_watchdog(tmp_path: Path, address: str) -> None:
    place = tmp_path / "notify" if address == "path" else address.format(pid=os.getpid())
    rests, journal_answers, line = Rests(), asyncio.Event(), "2 lanes"

    async def alive() -> None:
        await journal_answers.wait()

    with Manager(place) as manager:
        notify = Notify({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "8000000"}, sleep=rests)
        task = asyncio.create_task(notify.while_running(alive, lambda: line))
        journal_answers.set()
        await rests.end()
        await rests.end()
        until(lambda: len(manager.heard) == 3)
        assert manager.heard == [["WATCHDOG=1", "STATUS=2 lanes"], ["WATCHDOG=1"], ["WATCHDOG=1"]]
        line = "1 lane"
        journal_answers.clear()
        await rests.end()
        assert (len(manager.heard), rests.begun.is_set()) == (3, False), "the journal's thread hangs"
        journal_answers.set()
        await rests.begun.wait()
        until(lambda: len(manager.heard) == 4)
        assert manager.heard[3] == ["WATCHDOG=1", "STATUS=1 lane"]
        assert set(rests.asked) == {4.0}
        task.cancel()


async def test_a_reload_is_told_with_its_time_and_ends_with_ready(tmp_path: Path) -> None:
    with Manager(tmp_path / "notify") as manager:
        notify = Notify({"NOTIFY_SOCKET": manager.address})
        notify.reloading()
        notify.ready("3 lanes")
        until(lambda: len(manager.heard) == 2)
        (reloading, when), ready = manager.heard
        assert (reloading, ready) == ("RELOADING=1", ["READY=1", "STATUS=3 lanes"])
        assert when.startswith("MONOTONIC_USEC=")


@pytest.mark.parametrize(
    "environ",
    [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}, {"NOTIFY_SOCKET": "@nobody-listens"}, {"NOTIFY_SOCKET": "x:y"}],
)
async def test_nobody_who_listens_stops_nothing(environ: dict[str, str]) -> None:
    notify = Notify({**environ, "WATCHDOG_USEC": "soon"}, sleep=_never)
    notify.reloading()
    notify.ready("")
    notify.stopping(1.0)
    for work in (notify.while_starting(), notify.while_running(_at_once, lambda: "")):
        task = asyncio.create_task(work)
        await asyncio.sleep(0)
        task.cancel()


async def _never(_secs: float) -> None:
    await asyncio.Event().wait()


async def _at_once() -> None:
    return


def test_a_manager_that_reads_nothing_holds_us_up_for_a_second_at_most(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "notify"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as full, suppress(BlockingIOError):
            full.settimeout(0)
            while True:
                full.sendto(b"x", str(tmp_path / "notify"))
        Notify({"NOTIFY_SOCKET": str(tmp_path / "notify")}).ready("")


async def test_the_watchdog_of_another_process_is_not_fed(tmp_path: Path) -> None:
    with Manager(tmp_path / "notify") as manager:
        rests = Rests()
        given = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}
        task = asyncio.create_task(Notify(given, pid=2, sleep=rests).while_running(_at_once, lambda: "1 lane"))
        await rests.end()
        until(lambda: manager.heard)
        assert manager.heard == [["STATUS=1 lane"]]
        assert set(rests.asked) == {10.0}
        task.cancel()


# -- the line of status ------------------------------------------------------------------------------------------------


class Silent:
    """A log that nobody reads."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_words, **_context: None


def scene(lanes: dict[str, Reason | None], source: Reason | None = None, lag: int = 0) -> Scene:
    def health(reason: Reason | None) -> Health:
        found = Health(Silent(), lambda: 0.0)
        if reason:
            found.trouble("held" if reason == "auth" else "waiting", reason, "")
        return found

    figures = {sink: LaneFigures(sink, 0, 0, lag, None, 0, {}, 0) for sink in [*lanes, "left_behind"]}
    known = {"acme": SourceFigures("acme", "t", 0, None, "", None, 0, None, figures)}
    found = Scene(lambda: Figures(known, 0, 0, full=False, dead_bytes=0))
    found.sources["acme"] = health(source)
    found.lanes |= {("acme", sink): health(reason) for sink, reason in lanes.items()}
    return found


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (scene({}), "0 lanes: none; 0 events behind"),
        (scene({"siem": None}, lag=7), "1 lane: 1 running; 7 events behind"),
        (
            scene({"siem": "auth", "a": None, "b": None}, lag=400),
            "3 lanes: 2 running, 1 held (siem: auth); 1200 events behind",
        ),
        (
            scene({"a": "timeout", "siem": "auth"}, source="server_error"),
            "2 lanes: 1 waiting (a: timeout), 1 held (siem: auth); 0 events behind; "
            "1 source: 1 waiting (acme: server_error)",
        ),
        (
            scene(dict.fromkeys("abcde", "tls")),
            "5 lanes: 5 waiting (a: tls, b: tls, c: tls, …); 0 events behind",
        ),
    ],
)
def test_the_line_of_status_counts_lanes_and_names_what_ails_them(found: Scene, line: str) -> None:
    assert found.line() == line
