"""The daemon: one TaskGroup in which every source and every lane has its task, and an end with manners.

Starting up is recovery, and stopping is a crash with manners: stop polling, give the writes in hand some seconds,
close the journal. Whatever does not end in time is cut off; the journal loses nothing by it.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from pydantic import BaseModel

from shipper.admin import Admin
from shipper.archive import Archive
from shipper.chores import Upkeep, close_days
from shipper.config import Settings
from shipper.delivery import Delivery, place_of
from shipper.desk import Desk
from shipper.exit_status import BUG, IO_FAILED, OK, UNDONE, WRONG_CONFIG
from shipper.health import Health
from shipper.history import History
from shipper.journal import JournalBrokenError, NoRoomError
from shipper.metrics import Metrics
from shipper.nap import Nap
from shipper.notify import Notify
from shipper.opening import expect_not_archived, open_journal
from shipper.reasons import WHAT_TO_DO
from shipper.scene import Scene, SceneCollector
from shipper.secret import Secret
from shipper.sink import Fatal, Sink, SinkConfig, load_sink_type, sink_types
from shipper.sources import SourceConfig
from shipper.sources.kinds import Source, kind_of
from shipper.sources.start import is_log_id
from shipper.started import changed_parts, start_line

CLOSE_SECS = 3.0
"""What the journal gets to close; it is whole without that, too."""


def leave(status: int) -> None:
    """Ends the process at once. The one place that says so.

    Threads of blocking clients may hang in a system call, and neither Python nor asyncio ends without them.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class App:
    """One run of the daemon.

    environ: the process's. once: until every source is caught up and every lane empty or in trouble for a minute.
    recover: a journal that is damaged or gone is begun anew from what every lane had settled. fresh: what was before
    does not matter.
    """

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        *,
        once: bool = False,
        recover: bool = False,
        fresh: bool = False,
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._notify = Notify(environ)
        self._once = once
        self._recover = recover
        self._fresh = fresh
        self._log = structlog.get_logger()
        self._metrics = Metrics()
        self._stop = asyncio.Event()
        self._sources: dict[str, Source] = {}
        self._sinks: dict[str, Sink] = {}
        self._deliveries: dict[tuple[str, str], Delivery] = {}
        self._queues: list[Delivery] = []
        self._naps: list[tuple[str, str, Nap]] = []
        self._secrets: list[tuple[str, list[Secret]]] = []
        self._lanes: list[tuple[Delivery, asyncio.Task[None]]] = []
        self._polls: list[asyncio.Task[None]] = []

    async def run(self) -> int:
        """From an open journal to a closed one. Returns the exit status; raises the journal's errors of the start."""
        settings = self._settings
        told = asyncio.create_task(self._notify.while_starting())
        self._journal = await open_journal(
            settings, self._metrics, self._log, recovering=self._recover, fresh=self._fresh
        )
        self._scene = Scene(
            lambda: self._journal.figures,
            self._sinks,
            dead_letters_max_bytes=settings.journal.dead_letters_max_bytes,
        )
        self._history = History(self._scene)
        self._metrics.registry.register(SceneCollector(self._scene))
        admin = Admin(self._journal, self._scene, self._history, self._metrics.registry, Desk(self._journal, self))
        self._listen_to_signals()
        try:
            await self._open()
            try:
                address = await admin.start(settings.admin, settings.state_dir / "journal", self._runtime_dir)
            except OSError as error:
                self._log.error(
                    "can't listen",
                    listen=settings.admin.listen,
                    note=error.strerror or str(error),
                    do="Set admin.listen to a free address, or shorten state_dir to 80 characters.",
                )
                return WRONG_CONFIG
            self._log.info("started", admin=address, state_dir=str(settings.state_dir))
            admin.ready = True
            told.cancel()
            self._notify.ready(self._scene.line())
            told = asyncio.create_task(self._notify.while_running(self._journal.alive, self._scene.line))
            status = await self._work()
        finally:
            told.cancel()
            admin.ready = False
            await admin.stop()
            await self._close()
        return status

    @property
    def _runtime_dir(self) -> Path | None:
        """The one that systemd made for us, RuntimeDirectory=; it lists several with colons."""
        first = self._environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
        return Path(first) if first else None

    # -- opening -------------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        for name, config in self._settings.sources.items():
            if config.enabled:
                await self._open_source(name, config)
        for name, sink_config in self._settings.sinks.items():
            if sink_config.enabled:
                self._sinks[name] = load_sink_type(sink_types()[sink_config.type])(sink_config)
                await self._sinks[name].open()
                self._watch(name, sink_config)
        if not self._recover and not self._fresh:
            await expect_not_archived([lane for lane in self._archives() if self._is_new(*lane[:2])], self._log)
        for name, sink in self._sinks.items():
            await self._open_lanes(name, sink)
        self._name_the_left_behind()
        await self._tell_start()

    def _archives(self) -> list[tuple[str, str, Archive]]:
        """Source, sink and archive of each lane whose destination can be read back."""
        return [
            (source, name, archive)
            for name, archive in self._sinks.items()
            if isinstance(archive, Archive)
            for source in self._sources_of(archive.config)
        ]

    def _sources_of(self, config: SinkConfig) -> list[str]:
        """The sources in use that a sink takes."""
        return [source for source in self._sources if not config.from_sources or source in config.from_sources]

    def _is_new(self, source: str, name: str) -> bool:
        figures = self._journal.figures.sources[source]
        return figures.checkpoint is None and name not in figures.lanes

    async def _tell_start(self) -> None:
        """Every start stands in the audit list, with what it was started with."""
        before = await self._journal.last_audit("start ")
        now = start_line(self._settings)
        await self._journal.audit("shipper", now)
        for part in changed_parts(before, now):
            self._log.warning("changed since the last start", what=part)

    async def _open_source(self, name: str, config: SourceConfig) -> None:
        handle, former = await self._journal.source(name, config.tenant_key)
        log = self._log.bind(source=name)
        if former != name:
            log.warning(
                "the source has a new name; it goes on where it stood", former=former, do="Labels and S3 keys change."
            )
        if handle.figures.checkpoint is not None:
            log.info("the journal has its place, so start is ignored", start=config.start, stored=handle.figures.stored)
        source = kind_of(config).source(
            name,
            handle,
            health=Health(log, asyncio.get_running_loop().time),
            metrics=self._metrics.source(name),
            log=log,
            sleep=self._nap(name, ""),
        )
        self._watch(name, config)
        self._sources[name] = source
        self._scene.sources[name] = source.health
        self._scene.server_now[name] = source.server_now
        self._scene.retention[name] = config.retention_days * 86_400

    async def _open_lanes(self, name: str, sink: Sink) -> None:
        config = sink.config
        slots = asyncio.Semaphore(config.request.concurrency)
        alone = sum(other.enabled for other in self._settings.sinks.values()) == 1
        for source in self._sources_of(config):
            lane, new = await self._journal.lane(source, name, lane_start(config.start))
            log = self._log.bind(source=source, sink=name)
            figures = lane.figures
            log.info("new lane" if new else "lane resumes", position=figures.position, behind=figures.lag)
            health = Health(log, asyncio.get_running_loop().time)
            self._scene.lanes[source, name] = health
            self._deliveries[source, name] = Delivery(
                lane,
                sink,
                kind_of(self._settings.sources[source]).origin(source),
                slots=slots,
                health=health,
                metrics=self._metrics.lane(source, name),
                eager=self._once,
                alone=alone,
                sleep=self._nap(source, name),
            )
            self._queues.append(await self._queue(source, sink, name, slots))

    async def _queue(self, source: str, sink: Sink, name: str, slots: asyncio.Semaphore) -> Delivery:
        """Delivers what an operator requeued, beside the lane."""
        delivery = Delivery(
            await self._journal.queue(source, name),
            sink,
            kind_of(self._settings.sources[source]).origin(source),
            slots=slots,
            health=Health(self._log.bind(source=source, sink=name, requeued=True), asyncio.get_running_loop().time),
            metrics=self._metrics.lane(source, name),
            alone=False,
            sleep=self._nap(source, name),
        )
        # An operator decided over each of these, so a refusal is nothing to wonder at.
        delivery.accept_dead(sys.maxsize)
        return delivery

    def _watch(self, name: str, config: BaseModel) -> None:
        secrets = secrets_of(config)
        self._secrets.append((name, secrets))
        for secret in secrets:
            secret.changed()  # as they are now is what a later change is told by

    def _nap(self, source: str, sink: str) -> Callable[[float], Awaitable[None]]:
        nap = Nap()
        self._naps.append((source, sink, nap))
        return nap.rest

    # -- what an operator asks -----------------------------------------------------------------------------------------

    def in_use(self, name: str) -> bool:
        """Whether a source or sink of this name is running."""
        return name in self._sources or name in self._sinks

    def retry(self, name: str = "", accept_dead: int = 0) -> int:
        """Makes what waits try at once: of one source or sink, or all. Returns how many lanes and sources that were.

        accept_dead: so many more refusals are right, for lanes that are held for refusing everything.
        """
        chosen = {(source, sink) for source, sink, _ in self._naps if name in ("", source, sink)}
        for key in chosen:
            if accept_dead and key in self._deliveries:
                self._deliveries[key].accept_dead(accept_dead)
        for source, sink, nap in self._naps:
            if (source, sink) in chosen:
                nap.wake()
        return len(chosen)

    def _name_the_left_behind(self) -> None:
        """A source or sink that left the configuration keeps its place, and holds what it has not got."""
        for source in self._journal.figures.sources.values():
            for sink, lane in source.lanes.items():
                if (source.name, sink) not in self._deliveries and lane.lag:
                    self._log.warning(
                        "events wait for a lane that is not in use",
                        source=source.name,
                        sink=sink,
                        waiting=lane.lag,
                        do="Put it back into the configuration; until then nothing of it is trimmed.",
                    )

    # -- working -------------------------------------------------------------------------------------------------------

    async def _work(self) -> int:
        status = OK
        try:
            async with asyncio.TaskGroup() as group:
                for (source, sink), delivery in self._deliveries.items():
                    task = group.create_task(delivery.run(), name=f"lane {source} {sink}")
                    self._lanes.append((delivery, task))
                for queue in self._queues:
                    self._lanes.append((queue, group.create_task(queue.run(), name="requeued")))
                for name, source_ in self._sources.items():
                    # First, so that it sees that nothing was read yet.
                    self._polls.append(group.create_task(source_.tell_first_start(), name=f"first start {name}"))
                    self._polls.append(group.create_task(source_.run(once=self._once), name=f"source {name}"))
                upkeep = Upkeep(self._journal, self._settings, self._metrics, self._log, self._secrets, self.retry)
                days = close_days(self._journal, self._scene, self._archives(), self._log)
                beside = [group.create_task(work) for work in (upkeep.run(), days, self._history.keep())]
                await self._until_done()
                await self._wind_down()
                for task in beside:
                    task.cancel()
        except* (JournalBrokenError, Fatal) as group_error:
            status = self._broke_down(group_error, IO_FAILED)
        except* Exception as group_error:  # noqa: BLE001  logged by place; the journal is safe; the process ends
            status = self._broke_down(group_error, BUG)
        return self._verdict() if status == OK else status

    def _broke_down(self, group: BaseExceptionGroup[Any], status: int) -> int:
        self._notify.stopping(CLOSE_SECS)
        for error in _leaves(group):
            if isinstance(error, JournalBrokenError | Fatal):
                self._log.critical("stopping", reason=error.reason, note=str(error), do=WHAT_TO_DO[error.reason])
            else:
                self._log.critical("stopping", reason="bug", error=place_of(error), do=WHAT_TO_DO["bug"])
        return status

    async def _until_done(self) -> None:
        stopped = asyncio.ensure_future(self._stop.wait())
        work: asyncio.Future[Any] = stopped
        if self._once:
            work = asyncio.ensure_future(self._drained())
        try:
            await asyncio.wait([stopped, work], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in (stopped, work):
                waiting.cancel()

    async def _drained(self) -> None:
        """Every source has seen an empty page, and every lane is empty or has failed for a minute."""
        await asyncio.wait(self._polls)
        for delivery, task in self._lanes:
            delivery.finish(task)
        await asyncio.wait([task for _, task in self._lanes])

    async def _wind_down(self) -> None:
        """Stop polling; up to shutdown_secs for the writes in hand; then everything is cut off."""
        self._notify.stopping(self._settings.shutdown_secs + CLOSE_SECS)
        for poll in self._polls:
            poll.cancel()
        for delivery, task in self._lanes:
            delivery.stop(task)
        tasks = [*self._polls, *(task for _, task in self._lanes)]
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=self._settings.shutdown_secs)
            for task in left:
                self._log.warning("a write did not end in time; its events are sent again", task=task.get_name())
                task.cancel()

    def _verdict(self) -> int:
        if not self._once:
            self._log.info("stopped")
            return OK
        waiting = [
            (source, sink, self._journal.figures.sources[source].lanes[sink].lag) for source, sink in self._deliveries
        ]
        for source, sink, lag in waiting:
            if lag:
                self._log.error("not delivered", source=source, sink=sink, waiting=lag)
        done = all(lag == 0 for _, _, lag in waiting) and all(
            s.health.state == "running" for s in self._sources.values()
        )
        self._log.info("done" if done else "something waits")
        return OK if done else UNDONE

    # -- ending --------------------------------------------------------------------------------------------------------

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._asked_to_reload)

    def _asked_to_reload(self) -> None:
        self._metrics.reloaded("refused")
        self._log.warning("SIGHUP is ignored", do="Restart to read the configuration again.")

    def _asked_to_stop(self, number: int) -> None:
        if self._stop.is_set():
            leave(OK)
        self._log.info("stopping", signal=signal.Signals(number).name)
        self._stop.set()
        # Whatever hangs then, a full disk or a stuck thread, must not keep the process.
        limit = threading.Timer(self._settings.shutdown_secs + CLOSE_SECS, leave, [OK])
        limit.daemon = True
        limit.start()

    async def _close(self) -> None:
        for source in self._sources.values():
            await source.close()
        for name, sink in self._sinks.items():
            try:
                async with asyncio.timeout(1.0):
                    await sink.close()
            except Exception as error:  # noqa: BLE001  a sink that can't close must not keep the journal open
                self._log.warning("a sink did not close", sink=name, error=place_of(error))
        try:
            await self._journal.close()
        except (JournalBrokenError, NoRoomError) as error:
            self._log.error("the journal did not close cleanly; it is read again at the start", note=str(error))


def secrets_of(config: BaseModel) -> list[Secret]:
    """Every secret of a section and of the sections in it."""
    found: list[Secret] = []
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, Secret):
            found.append(value)
        elif isinstance(value, BaseModel):
            found += secrets_of(value)
    return found


def lane_start(start: str) -> str:
    """A sink's `start` as the journal understands it."""
    if start in ("earliest", "latest"):
        return start
    if is_log_id(start):
        return f"id:{start}"
    return f"time:{int(datetime.fromisoformat(start).timestamp() * 1000)}"


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves
