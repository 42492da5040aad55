"""`shipper dead …`: what an operator does with events that a sink would not take."""

import json
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shipper.commands import config_option, fail, own_settings_of, run_async, who, yes_option
from shipper.commands.times import seconds_of
from shipper.exit_status import OK, USAGE
from shipper.reasons import REASONS

if TYPE_CHECKING:
    from shipper.ask import Ask
    from shipper.config import Settings

LISTED_AT_ONCE = 1000
EXPORTED_AT_ONCE = 50
"""A dead letter may be one for its size, and both ends hold an answer whole."""
Wanted = Mapping[str, str]


def _choosing(command: Callable[..., None]) -> Callable[..., None]:
    reason = click.option(
        "--reason", default="", type=click.Choice(["", *REASONS]), metavar="WORD", help="Only for it."
    )
    sink = click.option("--sink", default="", help="Only of this sink.")
    return click.option("--source", default="", help="Only of this source.")(sink(reason(command)))


async def _expect_known(ask: "Ask", wanted: Mapping[str, Any]) -> None:
    """Raises UnknownNameError for a name that is none of the journal's: no dead letters would be a wrong answer."""
    from shipper.journal import UnknownNameError

    places = await ask("checkpoints", {})
    known = {
        "source": [place["source"] for place in places],
        "sink": {sink for place in places for sink in place["lanes"]},
    }
    for kind, names in known.items():
        if wanted.get(kind) and wanted[kind] not in names:
            there = ", ".join(sorted(names)) or "none"
            raise UnknownNameError("operator", f"the journal knows no {kind} {wanted[kind][:40]!r} (it knows: {there})")


@click.group()
def dead() -> None:
    """Dead letters: events that a sink will never take, kept with the reason."""


@dead.command("list")
@config_option
@_choosing
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(config_file: Path | None, *, as_json: bool, **wanted: str) -> None:
    """What was given up, and why."""
    settings = own_settings_of(config_file, say=not as_json)
    run_async(lambda: _list(settings, wanted, as_json=as_json))


async def _list(settings: "Settings", wanted: Wanted, *, as_json: bool) -> int:
    from rich.table import Table

    from shipper.ask import operator
    from shipper.commands.shown import console, moment, visible

    async with operator(settings) as ask:
        await _expect_known(ask, wanted)
        letters = [letter async for letter in _letters(ask, "dead.list", wanted, LISTED_AT_ONCE)]
    if as_json:
        for letter in letters:
            click.echo(visible(json.dumps(letter)))
        return OK
    table = Table("id", "source", "sink", "reason", "event", "given up", "")
    for letter in letters:
        named = (letter["source"], letter["sink"], letter["reason"], visible(letter["event_id"]))
        table.add_row(str(letter["id"]), *named, moment(letter["at"]), "queued" if letter["queued"] else "")
    console().print(table if letters else "no dead letters")
    return OK


async def _letters(ask: "Ask", what: str, wanted: Wanted, at_once: int) -> AsyncIterator[dict[str, Any]]:
    after = 0
    while found := await ask(what, {**wanted, "after": after, "limit": at_once}):
        for letter in found:
            yield letter
        after = found[-1]["id"]


@dead.command("show")
@click.argument("letter", metavar="ID", type=int)
@config_option
def show(letter: int, config_file: Path | None) -> None:
    """All of one dead letter: the destination's words, and the event. It is personal data."""
    settings = own_settings_of(config_file)
    run_async(lambda: _show(settings, letter))


async def _show(settings: "Settings", letter: int) -> int:
    from shipper.ask import operator
    from shipper.commands.shown import laid_out, moment, visible

    async with operator(settings) as ask:
        found = await ask("dead.show", {"id": letter})
    for name, value in (
        ("dead letter", f"{found['id']}, waits to go out again" if found["queued"] else str(found["id"])),
        ("lane", f"{found['source']} → {found['sink']}, event number {found['number']}"),
        ("given up", moment(found["at"])),
        ("reason", found["reason"]),
        ("detail", found["detail"]),
        ("log_id", found["event_id"]),
        ("time", moment(found["time"])),
        ("type", found["type"]),
    ):
        click.echo(f"{name:<12}{visible(value)}")
    for line in laid_out(b64decode(found["raw"])):
        click.echo(line)
    return OK


