"""`shipper checkpoint …`, `forget`, `rename`: where sources and lanes stand."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shipper.commands import config_option, fail, own_settings_of, run_async, who, yes_option
from shipper.exit_status import OK, USAGE

if TYPE_CHECKING:
    from shipper.commands.carried import Place
    from shipper.config import Settings

NOT_STARTED = "not started"


@click.group()
def checkpoint() -> None:
    """Where a source resumes."""


@checkpoint.command("show")
@config_option
def show(config_file: Path | None) -> None:
    """Where each source resumes."""
    settings = own_settings_of(config_file)
    run_async(lambda: _show(settings))


async def _show(settings: "Settings") -> int:
    from rich.table import Table

    from shipper.ask import operator
    from shipper.commands.shown import console, moment

    async with operator(settings) as ask:
        sources = await ask("checkpoints", {})
    table = Table("source", "tenant", "resumes behind", "all held up to", "events stored")
    for source in sources:
        horizon = moment(source["horizon"]) if source["horizon"] else "unknown"
        table.add_row(source["source"], source["tenant"], _last(source), horizon, str(source["stored"]))
    console().print(table)
    return OK


def _last(source: Mapping[str, Any]) -> str:
    """The log_id behind which a source resumes."""
    from base64 import b64decode

    from shipper.sources.chain import Checkpoint

    return Checkpoint.decode(b64decode(source["checkpoint"])).last if source["checkpoint"] else NOT_STARTED


@checkpoint.command("set")
@click.argument("source")
@click.argument("place", metavar="LOG_ID|TIME")
@config_option
@yes_option
def set_(source: str, place: str, config_file: Path | None, *, yes: bool) -> None:
    """Make SOURCE resume behind LOG_ID, or at TIME (like 2026-11-01T00:00:00Z). It must not be in use.

    Going back repeats events, going forward steps over some for good; either way it is kept in the audit list.
    """
    log_id = _position(place)
    if not yes:
        fail(USAGE, "this steps over events, or repeats them: say --yes")
    settings = own_settings_of(config_file)
    run_async(lambda: _set(settings, source, log_id))


def _position(place: str) -> str:
    from datetime import datetime

    from shipper.sources.start import check_start, is_log_id, synthetic_id

    if is_log_id(place):
        return place
    try:
        moment = datetime.fromisoformat(check_start(place))
    except ValueError:  # "earliest" and "latest" are no places either
        fail(
            USAGE,
            f"{place[:80]!r} is no log_id (56 digits, or 24 hexadecimal ones), and no time with its zone, "
            "like 2026-11-01T00:00:00Z",
        )
    return synthetic_id(int(moment.timestamp() * 1000))


async def _set(settings: "Settings", source: str, log_id: str) -> int:
    from shipper.ask import operator
    from shipper.sources.chain import Checkpoint
    from shipper.sources.start import embedded_time

    async with operator(settings) as ask:
        found = {known["source"]: _last(known) for known in await ask("checkpoints", {})}
        before = found.get(source, NOT_STARTED)
        audit = f"checkpoint set {source} from {before} to {log_id}"
        question = {
            "source": source,
            "checkpoint": Checkpoint(log_id).encode().decode(),
            "since_ms": embedded_time(log_id),
            "audit": audit,
            "who": who(),
        }
        await ask("checkpoint.set", question)
    click.echo(f"{source} resumes behind {log_id} (before: {before})")
    return OK


@checkpoint.command("export")
@click.argument("file", default="-")
@config_option
def export(file: str, config_file: Path | None) -> None:
    """Write all places into a new FILE, to be imported on another host; "-": to stdout."""
    settings = own_settings_of(config_file)
    run_async(lambda: _export(settings, file))


async def _export(settings: "Settings", name: str) -> int:
    from shipper.ask import operator
    from shipper.commands.carried import exported
    from shipper.commands.files import new_file

    async with operator(settings) as ask:
        sources = await ask("checkpoints", {})
    with new_file(name) as file:
        file.write(exported(sources))
    return OK


@checkpoint.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@config_option
@yes_option
def import_(file: Path, config_file: Path | None, *, yes: bool) -> None:
    """Make each tenant's source resume where FILE says. None of them may be in use.

    In an empty state directory it makes the sources, so that the first run goes on there. Events that still waited on
    the other host do not come along: let it deliver them first.
    """
    from shipper.commands.carried import imported

    try:
        places = imported(file.read_bytes())
    except OSError as error:
        fail(USAGE, f"{file}: {error.strerror}")
    except ValueError as error:
        fail(USAGE, f"{file}: {error}")
    if not yes:
        fail(USAGE, "this steps over events, or repeats them: say --yes")
    settings = own_settings_of(config_file)
    run_async(lambda: _import(settings, places))


async def _import(settings: "Settings", places: "list[Place]") -> int:
    from shipper.ask import operator
    from shipper.sources.chain import Checkpoint

    async with operator(settings, make=True) as ask:
        known = {source["tenant"]: source for source in await ask("checkpoints", {})}
        carried, lines = [], []
        for place in places:
            at = known.get(place.tenant)
            name, before = (at["source"], _last(at)) if at else (place.source, NOT_STARTED)
            carried.append(
                {
                    "source": name,
                    "tenant": place.tenant,
                    "checkpoint": Checkpoint(place.last).encode().decode(),
                    "start": place.last,
                    "horizon": place.horizon,
                    "audit": f"checkpoint import {name} from {before} to {place.last}",
                }
            )
            lines.append(f"{name} ({place.tenant}) resumes behind {place.last} (before: {before})")
        await ask("checkpoint.import", {"sources": carried, "who": who()})
    for line in lines:
        click.echo(line)
    return OK


@click.command()
@click.argument("name")
@config_option
@yes_option
def forget(name: str, config_file: Path | None, *, yes: bool) -> None:
    """Give up what waits for a sink, or a source's place and all its events: sinks.NAME or sources.NAME.

    It must not be in use. What is given up is counted, and kept in the audit list.
    """
    kind, _, label = name.rpartition(".")
    if kind not in ("sinks", "sources"):
        fail(USAGE, f"say sinks.{label[:40]} or sources.{label[:40]}")
    if not yes:
        fail(USAGE, "events that wait for it are given up for good: say --yes")
    settings = own_settings_of(config_file)
    run_async(lambda: _forget(settings, kind.removesuffix("s"), label))


async def _forget(settings: "Settings", kind: str, name: str) -> int:
    from shipper.ask import operator

    async with operator(settings) as ask:
        found = await ask("forget", {"kind": kind, "name": name, "who": who()})
    click.echo(f"{kind} {name} is forgotten; {found['given_up']} events given up")
    return OK


@click.command()
@click.argument("old")
@click.argument("new")
@config_option
def rename(old: str, new: str, config_file: Path | None) -> None:
    """Carry the places and dead letters of the sink OLD to the name NEW. Neither may be in use."""
    settings = own_settings_of(config_file)
    run_async(lambda: _rename(settings, old, new))


async def _rename(settings: "Settings", old: str, new: str) -> int:
    from shipper.ask import operator

    async with operator(settings) as ask:
        await ask("rename", {"old": old, "new": new, "who": who()})
    click.echo(f"the sink {old} is now {new}: give it that name in the configuration")
    return OK
