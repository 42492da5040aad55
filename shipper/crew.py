"""Everything that runs: each source, sink and lane that is wanted, from its opening to its end.

A start, a reload and the end are one: what has to end ends, with the writes in hand; then what is new begins. What is
not concerned goes on as if nothing happened, its task and its connections with it.
"""

import asyncio
import sys
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from shipper.archive import Archive
from shipper.at_work import LaneAtWork, SinkAtWork, SourceAtWork, close, secrets_of
from shipper.chores import close_days
from shipper.delivery import Delivery, place_of
from shipper.health import Health
from shipper.journal import expect_tenant
from shipper.journal.sqlite import SqliteJournal
from shipper.metrics import Metrics
from shipper.nap import Nap
from shipper.scene import Scene
from shipper.secret import Secret
from shipper.sink import Sink, load_sink_type, sink_types
from shipper.sources import SourceConfig
from shipper.sources.kinds import kind_of
from shipper.sources.start import is_log_id
from shipper.wanted import Change, Lane, Parts, Wanted, change


@dataclass
class Prepared:
    """What is wanted next, checked, with its new sinks open."""

    to: Wanted
    change: Change
    sinks: dict[str, Sink]


class Crew:
    """Who works. once: each source up to its first empty page, without waiting for fuller batches."""

    def __init__(self, journal: SqliteJournal, scene: Scene, metrics: Metrics, log: Any, *, once: bool = False) -> None:
        self._journal, self._scene, self._metrics, self._log = journal, scene, metrics, log
        self._once = once
        self._runs = self._to = Wanted()
        self._sources: dict[str, SourceAtWork] = {}
        self._sinks: dict[str, SinkAtWork] = {}
        self._lanes: dict[Lane, LaneAtWork] = {}

    async def prepare(self, to: Wanted) -> Prepared:
        """Whatever may be wrong with what is wanted shows here, before anything ends for it.

        Raises WrongTenantError, and what a sink raises that can't be opened.
        """
        known = {source.name: source.tenant for source in self._journal.figures.sources.values()}
        for name, config in to.sources.items():
            expect_tenant(known, name, config.tenant_key)
            known = {of: tenant for of, tenant in known.items() if tenant != config.tenant_key}
            known[name] = config.tenant_key
        prepared = Prepared(to, change(self._runs, to), {})
        for name in prepared.change.begins.sinks:
            try:
                prepared.sinks[name] = load_sink_type(sink_types()[to.sinks[name].type])(to.sinks[name])
                await prepared.sinks[name].open()
            except BaseException as error:
                if isinstance(error, Exception):
                    self._log.error("a sink can't be opened", sink=name, error=place_of(error))
                await self.give_up(prepared)
                raise
        return prepared

    async def give_up(self, prepared: Prepared) -> None:
        """Closes what was opened for it."""
        for name in list(prepared.sinks):
            await close(name, prepared.sinks.pop(name), self._log)

    def new_archives(self, prepared: Prepared) -> list[tuple[str, str, Archive]]:
        """Source, sink and archive of each lane that would begin, of a source of which nothing was ever read."""
        begun = {source.tenant: source for source in self._journal.figures.sources.values()}
        sinks = {name: at_work.sink for name, at_work in self._sinks.items()} | prepared.sinks
        found = []
        for source, name in prepared.change.begins.lanes:
            archive, known = sinks[name], begun.get(prepared.to.sources[source].tenant_key)
            is_new = known is None or (known.checkpoint is None and name not in known.lanes)
            if is_new and isinstance(archive, Archive):
                found.append((source, name, archive))
        return found

    async def become(self, prepared: Prepared, group: asyncio.TaskGroup, within_secs: float) -> None:
        """What is wanted. within_secs: what writes in hand get. Raises JournalError.

        Cut off, it leaves what it has come to, for `stop` and `close`.
        """
        self._to = prepared.to
        await self._end(prepared.change.ends, within_secs)
        self._forget(prepared.change.ends)
        await self._begin(prepared, group)
        self._runs = prepared.to
        self._name_the_left_behind()

    async def stop(self, within_secs: float) -> None:
        """Ends all tasks: what polls at once, the writes in hand within so many seconds."""
        await self._stop(Parts(tuple(self._sources), tuple(self._sinks), tuple(self._lanes)), within_secs)

    async def close(self) -> None:
        """Closes what is open, once no task needs it."""
        for source in self._sources.values():
            await source.source.close()
        for name, at_work in self._sinks.items():
            await close(name, at_work.sink, self._log)

    # -- ending --------------------------------------------------------------------------------------------------------

    async def _end(self, ends: Parts, within_secs: float) -> None:
        await self._stop(ends, within_secs)
        for lane in ends.lanes:
            del self._lanes[lane]
        for name in ends.sources:
            await self._sources.pop(name).source.close()
        for name in ends.sinks:
            del self._scene.sinks[name]
            await close(name, self._sinks.pop(name).sink, self._log)

    async def _stop(self, parts: Parts, within_secs: float) -> None:
        tasks: list[asyncio.Task[None]] = []
        ending = [self._sources[name] for name in parts.sources] + [self._lanes[lane] for lane in parts.lanes]
        for at_work in ending:
            at_work.stop()
            tasks += at_work.tasks
        if not tasks:
            return
        _, left = await asyncio.wait(tasks, timeout=within_secs)
        for task in left:
            self._log.warning("a write did not end in time; its events are sent again", task=task.get_name())
            task.cancel()
        if left:
            await asyncio.wait(left)

    def _forget(self, ended: Parts) -> None:
        """What has gone for good is shown no more, as after a restart without it."""
        before, to = self._runs.sources, self._to.sources
        gone = [name for name in ended.sources if name not in to or to[name].tenant_key != before[name].tenant_key]
        for lane in ended.lanes:
            if lane not in self._to.lanes or lane[0] in gone:
                del self._scene.lanes[lane]
                self._metrics.drop(source=lane[0], sink=lane[1])
        for name in ended.sinks:
            if name not in self._to.sinks:
                self._metrics.drop(sink=name)
        for name in gone:
            self._scene.forget_source(name)
            self._metrics.drop(source=name)

    # -- beginning -----------------------------------------------------------------------------------------------------

    async def _begin(self, prepared: Prepared, group: asyncio.TaskGroup) -> None:
        to, begins = prepared.to, prepared.change.begins
        for name in begins.sources:
            await self._open_source(name, to.sources[name])
        for name in begins.sinks:
            for doubt in to.doubts(name):
                self._log.warning("the filter", sink=name, note=doubt, do="Correct it, unless you mean it.")
            slots = asyncio.Semaphore(to.sinks[name].request.concurrency)
            self._scene.sinks[name] = sink = prepared.sinks.pop(name)
            self._sinks[name] = SinkAtWork(sink, slots, secrets_of(to.sinks[name]))
        for lane in begins.lanes:
            await self._open_lane(lane, to)
        # All at once, and sources behind: none reads on before the lanes that shall have its events are there.
        for lane in begins.lanes:
            self._lanes[lane].begin(" ".join(lane), group)
        for name in begins.sources:
            self._sources[name].begin(name, group, once=self._once)
        for at_work in self._lanes.values():
            at_work.own.alone = len(self._sinks) == 1

    async def _open_source(self, name: str, config: SourceConfig) -> None:
        handle, former = await self._journal.source(name, config.tenant_key)
        log = self._log.bind(source=name)
        if former != name:
            log.warning(
                "the source has a new name; it goes on where it stood", former=former, do="Labels and S3 keys change."
            )
        if handle.figures.checkpoint is not None:
            log.info("the journal has its place, so start is ignored", start=config.start, stored=handle.figures.stored)
        nap = Nap()
        health = self._scene.sources.get(name) or Health(log, asyncio.get_running_loop().time)
        source = kind_of(config).source(
            name, handle, health=health, metrics=self._metrics.source(name), log=log, sleep=nap.rest
        )
        self._sources[name] = SourceAtWork(source, nap, secrets_of(config))
        self._scene.sources[name] = health
        self._scene.server_now[name] = source.server_now
        self._scene.retention[name] = config.retention_days * 86_400

    async def _open_lane(self, lane: Lane, to: Wanted) -> None:
        source, name = lane
        config = to.sinks[name]
        handle, new = await self._journal.lane(source, name, lane_start(config.start), config.filter.wants())
        log = self._log.bind(source=source, sink=name)
        figures = handle.figures
        log.info("new lane" if new else "lane resumes", position=figures.position, behind=figures.lag)
        now = asyncio.get_running_loop().time
        self._scene.lanes[lane] = self._scene.lanes.get(lane) or Health(log, now)
        into, naps = self._sinks[name], [Nap(), Nap()]
        delivery = partial(
            Delivery,
            sink=into.sink,
            origin=kind_of(to.sources[source]).origin(source),
            slots=into.slots,
            metrics=self._metrics.lane(source, name),
        )
        own = delivery(handle, health=self._scene.lanes[lane], eager=self._once, sleep=naps[0].rest)
        # What an operator requeued, beside the lane. He decided over each of these, so no refusal is one to wonder at.
        requeued = delivery(
            await self._journal.queue(source, name),
            health=Health(log.bind(requeued=True), now),
            alone=False,
            sleep=naps[1].rest,
        )
        requeued.accept_dead(sys.maxsize)
        at_work = self._lanes[lane] = LaneAtWork(own, requeued, naps)
        if isinstance(into.sink, Archive):
            at_work.beside = partial(close_days, self._journal, self._scene, into.sink, lane, log)

    def _name_the_left_behind(self) -> None:
        """A source or sink that left the configuration keeps its place, and holds what it has not got."""
        for source in self._journal.figures.sources.values():
            for sink, lane in source.lanes.items():
                if (source.name, sink) not in self._lanes and lane.lag:
                    self._log.warning(
                        "events wait for a lane that is not in use",
                        source=source.name,
                        sink=sink,
                        waiting=lane.lag,
                        do="Put it back into the configuration; until then nothing of it is trimmed.",
                    )

    # -- while it works ------------------------------------------------------------------------------------------------

    def in_use(self, name: str) -> bool:
        """Whether a source or sink of this name is running, or shall be."""
        return any(name in names for names in (self._sources, self._sinks, self._to.sources, self._to.sinks))

    def retry(self, name: str = "", accept_dead: int = 0) -> int:
        """Makes what waits try at once: of one source or sink, or all. Returns how many lanes and sources that were.

        accept_dead: so many more refusals are right, for lanes that are held for refusing everything.
        """
        lanes = [at_work for lane, at_work in self._lanes.items() if name in ("", *lane)]
        sources = [at_work for source, at_work in self._sources.items() if name in ("", source)]
        for lane in lanes:
            if accept_dead:
                lane.own.accept_dead(accept_dead)
            for nap in lane.naps:
                nap.wake()
        for source in sources:
            source.nap.wake()
        return len(lanes) + len(sources)

    def secrets(self) -> list[tuple[str, list[Secret]]]:
        """What each source and sink goes by, with its name."""
        return [(name, part.secrets) for parts in (self._sources, self._sinks) for name, part in parts.items()]

    async def drained(self) -> None:
        """Every source has seen an empty page, and every lane is empty or has failed for a minute. With once only."""
        await asyncio.wait([task for source in self._sources.values() for task in source.tasks])
        deliveries = [one for lane in self._lanes.values() for one in lane.deliveries]
        for delivery, task in deliveries:
            delivery.finish(task)
        await asyncio.wait([task for _, task in deliveries])

    @property
    def unfinished(self) -> list[tuple[Lane, int]]:
        """Lanes with events that wait, and how many."""
        lags = {lane: self._journal.figures.sources[lane[0]].lanes[lane[1]].lag for lane in self._lanes}
        return [(lane, lag) for lane, lag in lags.items() if lag]

    @property
    def all_read(self) -> bool:
        """No source is in trouble."""
        return all(at_work.source.health.state == "running" for at_work in self._sources.values())


def lane_start(start: str) -> str:
    """A sink's `start` as the journal understands it."""
    if start in ("earliest", "latest"):
        return start
    if is_log_id(start):
        return f"id:{start}"
    return f"time:{int(datetime.fromisoformat(start).timestamp() * 1000)}"
