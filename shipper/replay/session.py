"""`shipper replay`: from what an operator typed to what is printed."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path

import click
import msgspec

from shipper.archive import Archive
from shipper.ask import Ask
from shipper.config import Settings
from shipper.exit_status import IO_FAILED, OK, UNDONE
from shipper.journal import UnknownNameError
from shipper.replay.archived import ArchiveSupply
from shipper.replay.bars import Span, events_bar
from shipper.replay.missing import Missing, Wanted, alone
from shipper.replay.names import archive_for, opened, source_named, sources_of
from shipper.replay.progress import Progress
from shipper.replay.run import Order, Outcome, Replay, choose
from shipper.replay.supply import PAGE_SECS, JournalSupply, SourceSupply, Supply, SupplyError, Using, moment
from shipper.sink import Fatal, Sink
from shipper.tally import HOUR_MS
from shipper.verify.run import read_books

LISTED = 20
"""So many refused events are named on the terminal."""
PROGRESS_FOLDER = "replay"


class Request(msgspec.Struct, frozen=True):
    """What was typed. source, archive: "" for the only one. using: None for the first that has everything.

    accept_dead: so many refused events are right. page_secs: between two pages of the source. who: types it.
    """

    to: str
    since: int
    until: int
    source: str = ""
    using: Using | None = None
    archive: str = ""
    rate: float = 0.0
    resume: Path | None = None
    accept_dead: int = 0
    page_secs: float = PAGE_SECS
    who: str = ""


async def replay_all(settings: Settings, ask: Ask, request: Request) -> int:
    """Replays each of the sources in question. Returns the exit status; raises UnknownNameError."""
    sources = sources_of(settings, request.to, request.source)
    if request.resume is not None and len(sources) > 1:
        raise UnknownNameError("operator", "--resume is for one source: say --source NAME")
    status = OK
    async with opened(settings, request.to) as sink:
        for source in sources:
            status = max(status, await _replay_one(settings, ask, request, source, sink))
    return status


async def _replay_one(settings: Settings, ask: Ask, request: Request, source: str, sink: Sink) -> int:
    archive = archive_for(settings, source, request.archive, but=request.to)
    file = request.resume or place_in(settings, f"{source}-{request.to}-{request.since}-{request.until}")
    order = Order(
        source, request.to, request.since, request.until, request.rate, file, request.who, request.accept_dead
    )
    begun = begun_by(order)
    found = supplies_for(settings, ask, source, request.to, archive, request.page_secs)
    async with ended_in_words(file) as ended, found as supplies:
        supply = await _supply(supplies, order, request.using, begun.using if begun else None)
        ended.status = await deliver(settings, ask, order, sink, supply)
    return ended.status


def begun_by(order: Order) -> Progress | None:
    """What an interrupted run of the same order left. Raises UnknownNameError where the file is another one's."""
    try:
        return Replay.begun(order)
    except ValueError as error:
        raise UnknownNameError("operator", str(error)) from None


class Ended:
    """How it ended: the exit status."""

    status = UNDONE


@asynccontextmanager
async def ended_in_words(file: Path) -> AsyncIterator[Ended]:
    """What ends the work is a line on stderr and a status. file: named where an error of the disk's names none."""
    ended = Ended()
    try:
        yield ended
    except SupplyError as error:
        say(str(error))
        ended.status = UNDONE
    except Fatal as error:
        say(str(error))
        ended.status = IO_FAILED
    except BrokenPipeError:
        raise
    except OSError as error:
        say(f"{error.filename or file}: {error.strerror}")
        ended.status = IO_FAILED


async def _supply(supplies: list[Supply], order: Order, using: Using | None, begun: Using | None) -> Supply:
    if using is not None:
        supplies = [supply for supply in supplies if supply.using == using]
    supplies.sort(key=lambda supply: supply.using != begun)
    return await choose(supplies, order, say, forced=using is not None)


async def deliver(
    settings: Settings, ask: Ask, order: Order, sink: Sink, supply: Supply, *, newest_first: bool = False
) -> int:
    """All of an order, from a supply into its sink, beside the live lanes. Returns the exit status; raises as Replay.

    newest_first: the supply's order of time.
    """
    begun = begun_by(order)
    begun = begun if begun and begun.using == supply.using else None
    going_on = f", going on behind {begun.delivered} events" if begun else ""
    say(f"{order.words} using the {supply.using}{going_on}")
    span = Span(order.since, order.until, int(time.time() * 1000), backwards=newest_first)
    alone_there = alone(settings.state_dir) if isinstance(sink, Archive) else nullcontext()
    with alone_there, events_bar(order.words, span, begun.delivered if begun else 0) as tell:
        outcome = await _run(settings, ask, order, sink, supply, tell)
    return _told(order, outcome)


async def _run(
    settings: Settings, ask: Ask, order: Order, sink: Sink, supply: Supply, tell: Callable[[int, int], None]
) -> Outcome:
    missing = None
    if isinstance(sink, Archive):
        books = await read_books(ask, order.source, order.sink)
        still_open = sorted(
            h for h in books.stored if order.since // HOUR_MS <= h < order.until / HOUR_MS and books.open(h)
        )
        if still_open:
            first = moment(still_open[0] * HOUR_MS)
            say(f"left to the lane itself, which is still at it: {len(still_open)} hours, the first {first}")
        missing = Missing(sink, order.source, Wanted(open=books.open))
    replay = Replay(
        order,
        source_named(settings, order.source),
        sink,
        ask,
        missing=missing,
        tell=tell,
        stop_within_secs=settings.shutdown_secs,
    )
    with stopped_by_signals(replay.stop):
        return await replay.run(supply)


def _told(order: Order, outcome: Outcome) -> int:
    there = f", {outcome.skipped} were there already" if outcome.skipped else ""
    say(f"{outcome.delivered} events of {order.source} delivered to {order.sink}{there}")
    for id_, reason in outcome.listed[:LISTED]:
        say(f"refused ({reason}): {ascii(id_)[1:-1]}")
    if outcome.refused:
        say(f"{outcome.refused} events were refused; all are named in {outcome.note or 'the lines above'}")
    if outcome.untold:
        say(f"{outcome.untold} of them are not counted as replayed: nobody answered for the journal")
    if not outcome.complete:
        say("stopped before the end: the same command goes on from here")
    return OK if outcome.complete and not outcome.refused else UNDONE


@asynccontextmanager
async def supplies_for(
    settings: Settings, ask: Ask, source: str, sink: str, archive: str, page_secs: float, *, in_ledger: bool = False
) -> AsyncIterator[list[Supply]]:
    """Journal, source, archive, in this order, for what goes to a sink. archive: "" for none.

    in_ledger: only for events that the ledger speaks of; others may have been stepped over by a checkpoint that someone
    set, and the journal does not have them.
    """
    books = await read_books(ask, source, sink)
    config = source_named(settings, source)
    found: list[Supply] = [
        JournalSupply(ask, source, books.stored, books.began_ms if in_ledger else books.read_from_ms),
        SourceSupply(source, config, page_secs=page_secs),
    ]
    if not archive:
        yield found
        return
    async with opened(settings, archive) as reading:
        assert isinstance(reading, Archive), "only archives are named here"  # noqa: S101
        yield [*found, ArchiveSupply(reading, source, books.stored)]


def place_in(settings: Settings, name: str) -> Path:
    """Where the progress is kept, unless the operator says where. Raises UnknownNameError."""
    folder = settings.state_dir / PROGRESS_FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UnknownNameError("operator", f"{folder}: {error.strerror}: say --resume FILE") from None
    return folder / f"{name}.json"


def say(line: str) -> None:
    """One line for the operator, on stderr."""
    click.echo(f"shipper: {line}", err=True)


@contextmanager
def stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGINT and SIGTERM ask for an end with manners; a second one ends it at once."""
    loop, numbers = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)

    def asked(number: int) -> None:
        loop.remove_signal_handler(number)
        stop.set()

    for number in numbers:
        loop.add_signal_handler(number, asked, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
