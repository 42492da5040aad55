"""The journal's own thread. Each operation is handed over with one wake-up and comes back with one.

A thread of our own rather than an executor: the journal is asked several times a page, and an executor's locks and its
two wake-ups for each result cost as much as the operation itself.
"""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_Job = tuple[Callable[[], Any], Callable[[], None], "asyncio.Future[Any]"]


class JournalThread:
    """Runs one operation after another, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # A daemon: one that hangs in a system call must not keep the process.
        threading.Thread(target=self._work, name="journal", daemon=True).start()

    async def run(self, operation: Callable[[], T], done: Callable[[], None] = lambda: None) -> T:
        """The operation's result. A cancelled caller does not stop it.

        done: called on the event loop once the operation has ended, before whoever waits for the result goes on.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((operation, done, future))
        return await future

    def end(self) -> None:
        """Ends the thread behind what was asked for so far."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            operation, done, future = job
            result: Any = None
            failure: BaseException | None = None
            try:
                result = operation()
            except BaseException as error:  # noqa: BLE001  whatever it is, the caller gets it
                failure = error
            if self._loop.is_closed():
                return
            self._loop.call_soon_threadsafe(_settle, done, future, result, failure)
            # Nothing of a finished operation is kept while waiting for the next one.
            del job, operation, done, future, result, failure


def _settle(
    done: Callable[[], None], future: "asyncio.Future[Any]", result: Any, failure: BaseException | None
) -> None:
    done()
    if future.cancelled():
        return
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)