@dead.command("requeue")
@click.argument("letters", metavar="[ID]...", type=int, nargs=-1)
@config_option
@_choosing
@click.option("--all", "everything", is_flag=True, help="All that there are.")
def requeue(letters: tuple[int, ...], config_file: Path | None, *, everything: bool, **wanted: str) -> None:
    """Send dead letters again, the same bytes, to the sink that refused them.

    Their lanes go on meanwhile, so they come late there. One that is refused again is a dead letter again.
    """
    if [bool(letters), any(wanted.values()), everything].count(True) != 1:
        fail(USAGE, "say which: their IDs, or --source, --sink, --reason, or --all")
    settings = own_settings_of(config_file)
    run_async(lambda: _requeue(settings, {"ids": list(letters)} if letters else wanted))


async def _requeue(settings: "Settings", wanted: Mapping[str, Any]) -> int:
    from shipper.ask import operator

    async with operator(settings) as ask:
        await _expect_known(ask, wanted)
        found = await ask("dead.requeue", {**wanted, "who": who()})
    click.echo(f"{found['requeued']} dead letters go out again")
    return OK


@dead.command("purge")
@config_option
@click.option("--older-than", required=True, help="Given up so long ago: 30d, 12h, 0s.")
@_choosing
@yes_option
def purge(config_file: Path | None, older_than: str, *, yes: bool, **wanted: str) -> None:
    """Give dead letters up for good. Those that wait to go out again stay."""
    age_secs = seconds_of(older_than)
    if age_secs is None:
        fail(USAGE, f"--older-than: {older_than[:40]!r} is no age like 30d, 12h, 0s")
    if not yes:
        fail(USAGE, "they are gone for good then: say --yes")
    settings = own_settings_of(config_file)
    run_async(lambda: _purge(settings, wanted, age_secs))


async def _purge(settings: "Settings", wanted: Wanted, age_secs: int) -> int:
    import time

    from shipper.ask import operator

    # Without an age also those that a clock which was set back since has put into the future.
    before = int((time.time() - age_secs) * 1000) if age_secs else None
    async with operator(settings) as ask:
        await _expect_known(ask, wanted)
        found = await ask("dead.purge", {**wanted, "before_ms": before, "who": who()})
    click.echo(f"{found['removed']} dead letters removed")
    return OK


@dead.command("export")
@click.argument("file", default="-")
@config_option
@_choosing
def export(file: str, config_file: Path | None, **wanted: str) -> None:
    """Write dead letters with their events into a new FILE, one JSON object a line; "-": to stdout."""
    import sys

    if file == "-" and sys.stdout.isatty():
        fail(USAGE, "events hold personal data, and what a terminal acts on: name a file, or use a pipe")
    settings = own_settings_of(config_file)
    run_async(lambda: _export(settings, wanted, file))


async def _export(settings: "Settings", wanted: Wanted, name: str) -> int:
    from shipper.ask import operator
    from shipper.commands.files import new_file

    count = 0
    async with operator(settings) as ask:
        await _expect_known(ask, wanted)
        with new_file(name) as file:
            async for letter in _letters(ask, "dead.export", wanted, EXPORTED_AT_ONCE):
                file.write(_line(letter))
                count += 1
    place = "" if name == "-" else f" in {name}"
    click.echo(f"shipper: {count} dead letters{place}; they hold personal data", err=True)
    return OK


def _line(letter: Mapping[str, Any]) -> bytes:
    """With the event's own bytes spliced in, where they are JSON."""
    named = {name: letter[name] for name in ("source", "sink", "reason", "at", "event_id", "detail")}
    raw = b64decode(letter["raw"])
    if not _is_json(raw):
        return json.dumps({**named, "raw_base64": letter["raw"]}).encode() + b"\n"
    # JSON has line breaks between tokens only, where a space means the same.
    raw = raw.replace(b"\r", b" ").replace(b"\n", b" ")
    return json.dumps(named)[:-1].encode() + b', "data": ' + raw + b"}\n"


def _is_json(raw: bytes) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(raw.decode(), parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True
