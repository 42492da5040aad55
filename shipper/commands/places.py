"""`shipper checkpoint …`, `forget`, `rename`: where sources and lanes stand."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shipper.commands import config_option, fail, own_settings_of, run_async, who, yes_option
from shipper.exit_status import OK, USAGE

if TYPE_CHECKING:
    from shipper.commands.carried import Resume
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
        table.add_row(source["source"], source["tenant"], _resumes(source), horizon, str(source["stored"]))
    console().print(table)
    return OK


def _resumes(source: Mapping[str, Any]) -> str:
    """The place behind which, or at which, a source resumes."""
    from base64 import b64decode

    from shipper.sources.kinds import places_of

    if not source["checkpoint"]:
        return NOT_STARTED
    return places_of(source["tenant"]).shown(b64decode(source["checkpoint"]))


@checkpoint.command("set")
@click.argument("source")
@click.argument("place", metavar="LOG_ID|TIME")
@config_option
@yes_option
def set_(source: str, place: str, config_file: Path | None, *, yes: bool) -> None:
    """Make SOURCE resume behind LOG_ID, or at TIME (like 2026-11-01T00:00:00Z). It must not be in use.

    Going back repeats events, going forward steps over some for good; either way it is kept in the audit list.
    """
    if not yes:
        fail(USAGE, "this steps over events, or repeats them: say --yes")
    settings = own_settings_of(config_file)
    run_async(lambda: _set(settings, source, place))


async def _set(settings: "Settings", source: str, text: str) -> int:
    from shipper.ask import operator
    from shipper.journal import UnknownNameError
    from shipper.sources.kinds import places_of

    async with operator(settings) as ask:
        found = {known["source"]: known for known in await ask("checkpoints", {})}
        if source not in found:
            known = ", ".join(found) or "none"
            raise UnknownNameError("operator", f"the journal knows no source {source[:40]!r} (it knows: {known})")
        before = _resumes(found[source])
        try:
            place = places_of(found[source]["tenant"]).at(text)
        except ValueError as error:
            raise UnknownNameError("operator", f"{text[:80]!r} is {error}") from None
        question = {
            "source": source,
            "checkpoint": place.checkpoint.decode(),
            "since_ms": place.since_ms,
            "audit": f"checkpoint set {source} from {before} to {place.shown}",
            "who": who(),
        }
        await ask("checkpoint.set", question)
    click.echo(f"{source} resumes behind {place.shown} (before: {before})")
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


async def _import(settings: "Settings", places: "list[Resume]") -> int:
    from shipper.ask import operator

    async with operator(settings, make=True) as ask:
        known = {source["tenant"]: source for source in await ask("checkpoints", {})}
        carried, lines = [], []
        for resume in places:
            at = known.get(resume.tenant)
            name, before = (at["source"], _resumes(at)) if at else (resume.source, NOT_STARTED)
            place = resume.place
            carried.append(
                {
                    "source": name,
                    "tenant": resume.tenant,
                    "checkpoint": place.checkpoint.decode(),
                    "start": place.shown,
                    "horizon": resume.horizon,
                    "audit": f"checkpoint import {name} from {before} to {place.shown}",
                }
            )
            lines.append(f"{name} ({resume.tenant}) resumes behind {place.shown} (before: {before})")
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
