"""The daemon: one TaskGroup in which every source and every lane has its task, reloads, and an end with manners.

Starting up is recovery, and stopping is a crash with manners: stop polling, give the writes in hand some seconds,
close the journal. Whatever does not end in time is cut off; the journal loses nothing by it.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

import structlog

from shipper import logs
from shipper.admin import Admin
from shipper.chores import Chores
from shipper.config import ConfigError, Settings, load
from shipper.crew import Crew, Prepared
from shipper.delivery import place_of
from shipper.desk import Desk
from shipper.exit_status import BUG, IO_FAILED, OK, UNDONE, WRONG_CONFIG
from shipper.expiry import ExpiryCollector
from shipper.history import History
from shipper.journal import JournalBrokenError, JournalError, NoRoomError
from shipper.metrics import Metrics
from shipper.notify import Notify
from shipper.opening import expect_not_archived, open_journal
from shipper.reasons import WHAT_TO_DO
from shipper.recovery import expect_begun
from shipper.scene import Scene, SceneCollector
from shipper.sink import Fatal
from shipper.started import RELOAD, START, changed_parts, line_of
from shipper.wanted import needs_restart, wanted

Result = TypeVar("Result")
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
        self._settings, self._environ = settings, environ
        self._once, self._recover, self._fresh = once, recover, fresh
        self._notify = Notify(environ)
        self._log = structlog.get_logger()
        self._metrics = Metrics()
        self._stop, self._reload_asked = asyncio.Event(), asyncio.Event()
        self._asking: list[asyncio.Future[list[str]]] = []

    async def run(self) -> int:
        """From an open journal to a closed one. Returns the exit status; raises the journal's errors of the start."""
        settings = self._settings
        self._listen_to_hangups()
        self._told = asyncio.create_task(self._notify.while_starting())
        self._journal = await open_journal(
            settings, self._metrics, self._log, recovering=self._recover, fresh=self._fresh
        )
        self._scene = Scene(
            lambda: self._journal.figures, dead_letters_max_bytes=settings.journal.dead_letters_max_bytes
        )
        self._history = History(self._scene)
        self._metrics.registry.register(SceneCollector(self._scene))
        self._metrics.registry.register(ExpiryCollector(lambda: self._settings))
        self._crew = Crew(self._journal, self._scene, self._metrics, self._log, once=self._once)
        desk = Desk(self._journal, self._crew, reload=self._reload_and_tell)
        self._admin = Admin(self._journal, self._scene, self._history, self._metrics.registry, desk)
        self._listen_to_stops()
        try:
            first = await self._prepared(START, settings, careful=not self._recover and not self._fresh)
            try:
                address = await self._admin.start(settings.admin, settings.state_dir / "journal", self._runtime_dir)
            except OSError as error:
                self._log.error(
                    "can't listen",
                    listen=settings.admin.listen,
                    note=error.strerror or str(error),
                    do="Set admin.listen to a free address, or shorten state_dir to 80 characters.",
                )
                return WRONG_CONFIG
            return await self._work(first, address)
        finally:
            self._told.cancel()
            self._admin.ready = False
            await self._admin.stop()
            await self._close()

    @property
    def _runtime_dir(self) -> Path | None:
        """The one that systemd made for us, RuntimeDirectory=; it lists several with colons."""
        first = self._environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
        return Path(first) if first else None

    async def _prepared(self, what: str, settings: Settings, *, careful: bool) -> Prepared:
        """What these settings want, with all that can be wrong with it found before anything changes.

        what: START or RELOAD, for the audit list. careful: nothing begins anew that an earlier journal or an archive
        knows. Raises JournalError, and whatever a sink raises that can't be opened.
        """
        to = wanted(settings)
        if careful:
            expect_begun(
                self._journal, settings.state_dir, {name: config.tenant_key for name, config in to.sources.items()}
            )
        prepared = await self._crew.prepare(to)
        try:
            if careful:
                await expect_not_archived(self._crew.new_archives(prepared), self._log)
            await self._keep_line(what, settings)
        except BaseException:
            await self._crew.give_up(prepared)
            raise
        return prepared

    # -- working -------------------------------------------------------------------------------------------------------

    async def _work(self, first: Prepared, address: str) -> int:
        status = OK
        try:
            async with asyncio.TaskGroup() as group:
                await self._crew.become(first, group, 0.0)
                self._started(address)
                chores = Chores(
                    self._journal, self._settings, self._metrics, self._log, self._crew.secrets, self._crew.retry
                )
                beside = [group.create_task(work) for work in (chores.run(), self._history.keep())]
                await self._until_done(group)
                self._notify.stopping(self._settings.shutdown_secs + CLOSE_SECS)
                await self._crew.stop(self._settings.shutdown_secs)
                for task in beside:
                    task.cancel()
        except* (JournalError, Fatal) as group_error:
            status = self._broke_down(group_error, IO_FAILED)
        except* Exception as group_error:  # noqa: BLE001  logged by place; the journal is safe; the process ends
            status = self._broke_down(group_error, BUG)
        return self._verdict() if status == OK else status

    def _started(self, address: str) -> None:
        self._log.info("started", admin=address, state_dir=str(self._settings.state_dir))
        self._admin.ready = True
        self._told.cancel()
        self._notify.ready(self._scene.line())
        self._told = asyncio.create_task(self._notify.while_running(self._journal.alive, self._scene.line))

    async def _until_done(self, group: asyncio.TaskGroup) -> None:
        """Until a signal ends it, or, with once, all is delivered; with the reloads on the way."""
        if self._once:
            await self._unless_stopped(self._crew.drained())
            return
        while not self._stop.is_set():
            await self._unless_stopped(self._reload_asked.wait())
            if self._reload_asked.is_set():
                self._reload_asked.clear()
                asking, self._asking = self._asking, []
                problems = await self._unless_stopped(self._reload(group))
                for one in asking:
                    if not one.done():  # whoever asked may have gone
                        one.set_result(["the daemon ends"] if problems is None else problems)

    async def _unless_stopped(self, work: Coroutine[Any, Any, Result]) -> Result | None:
        """To its end, or until the daemon shall stop: None."""
        stopped, working = asyncio.ensure_future(self._stop.wait()), asyncio.ensure_future(work)
        try:
            await asyncio.wait([stopped, working], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            working.cancel()
            await asyncio.wait([working])
        return None if working.cancelled() else working.result()

    def _broke_down(self, group: BaseExceptionGroup[Any], status: int) -> int:
        self._notify.stopping(CLOSE_SECS)
        for error in _leaves(group):
            if isinstance(error, JournalError | Fatal):
                self._log.critical("stopping", reason=error.reason, note=str(error), do=WHAT_TO_DO[error.reason])
            else:
                self._log.critical("stopping", reason="bug", error=place_of(error), do=WHAT_TO_DO["bug"])
        return status

    def _verdict(self) -> int:
        if not self._once:
            self._log.info("stopped")
            return OK
        for (source, sink), waiting in self._crew.unfinished:
            self._log.error("not delivered", source=source, sink=sink, waiting=waiting)
        done = not self._crew.unfinished and self._crew.all_read
        self._log.info("done" if done else "something waits")
        return OK if done else UNDONE

    async def _keep_line(self, what: str, settings: Settings) -> None:
        """Every start and reload stands in the audit list, with what it was done with."""
        before = await self._journal.last_audit(START, RELOAD)
        now = line_of(what, settings)
        await self._journal.audit("shipper", now)
        for part in changed_parts(before, now):
            self._log.warning("changed since the last start or reload", what=part)

    # -- reloading -----------------------------------------------------------------------------------------------------

    async def _reload(self, group: asyncio.TaskGroup) -> list[str]:
        """The configuration as it is now: all of it, or, where anything is wrong with it, nothing.

        Returns what is wrong. Raises JournalError where the journal fails, in which case the daemon ends.
        """
        self._notify.reloading()
        problems = await self._changed(group)
        if problems:
            self._refuse(problems)
        self._notify.ready(self._scene.line())
        return problems

    async def _changed(self, group: asyncio.TaskGroup) -> list[str]:
        try:
            settings = self._loaded()
            prepared = await self._prepared(RELOAD, settings, careful=True)
        except ConfigError as error:
            return error.lines
        except JournalError as error:
            return [str(error)]
        except Exception as error:  # noqa: BLE001  a stranger's sink may fail in any way while it is opened
            return [place_of(error)]
        await self._crew.become(prepared, group, settings.shutdown_secs)
        self._settings = settings
        logs.configure(settings.log.level, settings.log.format)
        self._crew.retry()
        self._scene.refused = False
        self._metrics.reloaded("applied")
        self._log.info("reloaded", config=str(settings.file), **prepared.change.told)
        return []

    def _loaded(self) -> Settings:
        """Raises ConfigError, also for what only a restart can change."""
        settings = load(self._settings.file, self._environ)
        if fixed := needs_restart(self._settings, settings):
            raise ConfigError(settings.file, [f"{', '.join(fixed)}: a reload can't change that: restart for it"])
        return settings

    def _refuse(self, lines: list[str]) -> None:
        self._scene.refused = True
        self._metrics.reloaded("refused")
        for line in lines:
            self._log.error(
                "reload refused: all goes on as before",
                config=str(self._settings.file),
                note=line,
                do="Mend it, and reload once more; `shipper check --offline` tries it without.",
            )

    # -- ending --------------------------------------------------------------------------------------------------------

    def _listen_to_hangups(self) -> None:
        """What came since the configuration was read waits for its turn, until the start is over."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._asked_to_reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])

    def _asked_to_reload(self) -> None:
        if self._once or self._stop.is_set():
            self._log.warning("SIGHUP is ignored, since this run ends by itself")
        else:
            self._reload_asked.set()

    async def _reload_and_tell(self) -> list[str]:
        """For an operator, who waits for what is wrong with the configuration; nothing where it is in force."""
        if self._once or self._stop.is_set():
            return ["this run ends by itself"]
        outcome: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self._asking.append(outcome)
        self._reload_asked.set()
        return await outcome

    def _listen_to_stops(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop, number)

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
        await self._crew.close()
        try:
            await self._journal.close()
        except (JournalBrokenError, NoRoomError) as error:
            self._log.error("the journal did not close cleanly; it is read again at the start", note=str(error))


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves
