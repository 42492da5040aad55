"""`shipper tail`: events as they come, read from the source beside the daemon or without one."""

import asyncio
import os
import signal
import stat
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from shipper.commands import config_option, fail, run_async, settings_of, sources_of, stdout_failed
from shipper.commands.times import seconds_of
from shipper.exit_status import OK, USAGE

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from shipper.event import Event
    from shipper.shape.glance import Glance
    from shipper.sources import SourceConfig

STDOUT = 1


class Wanted(NamedTuple):
    """Which events are shown: those that every filter takes; of the values of one filter, one has to fit."""

    types: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    user: str = ""
    text: str = ""

    def takes(self, event: "Event", seen: "Glance") -> bool:
        """Whether this one is."""
        from shipper.shape.event_types import in_category

        return (
            (not self.types or any(fnmatchcase(event.type, one) for one in self.types))
            and (not self.categories or any(in_category(seen.kind.category, one) for one in self.categories))
            and (not self.outcomes or seen.outcome in self.outcomes)
            and (not self.user or any(self.user.lower() in one.lower() for one in seen.users))
            and (not self.text or self.text.lower() in event.raw.decode(errors="replace").lower())
        )


@click.command()
@config_option
@click.option("--source", default="", help="Only of this source [else all].")
@click.option("--since", default="latest", help="An age like 15m, a time, a log_id, or earliest [else from now on].")
@click.option("--type", "types", multiple=True, help="Only of this type; * stands for anything. May be repeated.")
@click.option("--category", "categories", multiple=True, help="Only of this category, or below it. May be repeated.")
@click.option(
    "--outcome", "outcomes", multiple=True, type=click.Choice(["success", "failure", "other"]), help="Only of this one."
)
@click.option("--user", default="", help="Only of users whose name or id contains this.")
@click.option("--grep", "text", default="", help="Only those whose JSON contains this text, in any case.")
@click.option("--json", "as_json", is_flag=True, help="The events themselves, one a line.")
def tail(config_file: Path | None, source: str, since: str, *, as_json: bool, **filters: Any) -> None:
    """Show events as they come, until Ctrl-C. They are personal data.

    Reads the source by itself, along the same chain as the daemon: that one may run or not, and its places stay as
    they are. Both share the tenant's rate limit.
    """
    from shipper.sources.start import is_log_id

    wanted = Wanted(**filters)
    start = _start_of(since)
    _expect_known(wanted)
    settings = settings_of(config_file)
    chosen = sources_of(settings, source)
    for name, config in chosen.items():
        if is_log_id(start) and not config.ordered_ids:
            fail(USAGE, f"--since: the ids of {name} have no order: say a time, or an age like 15m")
    run_async(lambda: _follow(chosen, start, Printer(wanted, sources=list(chosen), as_json=as_json)))


def _start_of(since: str) -> str:
    from datetime import UTC, datetime, timedelta

    from shipper.sources.start import check_start

    age = seconds_of(since)
    if age is not None:
        return (datetime.now(UTC) - timedelta(seconds=age)).isoformat(timespec="seconds")
    try:
        return check_start(since)
    except ValueError as error:
        fail(USAGE, f"--since: {error}; or an age like 15m")


def _expect_known(wanted: Wanted) -> None:
    """A category is one of a closed list; a type need not be known."""
    from shipper.commands.shown import visible
    from shipper.shape.filter import doubts, is_category, nearest_category

    for one in wanted.categories:
        if not is_category(one):
            fail(USAGE, f"--category: `shipper types` lists no {visible(one[:40])}{nearest_category(one)}")
    for doubt in doubts(wanted.types):
        click.echo(f"shipper: --type: {doubt}", err=True)


