"""`shipper get`: one event as its source still has it, or one line that says why not."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from daemon_case import Daemon, TenantThread, environ
from logto_case import event as logto_event
from logto_case import id_of
from test_dead import CLIENT, HOSTILE_BYTES, HOSTILE_JSON, NOBODY, nothing_acts

from shipper.commands.get import print_event
from shipper.secret import Secret
from shipper.simulator.answer import Answer, error
from shipper.simulator.logto import LogtoTenant
from shipper.simulator.server import Running, serve
from shipper.simulator.tenant import Tenant
from shipper.sources.auth0_config import Auth0Config
from shipper.sources.logto_config import LogtoConfig

ODD = b'{"log_id":"%d", "z":1.50 ,"n":123456789012345678901234567890,"cut":"\\ud83e","u":"\xc3\xa9"}'
ID = "9" * 56
RAW = ODD % int(ID)


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    made = [raw for _, raw in Tenant(count=20, plan="none").issued()]
    async with serve(Tenant(events=[*made, RAW], plan="none")) as tenant:
        yield tenant


def config(url: str, **changes: Any) -> Auth0Config:
    given = {"client_id": "simulated-client", "client_secret": Secret("simulated-secret"), **changes}
    return Auth0Config(type="auth0", domain="acme.us.auth0.com", base_url=url, **given)


async def got(
    running: Running, capture: pytest.CaptureFixture[bytes], id_: str = ID, *, laid_out: bool = False, **changes: Any
) -> tuple[int, bytes, str]:
    async def sleep(secs: float) -> None:
        assert 0 <= secs <= 15

    status = await print_event("acme", config(running.url, **changes), id_, laid_out=laid_out, sleep=sleep)
    printed = capture.readouterr()
    return status, printed.out, printed.err.decode()


async def test_a_pipe_gets_an_events_bytes_as_the_tenant_sent_them(
    running: Running, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    for id_, raw in running.tenant.issued():
        assert await got(running, capsysbinary, id_) == (0, raw + b"\n", "")


async def test_a_terminal_only_shows_it(running: Running, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    for hostile in (HOSTILE_JSON, b"{" + HOSTILE_BYTES):
        running.tenant.script.append(Answer(200, {}, hostile))
        status, out, _ = await got(running, capsysbinary, laid_out=True)
        assert status == 0
        assert nothing_acts(out.decode())
    assert json.loads((await got(running, capsysbinary, laid_out=True))[1]) == json.loads(RAW)


@pytest.mark.parametrize(
    ("scripted", "changes", "words"),
    [
        (None, {}, "acme: not_found: there is no such event, or no longer. Check the id; the event may be older"),
        (error(403, "Forbidden", "no", "insufficient_scope"), {}, "acme: forbidden: HTTP 403: the application needs"),
        (error(429, "Too Many Requests", "no"), {}, "acme: throttled: HTTP 429: the tenant's rate limit is used up. "),
        (error(500, "Error", "\x1b[31mno"), {}, "acme: server_error: HTTP 500 from 127.0.0.1"),
        (error(302, "Found", "no"), {}, "acme: redirected: HTTP 302 from 127.0.0.1"),
        (error(400, "Bad Request", "no"), {}, "acme: refused: HTTP 400: the tenant rejects the request"),
        (Answer(200, {}, b"<html>"), {}, "acme: bad_answer: HTTP 200 but no JSON object: is http://127.0.0.1"),
        (Answer(200, {}, RAW, cut_after=9), {}, "acme: bad_answer: 127.0.0.1: the answer was cut off"),
        (None, {"client_secret": Secret("wrong")}, "acme: auth: token request: HTTP 401 (access_denied)"),
    ],
)
async def test_what_goes_wrong_is_one_line(
    running: Running,
    capsysbinary: pytest.CaptureFixture[bytes],
    scripted: Answer | None,
    changes: dict[str, Any],
    words: str,
) -> None:
    running.tenant.script += [] if scripted is None else [scripted] * 100
    status, out, said = await got(running, capsysbinary, "9" * 55 + "8", **changes)
    assert (status, out) == (1, b"")
    *before, last = said.splitlines()
    assert last.startswith(f"shipper: {words}")
    assert all(line.startswith("shipper: acme: waiting: ") for line in before)
    assert len(before) <= (words.split(": ")[1] in ("throttled", "server_error", "bad_answer"))
    assert nothing_acts(said)


async def test_what_passes_by_itself_is_waited_out_with_one_token(
    running: Running, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    running.tenant.script += [error(429, "Too Many Requests", "no"), error(503, "Error", "no")]
    assert (await got(running, capsysbinary))[:2] == (0, RAW + b"\n")
    assert running.tenant.script == []
    assert sum(asked.path == "/oauth/token" for asked in running.tenant.requests) == 1


async def test_an_event_past_its_retention_is_gone_though_its_neighbours_are_not(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    tenant = Tenant(count=100, history_secs=2 * 86_400, retention_days=1, plan="none")
    old, new = min(tenant.ids()), max(tenant.ids())
    async with serve(tenant) as running:
        assert (await got(running, capsysbinary, new))[0] == 0
        assert (await got(running, capsysbinary, old))[0] == 1


async def test_an_event_of_logtos_is_asked_by_its_id(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    given = {"type": "logto", "app_id": "simulated-client", "app_secret": Secret("simulated-secret"), "proxy": "none"}
    raw = logto_event(1_790_000_000_000, 7)
    async with serve(LogtoTenant(events=[raw])) as running:
        settings = LogtoConfig.model_validate({**given, "endpoint": running.url})
        assert await print_event("acme", settings, id_of(raw), laid_out=False) == 0
        assert capsysbinary.readouterr() == (raw + b"\n", b"")
        assert await print_event("acme", settings, "x" * 21, laid_out=False) == 1
        said = capsysbinary.readouterr().err.decode()
        assert said.startswith("shipper: acme: not_found: there is no such event, or no longer. Check the id;")
        assert said.count("\n") == 1


# -- as it is typed ----------------------------------------------------------------------------------------------------


def test_get_asks_the_only_source_and_looks_whether_a_terminal_shows_it(tmp_path: Path) -> None:
    raw = b'{"log_id":"%b","u":"\x7f"}' % ID.encode()
    with TenantThread(Tenant(events=[raw], **CLIENT)) as running:
        daemon = Daemon(tmp_path, running.url, "")
        words = [sys.executable, "-m", "shipper", "get", ID, "--config", str(daemon.config)]
        done = subprocess.run(words, capture_output=True, env=environ(), timeout=30)
        assert (done.returncode, done.stdout) == (0, raw + b"\n")
        assert done.stderr.decode() == f"shipper: using {daemon.config}\n"
        ours, theirs = pty.openpty()
        subprocess.run(words, stdout=theirs, stderr=subprocess.DEVNULL, env=environ(), timeout=30, check=True)
        assert os.read(ours, 4096).decode() == f'{{\r\n  "log_id": "{ID}",\r\n  "u": "\\u007f"\r\n}}\r\n'
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("words", [["get", ID], ["types"], ["tail", "--since", "earliest"]], ids=lambda words: words[0])
def test_output_that_can_not_be_written_is_one_line(tmp_path: Path, words: list[str]) -> None:
    with TenantThread(Tenant(events=[RAW], **CLIENT)) as running:
        daemon = Daemon(tmp_path, running.url, "")
        environment = {**environ(), "SHIPPER_CONFIG": str(daemon.config)}
        for shell, said in (
            ('exec "$@" > /dev/full', "shipper: stdout: No space left on device"),
            ('exec "$@" >&-', "shipper: stdout is closed: let it go somewhere, at least to /dev/null"),
        ):
            command = ["bash", "-c", shell, "bash", sys.executable, "-m", "shipper", *words]
            done = subprocess.run(command, capture_output=True, env=environment, timeout=30, text=True)
            assert (done.returncode, done.stderr.splitlines()[-1]) == (74, said)
            assert "Traceback" not in done.stderr


def test_which_source_is_meant_must_be_clear(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, NOBODY, "")
    second = '[sources.other]\ntype = "auth0"\ndomain = "other.us.auth0.com"\ntoken = "x"\n'
    daemon.config.write_text(daemon.config.read_text().replace("[sinks.console]", f"{second}[sinks.console]"))
    for words, said in (
        (["get", ID], "shipper: say which source has it: --source acme | other"),
        (["get", ID, "--source", "nix\x1b"], "shipper: --source: there is no source nix\\u001b (there: acme, other)"),
        (["get", "../users"], "shipper: LOG_ID: letters, digits, - and _ only: as in an event's log_id, or Logto's id"),
    ):
        done = daemon.command(*words)
        assert (done.returncode, done.stdout, done.stderr.splitlines()[-1]) == (2, "", said)
