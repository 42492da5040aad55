"""`shipper verify`: from what an operator typed to what is printed, repair included."""

import re
from collections.abc import Collection, Iterable
from contextlib import nullcontext
from pathlib import Path

import msgspec
from rich.console import Console

from shipper.archive import Archive
from shipper.ask import Ask
from shipper.config import Settings
from shipper.exit_status import OK, UNDONE
from shipper.journal import UnknownNameError
from shipper.replay.bars import counting_bar
from shipper.replay.missing import Missing, Wanted, alone
from shipper.replay.names import archives_of, is_archive, opened, sink_named, source_named, sources_of
from shipper.replay.run import Order, Replay, choose
from shipper.replay.session import say, stopped_by_signals, supplies_for
from shipper.replay.supply import PAGE_SECS, SourceSupply, Supply, SupplyError, moment
from shipper.sink import Sink
from shipper.tally import HOUR_MS
from shipper.verify.compare import Difference
from shipper.verify.held import Exported
from shipper.verify.report import hours_of, report
from shipper.verify.run import Findings, Verify

_LAST_ID = re.compile(r"-([0-9A-Za-z_]+)(?:-[0-9]{1,2})?\.jsonl(?:\.[a-z]+)?$", re.ASCII)


class Request(msgspec.Struct, frozen=True):
    """What was typed. against: a file of exported ids, None to read the sink's own bucket.

    quick: as of `Verify`. page_secs: between two pages of the source. who: types it.
    """

    sink: str
    since: int
    until: int
    source: str = ""
    against: Path | None = None
    repair: bool = False
    quick: bool = False
    with_source: bool = True
    page_secs: float = PAGE_SECS
    who: str = ""


async def verify_all(settings: Settings, ask: Ask, request: Request, console: Console) -> int:
    """Verifies each of the sources in question. Returns the exit status; raises UnknownNameError."""
    sources = sources_of(settings, request.sink, request.source)
    if request.against is None and not is_archive(sink_named(settings, request.sink)):
        raise UnknownNameError(
            "operator",
            f"what the sink {request.sink} wrote can't be read back: export its log_ids, and say --against FILE.ndjson",
        )
    if request.against is not None and len(sources) > 1:
        raise UnknownNameError("operator", "--against is for one source: say --source NAME")
    exported = None
    if request.against is not None:
        try:
            exported = Exported.read(request.against)
        except OSError as error:
            raise UnknownNameError("operator", f"{request.against}: {error.strerror}") from None
    status = OK
    async with opened(settings, request.sink) as sink:
        for source in sources:
            try:
                clean = await _Session(settings, ask, request, source, sink, exported).run(console)
            except SupplyError as error:
                say(str(error))
                clean = False
            status = max(status, OK if clean else UNDONE)
    return status


class _Session:
    def __init__(
        self, settings: Settings, ask: Ask, request: Request, source: str, sink: Sink, exported: Exported | None
    ) -> None:
        self._settings, self._ask, self._request, self._source = settings, ask, request, source
        self._sink, self._exported = sink, exported
        self._config = source_named(settings, source)

    async def run(self, console: Console) -> bool:
        """Returns whether all is as it should be, at the end."""
        request = self._request
        archive = next(iter(archives_of(self._settings, self._source, but=request.sink)), "")
        parts = (self._settings, self._ask, self._source, request.sink, archive, request.page_secs)
        async with supplies_for(*parts, in_ledger=True) as supplies:
            verify, found = await self._look(supplies)
            report(found, console)
            if not request.repair or found.clean:
                return found.clean
            await self._repair(verify, found, supplies)
            if self._exported is not None:
                say("what the SIEM holds now is known by another export")
                return False
            _, found = await self._look(supplies)
            say("after the repair:")
            report(found, console)
            return found.clean

    async def _look(self, supplies: list[Supply]) -> tuple[Verify, Findings]:
        request = self._request
        with counting_bar(f"verify {self._source} in {request.sink}") as tell:
            verify = Verify(
                self._ask,
                self._source,
                self._config,
                request.sink,
                hours_of(request.since, request.until),
                supplies=supplies,
                archive=self._sink if isinstance(self._sink, Archive) else None,
                exported=self._exported,
                wants=self._sink.config.filter.wants(),
                reread=SourceSupply(self._source, self._config, page_secs=request.page_secs)
                if request.with_source
                else None,
                quick=request.quick,
                progress=tell,
            )
            return verify, await verify.run()

    async def _repair(self, verify: Verify, found: Findings, supplies: list[Supply]) -> None:
        """Writes what is missing, hours in a row together."""
        lacking = [one for one in found.differences if one.missing and one.what == f"journal → {self._request.sink}"]
        for run in in_a_row(lacking):
            since, until = run[0].hour * HOUR_MS, (run[-1].hour + 1) * HOUR_MS
            order = Order(self._source, self._request.sink, since, until, who=self._request.who)
            try:
                supply = await choose(supplies, order, say, forced=False)
                await self._write(order, supply, await self._wanted(verify, run), ends_of(found.gone))
            except SupplyError as error:
                say(str(error))

    async def _wanted(self, verify: Verify, run: list[Difference]) -> Wanted:
        assert verify.books is not None, "the repair comes after the comparison"  # noqa: S101
        ids: Collection[str] | None = None
        if not isinstance(self._sink, Archive):
            # Nothing tells what a SIEM holds but the file: without names, nothing may be sent.
            ids = frozenset[str]().union(*(one.missing_ids for one in run))
        hours = {one.hour for one in run}
        return Wanted(hours=hours, ids=ids, open=verify.books.open, dead=await verify.dead())

    async def _write(self, order: Order, supply: Supply, wanted: Wanted, ends: Collection[str]) -> None:
        archive = self._sink if isinstance(self._sink, Archive) else None
        missing = Missing(archive, self._source, wanted)
        replay = Replay(order, self._config, self._sink, self._ask, missing=missing, ends=ends)
        alone_there = alone(self._settings.state_dir) if archive is not None else nullcontext()
        with alone_there, stopped_by_signals(replay.stop):
            outcome = await replay.run(supply)
        say(f"repair: {outcome.delivered} events written, {moment(order.since)} until {moment(order.until)}, "
            f"using the {outcome.using}; {outcome.refused} refused")  # fmt: skip


def ends_of(keys: Iterable[str]) -> frozenset[str]:
    """The last ids of objects, by their keys. An object that is cut there again is the one that the digest lists."""
    return frozenset(found[1] for key in keys if (found := _LAST_ID.search(key)))


def in_a_row(differences: list[Difference]) -> list[list[Difference]]:
    """By hours that follow one another."""
    runs: list[list[Difference]] = []
    for one in sorted(differences, key=lambda one: one.hour):
        if runs and one.hour <= runs[-1][-1].hour + 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs
