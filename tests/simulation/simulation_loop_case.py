"""An event loop whose time passes only when nothing is left to do, and whose order is a seed's."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from heapq import heappop
from random import Random
from typing import Any, TypeVar

from shipper.journal.thread import JournalThread

T = TypeVar("T")


class StuckError(Exception):
    """Nobody waits for time to pass, and nothing is ready: the program would wait for ever."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """now: seconds at which it begins. at: called with the number of each step before it; may raise, as a kill would.

    A step is one callback: what runs between two switches. Those that are ready together run in any order.
    """

    def __init__(self, draw: Random, now: float, at: Callable[[int], None]) -> None:
        super().__init__()
        self._draw, self._now, self._at = draw, now, at
        self._together: list[Any] = []
        self.steps = 0
        self.tasks: list[asyncio.Task[Any]] = []
        self.complaints: list[str] = []
        self.set_task_factory(self._begin)
        self.set_exception_handler(lambda _, context: self.complaints.append(repr(context)))

    def time(self) -> float:
        return self._now

    def _begin(self, loop: asyncio.AbstractEventLoop, coro: Any, **settings: Any) -> asyncio.Task[Any]:
        self.tasks = [task for task in self.tasks if not task.done()]
        self.tasks.append(asyncio.Task(coro, loop=loop, **settings))
        return self.tasks[-1]

    def _run_once(self) -> None:
        if not self._together:
            self._together = self._next()
        handle = self._together.pop()
        if not handle.cancelled():
            self.steps += 1
            self._at(self.steps)
            handle._run()

    def _next(self) -> list[Any]:
        """All that is ready, shuffled; where nothing is, time passes up to the next timer."""
        timers: list[Any] = self._scheduled  # type: ignore[attr-defined]
        ready: Any = self._ready  # type: ignore[attr-defined]
        while timers and timers[0].cancelled():
            heappop(timers)
        if not ready:
            if not timers:
                raise StuckError
            self._now = max(self._now, timers[0].when())
        together = [*ready]
        ready.clear()
        while timers and timers[0].when() <= self._now:
            together.append(heappop(timers))
        self._draw.shuffle(together)
        return together

    def abandon(self) -> None:
        """What kill -9 leaves of the program: nothing. Whatever its coroutines say while they go reaches nobody."""
        asyncio._set_running_loop(self)
        try:
            for task in self.tasks:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                coro: Any = task.get_coro()
                while coro.cr_frame is not None:
                    # One that awaits in a `finally` doesn't go at once.
                    with suppress(Exception):
                        coro.close()
        finally:
            asyncio._set_running_loop(None)
            self.close()


class SimulatedThread(JournalThread):
    """The journal's thread: one operation after another, each in a step of its own, its answer in a later one."""

    def __init__(self, loop: SimulatedLoop, draw: Random) -> None:
        self._loop, self._draw = loop, draw
        self._asked: list[tuple[Callable[[], Any], Callable[[], None], asyncio.Future[Any]]] = []
        self._answers: list[Callable[[], None]] = []
        self._ended = False

    async def run(self, operation: Callable[[], T], done: Callable[[], None] = lambda: None) -> T:
        future: asyncio.Future[T] = self._loop.create_future()
        self._asked.append((operation, done, future))
        self._later(self._work)
        return await future

    def end(self) -> None:
        self._ended = True

    def _later(self, step: Callable[[], None]) -> None:
        # Now and then long enough for others to get ahead of it.
        self._loop.call_later(self._draw.choice((0.0, 0.0, 0.004)), step)

    def _work(self) -> None:
        operation, done, future = self._asked.pop(0)
        if self._ended:
            return
        result: Any = None
        failure: BaseException | None = None
        try:
            result = operation()
        except BaseException as error:  # noqa: BLE001  whatever it is, the caller gets it
            failure = error

        def answer() -> None:
            done()
            if not future.cancelled():
                future.set_exception(failure) if failure is not None else future.set_result(result)

        self._answers.append(answer)
        self._later(lambda: self._answers.pop(0)())
