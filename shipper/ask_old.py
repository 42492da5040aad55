"""What an operator asks of a daemon that runs, or of the journal of one that does not."""

import getpass
import json
import socket
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click
from rich.console import Console
from rich.table import Table

from shipper.admin import SOCKET_NAME
from shipper.config import Settings
from shipper.exit_status import NO_DAEMON, OK, UNDONE, USAGE
from shipper.journal import UnknownNameError
from shipper.journal.sqlite import SqliteJournal
from shipper.sources.chain import Checkpoint

ANSWER_WITHIN_SECS = 10.0


def print_status(settings: Settings, *, as_json: bool) -> int:
    """The daemon's own view of itself. Returns 0 when all runs, 1 when something is wrong, 69 without a daemon."""
    try:
        found = _get(_listener(settings), "/api/status")
    except (OSError, HTTPException, ValueError):
        click.echo(f"shipper: no daemon answers for {settings.state_dir}: is it running?", err=True)
        return NO_DAEMON
    wrong = [part for part in (*found["sources"], *found["lanes"]) if part["state"] not in ("running", "disabled")]
    if as_json:
        click.echo(json.dumps(found))
        return UNDONE if wrong else OK
    console = _console()
    sources = Table("source", "state", "stored", "behind", "retention left")
    for source in found["sources"]:
        behind, left = _span(source["lag_seconds"]), _span(source["retention_headroom_seconds"])
        sources.add_row(source["source"], source["state"], str(source["events"]), behind, left)
    console.print(sources)
    lanes = Table("lane", "state", "delivered", "waiting", "behind", "dead letters")
    for lane in found["lanes"]:
        figures = (
            str(lane["delivered"]),
            str(lane["lag_events"]),
            _span(lane["lag_seconds"]),
            str(lane["dead_letters"]),
        )
        lanes.add_row(f"{lane['source']} → {lane['sink']}", lane["state"], *figures)
    console.print(lanes)
    for part in wrong:
        name = f"{part['source']} → {part['sink']}" if "sink" in part else part["source"]
        console.print(f"{name}: {part['state']} for {_span(part['for_seconds'])}: {part['reason']}: {part['note']}")
        console.print(f"  {part['do']}")
    return UNDONE if wrong else OK


async def print_dead_letters(settings: Settings, wanted: Mapping[str, str], *, as_json: bool) -> int:
    """The list, from the daemon through its socket, else from the journal."""
    try:
        letters: list[dict[str, Any]] = _get(_operator_socket(settings), f"/api/dead?{urlencode(wanted)}")
    except (OSError, HTTPException, ValueError):
        journal = await _journal(settings)
        letters = [
            dict(letter.listed())
            for letter in await journal.dead_letters(
                source=wanted["source"], sink=wanted["sink"], reason=wanted["reason"]
            )
        ]
        await journal.close()
    if as_json:
        for letter in letters:
            click.echo(json.dumps(letter))
        return OK
    table = Table("id", "source", "sink", "reason", "event", "given up")
    for letter in letters:
        table.add_row(
            str(letter["id"]), letter["source"], letter["sink"], letter["reason"], ascii(letter["event_id"])[1:-1],
            _moment(letter["at"]),
        )  # fmt: skip
    _console().print(table if letters else "no dead letters")
    return OK


async def print_checkpoints(settings: Settings) -> int:
    """Where each source resumes."""
    journal = await _journal(settings)
    table = Table("source", "tenant", "resumes behind", "events stored")
    for source in journal.figures.sources.values():
        last = Checkpoint.decode(source.checkpoint).last if source.checkpoint else "not started"
        table.add_row(source.name, source.tenant, last, str(source.stored))
    _console().print(table)
    await journal.close()
    return OK


