"""`shipper tail`: every event as it comes, whatever else reads the tenant, and nothing that acts on a terminal."""

import asyncio
import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from daemon_case import Daemon, TenantThread, environ, until
from logto_case import event as logto_event
from rich.console import Console
from test_dead import CLIENT, HOSTILE_BYTES, HOSTILE_JSON, nothing_acts
from test_get import config

from shipper.cli import main
from shipper.commands.tail import Printer, Wanted, _read
from shipper.event import Event
from shipper.secret import Secret
from shipper.simulator.answer import error
from shipper.simulator.logto import LogtoTenant
from shipper.simulator.server import Running, serve
from shipper.simulator.tenant import Tenant
from shipper.sources.logto_config import LogtoConfig
from shipper.sources.unkept import REMEMBERED, Unkept

LOGS = "/api/v2/logs"
KEYS = ("Interaction.SignIn.Submit", "ExchangeTokenBy.RefreshToken")


def raw(number: int, **fields: Any) -> bytes:
    """An event that is indexed in a time to come, so it lies behind any position made of now."""
    return json.dumps({"type": "s", "log_id": f"90029990101{number:045d}", **fields}).encode()


def event(raw: bytes, type_: str = "s", **fields: Any) -> Event:
    return Event(**{"id": "900", "time": 1_790_000_000_123, "date": "", "type": type_, "raw": raw, **fields})


class Shown:
    """A printer whose lines a test looks at."""

    def __init__(self, wanted: Wanted | None = None, *, sources: tuple[str, ...] = ("acme",), **terminal: Any) -> None:
        self.lines: list[bytes] = []
        self.json = terminal.pop("as_json", False)
        console = Console(file=io.StringIO(), highlight=False, markup=False, emoji=False, **terminal)
        self.printer = Printer(
            wanted or Wanted(), sources=sources, as_json=self.json, console=console, write=self._write
        )

    def _write(self, data: bytes) -> None:
        self.lines += data.splitlines()

    def one(self, event: Event, source: str = "acme") -> str:
        self.printer.show(source, [event])
        return self.lines[-1].decode()


@asynccontextmanager
async def following(running: Running, shown: Shown, **changes: Any) -> AsyncIterator[None]:
    settings = config(running.url, poll_interval_secs=0.1, **{"start": "latest", **changes})
    reading = asyncio.ensure_future(_read("acme", settings, shown.printer))
    asked = len(running.tenant.requests)
    await running.until(lambda: sum(one.path == LOGS for one in running.tenant.requests[asked:]) >= 2)
    yield
    reading.cancel()
    await asyncio.wait([reading])


# -- nothing is lost ---------------------------------------------------------------------------------------------------


async def test_a_burst_between_two_polls_is_shown_whole_and_in_order_and_nothing_of_before() -> None:
    made = [raw(number) for number in range(350)]
    async with serve(Tenant(events=[raw for _, raw in Tenant(count=60, plan="none").issued()], plan="none")) as running:
        shown = Shown(as_json=True)
        async with following(running, shown):
            for one in made:
                running.tenant.add(one)
            await running.until(lambda: len(shown.lines) >= 350)
        assert shown.lines == made


async def test_since_shows_what_was_there_and_goes_on() -> None:
    async with serve(Tenant(events=[raw(1), raw(2)], plan="none")) as running:
        shown = Shown(as_json=True)
        async with following(running, shown, start="earliest"):
            await running.until(lambda: len(shown.lines) >= 2)
            running.tenant.add(raw(3))
            await running.until(lambda: len(shown.lines) >= 3)
        assert shown.lines == [raw(1), raw(2), raw(3)]


async def test_logtos_events_are_shown_by_the_same_way_each_once_though_stretches_overlap() -> None:
    given = {"type": "logto", "app_id": "simulated-client", "app_secret": Secret("simulated-secret"), "proxy": "none"}
    made = [logto_event(_now_ms() - 60_000 + 500 * number, number, key=KEYS[number % 2]) for number in range(100)]
    async with serve(LogtoTenant(events=made)) as running:
        changes = {"endpoint": running.url, "poll_interval_secs": 0.1, "window_margin_secs": 1, "start": "earliest"}
        settings = LogtoConfig.model_validate({**given, **changes})
        shown = Shown(Wanted(categories=("auth.login",), outcomes=("success",)), as_json=True)
        reading = asyncio.ensure_future(_read("acme", settings, shown.printer))
        await running.until(lambda: len(shown.lines) >= 50)
        fresh = [logto_event(_now_ms(), number, key=KEYS[number % 2]) for number in range(100, 110)]
        for raw in fresh:
            running.tenant.add(raw)
        await running.until(lambda: len(shown.lines) >= 55)
        asked = len(running.tenant.requests)
        await running.until(lambda: len(running.tenant.requests) > asked + 2)
        reading.cancel()
        await asyncio.wait([reading])
        assert shown.lines[:50] == made[::2]
        assert sorted(shown.lines[50:]) == sorted(fresh[::2])


def _now_ms() -> int:
    return int(time.time() * 1000)


async def test_trouble_is_one_line_on_stderr_and_what_came_meanwhile_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with serve(Tenant(events=[], plan="none")) as running:
        shown = Shown(as_json=True)
        async with following(running, shown):
            asked = len(running.tenant.requests)
            running.tenant.script.append(error(429, "Too Many Requests", "\x1b[31m"))
            await running.until(lambda: len(running.tenant.requests) > asked)
            running.tenant.add(raw(1))
            await running.until(lambda: len(shown.lines) >= 1)
        assert shown.lines == [raw(1)]
    said = capsys.readouterr().err
    assert said.splitlines()[:1] == ["shipper: acme: follows its log"]
    assert "shipper: acme: waiting: throttled: HTTP 429: the tenant's rate limit is used up. The other end" in said
    assert said.splitlines()[-1] == "shipper: acme: goes on again"
    assert len(said.splitlines()) == 3


async def test_what_an_overlap_brings_twice_is_shown_once_and_a_late_page_moves_nothing() -> None:
    from shipper.event import Page

    seen: list[str] = []
    handle = Unkept("acme", lambda events: seen.extend(event.id for event in events))
    await handle.begin("latest", b"0", 5)

    def page(ids: str, checkpoint: bytes, *, late: bool = False) -> Page:
        return Page([event(b"{}", id=id_) for id_ in ids], checkpoint, 7, late=late)

    appended = [await handle.append(page("abab", b"1")), await handle.append(page("bc", b"2"))]
    assert [(one.stored, one.duplicates) for one in appended] == [(2, 2), (1, 1)]
    await handle.append(page("dc", b"late", late=True))
    assert (seen, handle.figures.checkpoint, handle.figures.horizon) == (list("abcd"), b"2", 7)
    assert [await handle.known_since(back) for back in (0, 1, 9)] == ["d", "c", "a"]
    many = [event(b"{}", id=str(number)) for number in range(REMEMBERED)]
    await handle.append(Page(many, b"3", 8))
    assert await handle.known_since(REMEMBERED * 2) == "0"


# -- what is shown -----------------------------------------------------------------------------------------------------

NAMES = {"user_name": "jane@example.com", "user_id": "auth0|1", "ip": "203.0.113.7", "client_name": "Portal"}
FAILED = json.dumps({**NAMES, "description": "Wrong"}).encode()


def test_a_line_has_time_source_type_name_user_address_client_and_words() -> None:
    shown = Shown(sources=("acme", "other"), width=200)
    line = " ".join(shown.one(event(FAILED, "fp", date="2026-11-20T11:59:58.123Z")).split())
    named = "Failed Login (Incorrect Password) jane@example.com 203.0.113.7 Portal Wrong"
    assert line == f"2026-11-20T11:59:58.123Z acme fp {named}"
    bare = " ".join(shown.one(event(b"{}", ""), "other").split())
    assert bare == "2026-09-21T14:13:20.123Z other - unknown type - - - -"


def test_nothing_that_others_wrote_acts_on_a_terminal_or_makes_a_second_line() -> None:
    hostile = json.dumps(
        {"user_name": "\x1b]0;x\x07\r\n", "ip": "\u202e", "client_name": "[red]:smile:", "description": "\x9b"}
    )
    for force_terminal in (False, True):
        for as_json in (False, True):
            shown = Shown(force_terminal=force_terminal, color_system=None, as_json=as_json, width=200)
            for one in (hostile.encode(), HOSTILE_JSON, b"{" + HOSTILE_BYTES.replace(b"\r\n", b"")):
                shown.printer.show("acme", [event(one, "\x1b[2Js", date="\x1b[1m")])
            assert len(shown.lines) == 3
            if force_terminal or not as_json:
                assert all(nothing_acts(line.decode()) for line in shown.lines)


def test_json_in_a_pipe_is_the_events_own_bytes() -> None:
    shown = Shown(as_json=True)
    shown.printer.show("acme", [event(HOSTILE_JSON)])
    assert shown.lines == [HOSTILE_JSON]


