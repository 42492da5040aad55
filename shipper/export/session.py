"""`shipper export`: from what an operator typed to what is printed."""

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from functools import partial
from hashlib import sha256
from pathlib import Path

import msgspec

from shipper.ask import Ask, operator
from shipper.commands.spoken import Spoken
from shipper.config import Settings
from shipper.event import Event
from shipper.exit_status import OK, UNDONE
from shipper.export.output import Output, output_to, to_stdout
from shipper.replay.bars import Span, events_bar
from shipper.replay.names import opened, source_named, sources_of
from shipper.replay.progress import Progress
from shipper.replay.run import Order
from shipper.replay.session import begun_by, deliver, ended_in_words, place_in, say, stopped_by_signals
from shipper.replay.supply import SourceSupply, moment
from shipper.shape.formats import Format, lines
from shipper.sources.kinds import kind_of
from shipper.sources.selection import Selection

PATIENCE_SECS = 600.0
"""So long may the tenant be in trouble before this ends; the same command goes on then."""
PAGE_SECS = 0.1
"""Between two pages: the tenant's own limits ask for more where it is needed."""
PROGRESS = ".progress"

Shape = Callable[[Sequence[Event]], list[bytes]]
"""Events as lines in the chosen format."""


class Request(msgspec.Struct, frozen=True):
    """What was typed. since, until: milliseconds since 1970, as of now. times: the same as it was typed.

    output: a file, "-" for stdout; to: a sink; one of them. resume: where the progress is kept, None for beside it.
    rate, accept_dead: as of Order.
    """

    source: str
    selection: Selection
    since: int
    until: int
    times: str
    output: str = "-"
    to: str = ""
    format: Format = "envelope"
    resume: Path | None = None
    rate: float = 0.0
    accept_dead: int = 0
    page_secs: float = PAGE_SECS
    who: str = ""

    @property
    def words(self) -> str:
        """What is exported, for people and to know a file of progress again."""
        chosen = self.selection
        parts = [
            f"export {self.source}",
            f"to {self.to}" if self.to else f"as {self.format}",
            *([f"query {chosen.query!a}"] if chosen.query is not None else []),
            *(
                f"{name} {value!a}"
                for name, value in (
                    ("user", chosen.user),
                    ("application", chosen.application),
                    ("key", chosen.key),
                    ("sorted by", chosen.sort),
                    ("fields", ",".join(chosen.fields)),
                    ("without", ",".join(chosen.excluded)),
                )
                if value
            ),
            *([f"page {chosen.page} of {chosen.per_page}"] if chosen.page is not None else []),
            self.times,
        ]
        return ", ".join(part for part in parts if part)

    @property
    def newest_first(self) -> bool:
        """The order of the events in time, as well as it is known before."""
        return self.selection.sort.endswith(":-1")