async def _follow(sources: "Mapping[str, SourceConfig]", start: str, printer: "Printer") -> int:
    from shipper.app import leave

    # Not the event loop's own handlers, since a pipe that nobody reads holds the loop up.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: leave(OK))
    status = OK
    try:
        async with asyncio.TaskGroup() as group:
            for name, config in sources.items():
                group.create_task(_read(name, config.model_copy(update={"start": start}), printer))
            if stat.S_ISFIFO(os.fstat(STDOUT).st_mode):
                # Otherwise it would show with the next event only that whoever reads us has gone.
                asyncio.get_running_loop().add_reader(STDOUT, leave, OK)
    except* BrokenPipeError:
        status = OK
    except* OSError as lost:
        # A tenant that can't be reached is trouble, and waited out: this is what is written to.
        first = lost.exceptions[0]
        if not isinstance(first, OSError):
            raise
        status = stdout_failed(first)
    return status


async def _read(name: str, config: "SourceConfig", printer: "Printer") -> None:
    from shipper.commands.spoken import Spoken
    from shipper.health import Health
    from shipper.metrics import Metrics
    from shipper.sources.kinds import kind_of
    from shipper.sources.unkept import Unkept

    log = Spoken(name)
    source = kind_of(config).source(
        name,
        Unkept(name, lambda events: printer.show(name, events)),
        health=Health(log, asyncio.get_running_loop().time),
        metrics=Metrics().source(name),
        log=log,
        sleep=asyncio.sleep,
    )
    try:
        await source.run()
    finally:
        await source.close()


class Printer:
    """Shows events, one a line. sources: the names of all that may come. console, write: for tests."""

    def __init__(
        self,
        wanted: Wanted,
        *,
        sources: Sequence[str],
        as_json: bool = False,
        console: "Console | None" = None,
        write: Callable[[bytes], None] | None = None,
    ) -> None:
        from shipper.commands.shown import console as shown_console

        self._wanted, self._as_json = wanted, as_json
        self._console, self._write = console or shown_console(), write or _write
        self._width = max(map(len, sources)) if len(sources) > 1 else 0

    def show(self, source: str, events: "Sequence[Event]") -> None:
        """Those of these that are wanted. Raises BrokenPipeError where nobody reads any more."""
        from shipper.shape.glance import glance

        lines = [
            self._json(event) if self._as_json else self._line(source, event, seen)
            for event, seen in ((event, glance(event)) for event in events)
            if self._wanted.takes(event, seen)
        ]
        if lines:
            self._write(b"".join(lines))

    def _json(self, event: "Event") -> bytes:
        from shipper.commands.shown import visible

        if not self._console.is_terminal:
            return event.raw + b"\n"
        return visible(event.raw.decode(errors="backslashreplace")).encode() + b"\n"

    def _line(self, source: str, event: "Event", seen: "Glance") -> bytes:
        text = _text(source.ljust(self._width), event, seen)
        with self._console.capture() as capture:
            if self._console.is_terminal:
                self._console.print(text, no_wrap=True, overflow="ellipsis")
            else:
                self._console.print(text, soft_wrap=True)
        return capture.get().encode(errors="backslashreplace")


def _text(source: str, event: "Event", seen: "Glance") -> "Text":
    from rich.text import Text

    from shipper.commands.shown import OUTCOME_STYLES, visible

    style = OUTCOME_STYLES[seen.outcome]
    text = Text().append(_when(event), "dim")
    for words, width, how in (
        (source, 0, "dim"),
        (event.type, 7, f"bold {style}"),
        (seen.kind.name or "unknown type", 24, style),
        (seen.users[0] if seen.users else "", 20, "bold"),
        (seen.ip, 15, ""),
        (seen.client, 16, ""),
        (seen.words, 0, "dim"),
    ):
        text.append("  ").append((visible(words) or "-").ljust(width), how)
    return text


def _when(event: "Event") -> str:
    """The event's own date, where it has one, else the time of its id."""
    from datetime import UTC, datetime

    from shipper.commands.shown import visible

    if event.date:
        return visible(event.date[:32])
    return f"{datetime.fromtimestamp(event.time / 1000, UTC).isoformat(timespec='milliseconds')[:23]}Z"


def _write(data: bytes) -> None:
    # Past Python's buffer, which a signal must not find locked.
    while data:
        data = data[os.write(STDOUT, data) :]