def test_a_terminal_gets_one_row_an_event_in_the_colour_of_its_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal: dict[str, Any] = {"force_terminal": True, "color_system": "standard", "width": 60}
    lines = {type_: Shown(**terminal).one(event(FAILED, type_)) for type_ in ("fp", "s", "w")}
    assert ["31m" in lines["fp"], "32m" in lines["s"], "31m" in lines["w"] or "32m" in lines["w"]] == [
        True,
        True,
        False,
    ]
    plain = Shown(force_terminal=True, color_system=None, width=60).one(event(FAILED, "fp"))
    assert (len(plain), plain[-1]) == (60, "…")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "31m" not in Shown(**terminal).one(event(FAILED, "fp"))


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (Wanted(), "s fp seccft brand_new"),
        (Wanted(types=("fp", "brand_new")), "fp brand_new"),
        (Wanted(types=("s*",)), "s seccft"),
        (Wanted(categories=("auth.login",)), "s fp"),
        (Wanted(categories=("auth.login.fail", "other")), "fp brand_new"),
        (Wanted(outcomes=("success",)), "s seccft"),
        (Wanted(outcomes=("failure", "other")), "fp brand_new"),
        (Wanted(user="JANE"), "s fp seccft brand_new"),
        (Wanted(user="auth0|1", types=("fp",)), "fp"),
        (Wanted(user="joe"), ""),
        (Wanted(text="portal"), "s fp seccft brand_new"),
        (Wanted(text="nowhere"), ""),
        (Wanted(types=("s",), outcomes=("failure",)), ""),
    ],
)
def test_filters(wanted: Wanted, taken: str) -> None:
    shown = Shown(wanted, as_json=True)
    events = [
        event(FAILED[:-1] + b',"type":"%b"}' % one, one.decode()) for one in (b"s", b"fp", b"seccft", b"brand_new")
    ]
    shown.printer.show("acme", events)
    assert " ".join(json.loads(line)["type"] for line in shown.lines) == taken


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--since", "yesterday"], "--since: must be"),
        (["--category", "auth.logn"], "--category: `shipper types` lists no auth.logn; did you mean auth.login?"),
        (["--outcome", "bad"], "Invalid value for '--outcome'"),
        (["--type", "fpp"], "--type: no type fpp is known; did you mean fp?\n"),
    ],
)
def test_wrong_words_are_said(words: list[str], said: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["tail", *words, "--config", str(tmp_path / "none")])
    assert said in done.stderr
    # A type may be new, so that alone is no mistake; what ends it then is the missing configuration.
    assert done.exit_code == (78 if "--type" in words else 2)


# -- as it is typed ----------------------------------------------------------------------------------------------------


def tail(daemon: Daemon, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "shipper", "tail", "--json", *words, "--config", str(daemon.config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ(),
    )


def follows(process: "subprocess.Popen[str]") -> None:
    assert process.stderr is not None
    assert "using" in process.stderr.readline()
    assert process.stderr.readline() == "shipper: acme: follows its log\n"


def waiting_in(process: "subprocess.Popen[str]") -> int:
    """Bytes in its output that nobody has read."""
    assert process.stdout is not None
    return int.from_bytes(fcntl.ioctl(process.stdout, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_tail_works_beside_a_daemon_and_without_one_and_leaves_no_trace(tmp_path: Path) -> None:
    with TenantThread(Tenant(events=[raw(0).replace(b"9002999", b"9002020")], **CLIENT)) as running:
        daemon = Daemon(tmp_path, running.url, "")
        process = tail(daemon)
        follows(process)
        assert not (tmp_path / "state").exists()
        daemon.start()
        daemon.until(lambda: len(daemon.lines) == 1)
        running.tenant.add(raw(1))
        assert process.stdout is not None
        assert [json.loads(process.stdout.readline())["log_id"]] == [json.loads(raw(1))["log_id"]]
        daemon.until(lambda: len(daemon.lines) == 2)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "")
        assert process.returncode == 0
        running.tenant.add(raw(2))
        daemon.until(lambda: len(daemon.lines) == 3)
        assert daemon.stop() == 0


def test_tail_ends_quietly_when_its_reader_goes_and_by_ctrl_c_when_nobody_reads(tmp_path: Path) -> None:
    with TenantThread(Tenant(events=[raw(0)], **CLIENT)) as running:
        daemon = Daemon(tmp_path, running.url, "")
        process = tail(daemon)
        follows(process)
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.stderr.close()
        running.tenant.add(raw(1, words="x" * 1_000_000))
        stuck = tail(daemon, "--since", "earliest")
        follows(stuck)
        assert stuck.stdout is not None
        size = fcntl.fcntl(stuck.stdout, fcntl.F_GETPIPE_SZ)
        until(lambda: waiting_in(stuck) == size)
        os.kill(stuck.pid, signal.SIGINT)
        assert stuck.wait(30) == 0
        stuck.communicate()
