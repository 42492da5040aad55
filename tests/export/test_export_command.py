"""`shipper export` as it is typed: senseless words, kill -9, Ctrl-C, a full disk, a terminal, a closed pipe."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from daemon_case import Daemon, TenantThread, environ, until
from export_case import spread
from test_dead import CLIENT, NOBODY

from shipper.cli import main
from shipper.simulator.tenant import Tenant


def typed(*words: str, config: Path | None = None) -> tuple[int, str]:
    """The exit status and what was said, of words that lead nowhere."""
    done = CliRunner().invoke(main, ["export", *words, "--config", str(config or "/nowhere")])
    return done.exit_code, done.stderr


FROM = ["--from", "24h"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "shipper: say which events: --from TIME (or earliest), --query or --user\n"),
        (["--until", "1h"], "shipper: say which events: "),
        (["--from", "yesterday"], "Invalid value for '--from': must be a time like 2026-11-01T00:00:00Z"),
        (["--from", "2026-11-01T00:00:00"], "must say its time zone"),
        (["--from", "1h", "--until", "2h"], "shipper: --from must be before --until\n"),
        ([*FROM, "--fields", "a", "--exclude-fields", "b"], "shipper: --fields or --exclude-fields: one of them\n"),
        ([*FROM, "--rate", "5"], "shipper: --rate and --accept-dead go with --to\n"),
        ([*FROM, "--accept-dead", "5"], "shipper: --rate and --accept-dead go with --to\n"),
        ([*FROM, "--resume", "x"], "shipper: --resume goes with --output FILE or --to SINK: nobody knows"),
        ([*FROM, "--resume", "x", "-o", "-"], "shipper: --resume goes with --output FILE or --to SINK"),
        ([*FROM, "--to", "siem", "-o", "x"], "shipper: --output or --to: one of them\n"),
        ([*FROM, "--to", "siem", "--format", "raw"], "shipper: --format is for files: a sink has its own\n"),
        (["--query", "", "--to", "siem", "--fields", "date"], "shipper: --to takes whole events: "),
        (["--query", "", "--page", "-1"], "Invalid value for '--page'"),
        (["--query", "", "--per-page", "101"], "Invalid value for '--per-page'"),
        (["--query", "", "--per-page", "0"], "Invalid value for '--per-page'"),
        ([*FROM, "--format", "csv"], "Invalid value for '--format'"),
    ],
)
def test_words_that_make_no_sense_are_said_before_anything_else(words: list[str], says: str) -> None:
    status, said = typed(*words)
    assert (status, says in said) == (2, True), said


def test_one_source_and_what_it_offers_must_be_clear(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, NOBODY, "")
    assert daemon.command("export", "--user", "x", "--sort", "log_id:1").returncode == 2
    second = '[sources.other]\ntype = "auth0"\ndomain = "other.us.auth0.com"\ntoken = "x"\n'
    daemon.config.write_text(daemon.config.read_text().replace("[sinks.console]", f"{second}[sinks.console]"))
    done = daemon.command("export", *FROM)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == "shipper: say which source: --source acme | other"


def test_help_shows_quotation_marks_for_exact_values() -> None:
    done = CliRunner().invoke(main, ["export", "--help"])
    assert """--query 'type:fp AND ip:"203.0.113.7"'""" in done.output
    assert 'description:"Username invalid"' in " ".join(done.output.split())


# -- as a process ------------------------------------------------------------------------------------------------------


class Typed:
    """The command in a directory with a configuration."""

    def __init__(self, place: Path, url: str) -> None:
        self.config = Daemon(place, url, "").config
        self.place, self.out = place, place / "out.ndjson"

    def start(self, *words: str, before: tuple[str, ...] = (), **streams: Any) -> "subprocess.Popen[bytes]":
        command = [*before, sys.executable, "-m", "shipper", "export", *words, "--config", str(self.config)]
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        return subprocess.Popen(command, env=environ(), cwd=self.place, **given)

    def run(self, *words: str, **streams: Any) -> tuple[int, bytes, list[str]]:
        """The exit status, what came out, and what was said."""
        process = self.start(*words, **streams)
        out, said = process.communicate(timeout=60)
        return process.returncode, out or b"", said.decode().splitlines()


def test_kill_9_again_and_again_leaves_nothing_out_and_nothing_twice(tmp_path: Path) -> None:
    events = spread(1_000)
    with TenantThread(Tenant(events=events, latency_secs=0.02, **CLIENT)) as running:
        one = Typed(tmp_path, running.url)
        words = ["--from", "earliest", "--format", "raw", "-o", "out.ndjson"]
        for kill in range(2):
            size = one.out.stat().st_size if kill else 0
            process = one.start(*words)
            until(lambda size=size: one.out.exists() and one.out.stat().st_size > size + 20_000)
            process.kill()
            process.communicate(timeout=60)
        status, out, said = one.run(*words)
        assert (status, out) == (0, b"")
        assert said[-1] == "shipper: 1000 events of acme in out.ndjson"
        assert one.out.read_bytes().splitlines() == events
        assert not (tmp_path / "state").exists()


def test_ctrl_c_and_a_full_disk_end_in_words_and_the_same_command_goes_on(tmp_path: Path) -> None:
    events = spread(500)
    with TenantThread(Tenant(events=events, latency_secs=0.02, **CLIENT)) as running:
        one = Typed(tmp_path, running.url)
        words = ["--from", "earliest", "--format", "raw", "--output", "out.ndjson"]
        # A file may not grow beyond so many blocks of 1 KiB, as if there were no more room.
        limited = ("bash", "-c", 'ulimit -f 30; exec "$@"', "bash")
        status, _, said = one.run(*words, before=limited)
        assert status == 74
        assert said[-1] == "shipper: out.ndjson: File too large"
        process = one.start(*words)
        until(lambda: b'"delivered":200' in (tmp_path / "out.ndjson.progress").read_bytes())
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
        assert process.returncode == 1
        assert rest.decode().splitlines()[-1] == "shipper: stopped before the end: the same command goes on from here"
        assert 0 < one.out.stat().st_size < sum(map(len, events))
        assert one.run(*words)[0] == 0
        assert one.out.read_bytes().splitlines() == events


def test_a_terminal_gets_a_bar_with_rate_and_remaining_time_and_the_file_is_the_same(tmp_path: Path) -> None:
    events = spread(900)
    with TenantThread(Tenant(events=events, latency_secs=0.05, **CLIENT)) as running:
        one = Typed(tmp_path, running.url)
        ours, theirs = pty.openpty()
        process = one.start("--from", "2026-01-01T00:00:00Z", "-o", "out.ndjson", stdout=theirs, stderr=theirs)
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 65_536)
            except OSError:
                break
        os.close(ours)
        assert process.wait(60) == 0
        assert b"export acme" in shown
        assert b" events, " in shown
        assert b"/s " in shown
        assert b"0:00:0" in shown
        assert len(one.out.read_bytes().splitlines()) == 900


def test_stdout_is_exact_in_a_pipe_escaped_on_a_terminal_and_may_be_closed(tmp_path: Path) -> None:
    odd = b'{"log_id":"90020260101%045d","x":"\x1b[2J"}' % 0
    events = [odd, *spread(300)]
    with TenantThread(Tenant(events=events, **CLIENT)) as running:
        one = Typed(tmp_path, running.url)
        words = ["--from", "earliest", "--format", "raw"]
        status, out, said = one.run(*words)
        assert (status, out.splitlines()) == (0, events)
        assert b"\x1b" not in "".join(said).encode()
        ours, theirs = pty.openpty()
        assert one.run(*words, "--until", "2026-02-01T00:00:00Z", stdout=theirs)[0] == 0
        assert os.read(ours, 4096).rstrip() == odd.replace(b"\x1b", b"\\u001b")
        os.close(theirs)
        os.close(ours)
        process = one.start(*words)
        assert process.stdout is not None
        assert process.stdout.readline() == odd + b"\n"
        process.stdout.close()
        assert process.stderr is not None
        process.stderr.read()
        process.stderr.close()
        assert process.wait(60) == 74
        assert not (tmp_path / "state").exists()