async def export(
    settings: Settings,
    request: Request,
    *,
    asked: Callable[[Settings], AbstractAsyncContextManager[Ask]] = operator,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> int:
    """Returns the exit status. Raises SelectionError, JournalError, BrokenPipeError.

    asked: who answers for the journal, which only a sink needs. sleep: between two requests.
    """
    config = source_named(settings, request.source)
    supply = SourceSupply(
        request.source,
        config,
        selection=request.selection,
        page_secs=request.page_secs,
        patience_secs=PATIENCE_SECS,
        log=Spoken(request.source),
        sleep=sleep,
    )
    kind_of(config).expect_offered(request.selection)
    if request.to:
        return await _into_sink(settings, request, supply, asked)
    origin = kind_of(config).origin(request.source)
    shape = partial(lines, request.format, source=origin, add_tenant_name=False)
    if request.output == "-":
        return await _to_stdout(request, supply, shape)
    return await _into_file(request, supply, shape)


# -- into a file, to stdout --------------------------------------------------------------------------------------------


async def _into_file(request: Request, supply: SourceSupply, shape: Shape) -> int:
    path = Path(request.output)
    file = request.resume or path.with_name(path.name + PROGRESS)

    def new() -> Progress:
        return Progress(request.words, supply.using, since=request.since, until=request.until)

    async with ended_in_words(path) as ended:
        with output_to(path, file, request.words, new) as output:
            delivered = output.progress.delivered
            say(f"{request.words}{f', going on behind {delivered} events' if delivered else ''}")
            _warn_of_retention(supply, output.progress)
            complete = await _pumped(request, supply, shape, output)
            if complete:
                output.finish()
            say(f"{output.progress.delivered} events of {request.source} in {path}")
            if not complete:
                say("stopped before the end: the same command goes on from here")
            ended.status = OK if complete and _all_had(supply) else UNDONE
    return ended.status


async def _pumped(request: Request, supply: SourceSupply, shape: Shape, output: Output) -> bool:
    """Returns whether the end was reached, or a signal came before. Raises SupplyError, OSError."""
    stop = asyncio.Event()
    pump = asyncio.create_task(_pump(request, supply, shape, output))
    stopped = asyncio.create_task(stop.wait())
    try:
        with stopped_by_signals(stop):
            await asyncio.wait([pump, stopped], return_when=asyncio.FIRST_COMPLETED)
    finally:
        # Whatever it is at, the file and its progress agree, and what was asked for is asked for again.
        for task in (pump, stopped):
            task.cancel()
        await asyncio.wait([pump, stopped])
    if pump.cancelled():
        return False
    pump.result()
    return True


async def _pump(request: Request, supply: SourceSupply, shape: Shape, output: Output) -> None:
    begun = output.progress
    span = Span(begun.since, begun.until, int(time.time() * 1000), backwards=request.newest_first)
    with events_bar(request.words, span, begun.delivered) as tell:
        async with aclosing(supply.events(begun.since, begun.until, begun.place)) as portions:
            async for portion in portions:
                if portion.events:
                    output.add(portion, shape(portion.events))
                    tell(output.progress.delivered, portion.events[-1].time)


async def _to_stdout(request: Request, supply: SourceSupply, shape: Shape) -> int:
    # Not the event loop's own handlers, since a pipe that nobody reads holds the loop up.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: _leave())
    count = 0
    span = Span(request.since, request.until, int(time.time() * 1000), backwards=request.newest_first)
    async with ended_in_words(Path("stdout")) as ended:
        say(request.words)
        with events_bar(request.words, span, beside=not sys.stdout.isatty()) as tell:
            async with aclosing(supply.events(request.since, request.until)) as portions:
                async for portion in portions:
                    to_stdout(shape(portion.events))
                    count += len(portion.events)
                    if portion.events:
                        tell(count, portion.events[-1].time)
        say(f"{count} events of {request.source}")
        ended.status = OK if _all_had(supply) else UNDONE
    return ended.status


def _leave() -> None:
    from rich.console import Console

    from shipper.app import leave

    Console(stderr=True).show_cursor()  # the bar has hidden it
    leave(UNDONE)


# -- into a sink -------------------------------------------------------------------------------------------------------


async def _into_sink(
    settings: Settings,
    request: Request,
    supply: SourceSupply,
    asked: Callable[[Settings], AbstractAsyncContextManager[Ask]],
) -> int:
    """The same as a replay, of what was chosen."""
    sources_of(settings, request.to, request.source)
    digest = sha256(request.words.encode(errors="surrogatepass")).hexdigest()[:16]
    file = request.resume or place_in(settings, f"export-{request.source}-{request.to}-{digest}")
    typed = Order(
        source=request.source,
        sink=request.to,
        since=request.since,
        until=request.until,
        rate=request.rate,
        file=file,
        who=request.who,
        accept_dead=request.accept_dead,
        what=request.words,
    )
    begun = begun_by(typed)
    order = typed
    if begun is not None:
        order = msgspec.structs.replace(typed, since=begun.since, until=begun.until)
        _warn_of_retention(supply, begun)
    async with ended_in_words(file) as ended, asked(settings) as ask, opened(settings, request.to) as sink:
        ended.status = await deliver(settings, ask, order, sink, supply, newest_first=request.newest_first)
        if not _all_had(supply):
            ended.status = UNDONE
    return ended.status


def _warn_of_retention(supply: SourceSupply, begun: Progress) -> None:
    """What comes next may have left the tenant since then."""
    if begun.time and begun.time < supply.keeps_from_ms:
        kept = moment(supply.keeps_from_ms)
        say(f"it stopped at {moment(begun.time)}, and by retention_days the tenant keeps events since {kept}: others "
            "may be gone")  # fmt: skip


def _all_had(supply: SourceSupply) -> bool:
    """Says what could not be had."""
    if supply.missing or supply.unknown:
        more = f"{supply.missing:,} events" if supply.missing else "some events"
        others = " and others" if supply.missing and supply.unknown else ""
        say(f"{more}{others} could not be had: see above")
    return not supply.missing and not supply.unknown


def times_in_words(since: str, until: str) -> str:
    """A range of time as it was typed."""
    return " ".join(part for part in (f"from {since}" if since else "", f"until {until}" if until else "") if part)
