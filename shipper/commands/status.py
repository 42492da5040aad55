"""`shipper status` and `shipper retry`: for a daemon that runs."""

from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shipper.commands import config_option, own_settings_of, run_async, who
from shipper.exit_status import NO_DAEMON, OK, UNDONE, USAGE

if TYPE_CHECKING:
    from rich.console import Console

    from shipper.config import Settings

ALIVE_WITHIN_SECS = 8.0
"""The daemon gives its journal 5 s to answer; health checks wait 10 s for us."""


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="The whole status as JSON.")
@click.option("--alive", is_flag=True, help="Only whether the daemon answers, however its lanes are doing.")
def status(config_file: Path | None, *, as_json: bool, alive: bool) -> None:
    """How the running daemon is doing; 1 when something is wrong."""
    settings = own_settings_of(config_file, say=not (as_json or alive))
    if alive:
        run_async(lambda: _alive(settings))
    raise SystemExit(_status(settings, as_json=as_json))


def _status(settings: "Settings", *, as_json: bool) -> int:
    import json

    from shipper.commands.shown import console

    try:
        found = _asked(settings)
    except PermissionError:
        path = settings.state_dir
        click.echo(f"shipper: the daemon of {path} belongs to another user: ask as that one, or as root", err=True)
        return NO_DAEMON
    except (OSError, HTTPException, ValueError):
        return _no_daemon(settings)
    wrong = [part for part in (*found["sources"], *found["lanes"]) if part["state"] not in ("running", "disabled")]
    if as_json:
        click.echo(json.dumps(found))
    else:
        out = console()
        _print_tables(out, found)
        _print_remarks(out, found)
        _print_troubles(out, wrong)
    return UNDONE if wrong else OK


async def _alive(settings: "Settings") -> int:
    """What a liveness probe asks, over the operator's socket: that is there whatever admin.listen says."""
    from shipper.ask import UnixConnection, listens, socket_of

    path = socket_of(settings)
    if not listens(path):
        return _no_daemon(settings)
    connection = UnixConnection(path)
    connection.timeout = ALIVE_WITHIN_SECS
    try:
        _answer(connection, "/-/healthy")
    except (OSError, HTTPException, ValueError) as error:
        words = error if isinstance(error, ValueError) else f"no answer ({type(error).__name__})"
        click.echo(f"shipper: the daemon of {settings.state_dir} does not live: {words}", err=True)
        return UNDONE
    return OK


def _no_daemon(settings: "Settings") -> int:
    click.echo(f"shipper: no daemon answers for {settings.state_dir}: is it running?", err=True)
    return NO_DAEMON


def _print_tables(out: "Console", found: dict[str, Any]) -> None:
    from rich.table import Table

    from shipper.commands.shown import span

    sources = Table("source", "state", "stored", "behind", "retention left")
    for source in found["sources"]:
        behind, left = span(source["lag_seconds"]), span(source["retention_headroom_seconds"])
        sources.add_row(source["source"], source["state"], str(source["events"]), behind, left)
    out.print(sources)
    lanes = Table("lane", "state", "delivered", "waiting", "behind", "dead letters")
    for lane in found["lanes"]:
        counts = str(lane["delivered"]), str(lane["lag_events"]), span(lane["lag_seconds"]), str(lane["dead_letters"])
        lanes.add_row(_name(lane), lane["state"], *counts)
    out.print(lanes)


def _print_remarks(out: "Console", found: dict[str, Any]) -> None:
    """What is not trouble now, but must not be overlooked."""
    from shipper.commands.shown import moment

    if found.get("reload_refused"):
        out.print("the last reload was refused, and the configuration before it is in force: `shipper reload` says why")
    for source in found["sources"]:
        if source.get("retention_gaps"):
            last = source["last_retention_gap"]
            between = f"from {moment(last['since'])} to {moment(last['until'])}"
            maybe = " (it may be empty)" if last["may_be_empty"] else ""
            out.print(
                f"{_name(source)}: its retention ran out before a poll, so far {source['retention_gaps']} times; the "
                f"last gap is {between}{maybe}"
            )
    for lane in found["lanes"]:
        if lane.get("filtered"):
            out.print(f"{_name(lane)}: {lane['filtered']} events were left out by its filter")
        queued, requeued = lane.get("queued", 0), lane.get("requeued", 0)
        if queued or requeued:
            out.print(f"{_name(lane)}: of the requeued dead letters {queued} wait, {requeued} were delivered")


def _print_troubles(out: "Console", wrong: list[dict[str, Any]]) -> None:
    from shipper.commands.shown import span

    for part in wrong:
        out.print(f"{_name(part)}: {part['state']} for {span(part['for_seconds'])}: {part['reason']}: {part['note']}")
        out.print(f"  {part['do']}")


def _name(part: dict[str, Any]) -> str:
    return f"{part['source']} → {part['sink']}" if "sink" in part else str(part["source"])


def _asked(settings: "Settings") -> Any:
    """The daemon's status, over the operator's socket; where this user may not ask there, over admin.listen.

    Raises PermissionError where neither shows it to this user; OSError, HTTPException, ValueError where none answers.
    """
    from shipper.ask import UnixConnection, socket_of

    try:
        return _got(UnixConnection(socket_of(settings)))
    except OSError:
        if not settings.admin.listen:
            raise
    host, _, port = settings.admin.listen.rpartition(":")
    host = host.strip("[]").replace("0.0.0.0", "127.0.0.1")  # noqa: S104  asks there, does not listen
    return _got(HTTPConnection(host, int(port), timeout=10))


def _got(connection: HTTPConnection) -> Any:
    import json

    return json.loads(_answer(connection, "/api/status"))


def _answer(connection: HTTPConnection, path: str) -> bytes:
    """The answer's body. Raises OSError, HTTPException, ValueError where it is not 200."""
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status == HTTPStatus.FORBIDDEN:
            raise PermissionError
        if answer.status != HTTPStatus.OK:
            raise ValueError(f"HTTP {answer.status}")
        return answer.read()
    finally:
        connection.close()


@click.command()
@click.argument("name", default="")
@config_option
@click.option(
    "--accept-dead",
    default=0,
    type=click.IntRange(min=0),
    help="So many more refused events are right: make them dead letters.",
)
def retry(name: str, config_file: Path | None, accept_dead: int) -> None:
    """Make what waits or is held try at once: the source or sink NAME, or all."""
    settings = own_settings_of(config_file)
    run_async(lambda: _retry(settings, name, accept_dead))


async def _retry(settings: "Settings", name: str, accept_dead: int) -> int:
    from shipper.ask import asked, listens, socket_of

    path = socket_of(settings)
    if not listens(path):
        return _no_daemon(settings)
    found = asked(path, "retry", {"name": name, "accept_dead": accept_dead, "who": who()})
    if not found["woken"]:
        click.echo(f"shipper: nothing of the name {name!r} is running", err=True)
        return USAGE
    click.echo(f"{found['woken']} sources and lanes try now")
    return OK