async def set_checkpoint(settings: Settings, source: str, log_id: str) -> int:
    """Makes a source resume elsewhere. Raises UnknownNameError where the journal has no such source."""
    journal = await _journal(settings)
    try:
        figures = journal.figures.sources.get(source)
        if figures is None:
            known = ", ".join(journal.figures.sources) or "none"
            raise UnknownNameError("operator", f"the journal knows no source {source!r} (it knows: {known})")
        before = Checkpoint.decode(figures.checkpoint).last if figures.checkpoint else "not started"
        audit = f"checkpoint set {source} from {before} to {log_id}"
        await journal.set_checkpoint(source, Checkpoint(log_id).encode(), audit, getpass.getuser())
        click.echo(f"{source} resumes behind {log_id} (before: {before})")
    finally:
        await journal.close()
    return OK


def retry(settings: Settings, name: str, accept_dead: int) -> int:
    """Makes the daemon try at once. Returns 0, 2 for a name that nothing has, 69 without a daemon."""
    try:
        found = _ask(settings, "retry", {"name": name, "accept_dead": str(accept_dead)})
    except (OSError, HTTPException, ValueError):
        click.echo(f"shipper: no daemon answers for {settings.state_dir}: is it running?", err=True)
        return NO_DAEMON
    if not found["woken"]:
        click.echo(f"shipper: nothing of the name {name!r} is running", err=True)
        return USAGE
    click.echo(f"{found['woken']} sources and lanes try now")
    return OK


async def forget(settings: Settings, kind: str, name: str) -> int:
    """Gives up what waits for a sink, or a source with all its events. Raises UnknownNameError."""
    question = {"kind": kind, "name": name, "who": getpass.getuser()}
    try:
        waiting = _ask(settings, "forget", question)["given_up"]
    except (OSError, HTTPException):
        journal = await _journal(settings)
        try:
            waiting = await journal.forget(kind, name, question["who"])
        finally:
            await journal.close()
    click.echo(f"{kind} {name} is forgotten; {waiting} events given up")
    return OK


async def rename(settings: Settings, old: str, new: str) -> int:
    """Carries a sink's places and dead letters to a new name. Raises UnknownNameError."""
    question = {"old": old, "new": new, "who": getpass.getuser()}
    try:
        _ask(settings, "rename", question)
    except (OSError, HTTPException):
        journal = await _journal(settings)
        try:
            await journal.rename(old, new, question["who"])
        finally:
            await journal.close()
    click.echo(f"the sink {old} is now {new}: give it that name in the configuration")
    return OK


def _ask(settings: Settings, what: str, question: Mapping[str, str]) -> Any:
    """The daemon's answer. Raises OSError where none runs, UnknownNameError with its words where it refuses."""
    answer = _get(_operator_socket(settings), f"/api/{what}?{urlencode(question)}", "POST")
    if "refused" in answer:
        raise UnknownNameError("operator", answer["refused"])
    return answer


async def _journal(settings: Settings) -> SqliteJournal:
    return await SqliteJournal.open(settings.state_dir, max_bytes=settings.journal.max_bytes)


def _get(connection: HTTPConnection, path: str, method: str = "GET") -> Any:
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        if answer.status not in (200, 409):
            raise ValueError(f"HTTP {answer.status}")
        return json.loads(answer.read())
    finally:
        connection.close()


def _listener(settings: Settings) -> HTTPConnection:
    """Reading goes over admin.listen; where there is none, over the operator's socket."""
    if not settings.admin.listen:
        return _operator_socket(settings)
    host, _, port = settings.admin.listen.rpartition(":")
    host = host.strip("[]").replace("0.0.0.0", "127.0.0.1")  # noqa: S104  asks there, does not listen
    return HTTPConnection(host, int(port), timeout=ANSWER_WITHIN_SECS)


def _operator_socket(settings: Settings) -> HTTPConnection:
    return _UnixConnection(settings.state_dir / "journal" / SOCKET_NAME)


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_WITHIN_SECS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _console() -> Console:
    """Tables keep their lines whole where nobody looks at a terminal."""
    return Console(highlight=False) if Console().is_terminal else Console(width=200, highlight=False)


def _span(secs: float | None) -> str:
    if secs is None:
        return "unknown"
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if secs >= 2 * size:
            return f"{secs / size:.1f} {unit}"
    return f"{secs:.1f} s"


def _moment(at_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
