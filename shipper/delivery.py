"""Everything between journal and sink, for one lane: order, limits, retry, halving, dead letters.

One write is in flight in a lane, so order needs no code. What to write next and when the position moves is decided in
`plan.py`, how long to wait in `retry.py`; here is the loop around them.
"""

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from shipper.event import Batch, Notice, Origin
from shipper.health import Health, State
from shipper.journal import Burial, LaneFigures, LaneHandle, Limits, NoRoomError, Stretch
from shipper.metrics import LaneMetrics
from shipper.plan import Ack, Plan
from shipper.reasons import HELD, Reason
from shipper.retry import Backoff
from shipper.sink import Fatal, Rejected, Sink, Unavailable

GIVE_UP_SECS = 60.0
"""A run that shall end does not wait longer for a lane in trouble."""
NOT_IN_ITS_BATCH = "the sink named an event that is not in its batch"
GRACE_SECS = 1.0
"""A sink that keeps its own deadline may end just behind it and say more than we can."""


class Delivery:
    """One lane at work. slots: how many of the sink's lanes may hold a batch at once.

    clock: seconds since 1970. eager: hand out without waiting for fuller batches. alone: no other sink is in use, so
    that `Fatal` ends the program.
    """

    def __init__(
        self,
        lane: LaneHandle,
        sink: Sink,
        origin: Origin,
        *,
        slots: asyncio.Semaphore,
        health: Health,
        metrics: LaneMetrics,
        eager: bool = False,
        alone: bool = True,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        backoff: Backoff | None = None,
    ) -> None:
        batch, request = sink.config.batch, sink.config.request
        self._lane, self._sink, self._origin = lane, sink, origin
        bodies = sink.bodies_per_write
        self._limits = Limits(batch.max_events * bodies, batch.max_bytes * bodies, sink.framing, batch.timeout_secs)
        self._backoff = backoff or Backoff(request.retry_initial_backoff_secs, request.retry_max_duration_secs)
        self._slots, self.health, self._metrics = slots, health, metrics
        self._eager, self.alone = eager, alone
        self._clock, self._sleep = clock, sleep
        self._plan = Plan(lane.figures.position, sink.config.max_dead_in_a_row)
        self._attempt = 0
        self._failures = 0
        self._stopping = self._finishing = False
        self._writing = False
        self._restamped = 0

    @property
    def idle(self) -> bool:
        """Nothing is left to hand out: all is settled, or held back until a later delivery proves the destination."""
        return not self._writing and self._plan.upto is None and self._plan.after >= self._stored

    @property
    def figures(self) -> LaneFigures:
        """Where the lane stands, as of the last commit."""
        return self._lane.figures

    @property
    def held_back(self) -> list[Burial]:
        """Refusals that wait for a later delivery to prove the destination."""
        return self._plan.held_back

    @property
    def _stored(self) -> int:
        figures = self._lane.figures
        return figures.position + figures.lag

    async def run(self) -> None:
        """Delivers for ever. Ends by cancellation, after `stop`, or with Fatal."""
        while not self._stopping and not (self._finishing and (self.idle or self.health.troubled_secs >= GIVE_UP_SECS)):
            await self._lane.waiting(self._plan.after, self._limits, eager=self._eager or self._plan.upto is not None)
            async with self._slots:
                ack, pause = await self._next()
            if ack is not None:
                await self._commit(ack)
            self._writing = False
            if pause and not self._stopping:
                await self._sleep(pause)

    def stop(self, task: asyncio.Task[None]) -> None:
        """Lets the write in hand finish, and its ack; a lane that only waits ends at once."""
        self._stopping = True
        if not self._writing:
            task.cancel()

    def finish(self, task: asyncio.Task[None]) -> None:
        """Ends the lane once it is idle, or has been in trouble for a minute; nothing more will be stored."""
        self._finishing = True
        if self.idle:
            task.cancel()

    def accept_dead(self, refusals: int) -> None:
        """Lets a lane that is held for its refusals go on over so many of them."""
        self._plan.accept_dead(refusals)

    async def _next(self) -> tuple[Ack | None, float]:
        """Reads and writes the next batch, which is given back with the slot."""
        try:
            stretch = await self._lane.read(self._plan.after, self._limits, self._plan.upto, self._plan.left_out)
            if stretch is None:
                self._plan.skip_to(self._lane.figures.position)
                return None, 0.0
            self._writing = True
            return await self._settle(stretch)
        except NoRoomError as error:
            return None, self._no_room(error)

    async def _settle(self, stretch: Stretch) -> tuple[Ack | None, float]:
        """One write, the plan's answer to its outcome, and the seconds to wait before the next."""
        numbers = self._plan.take(stretch.first, stretch.last, stretch.left_out)
        if not numbers:
            return self._plan.passed(), 0.0
        events = stretch.chosen(numbers)
        replayed = self._sink.replays_batches and await self._lane.reserve(
            stretch.first, stretch.last, stretch.left_out
        )
        self._attempt += 1
        batch = Batch(self._origin, events, int(self._clock() * 1000), self._attempt, replayed, self._tell)
        started = time.perf_counter()
        try:
            rest = await self._write(batch)
            self._restamped = self._sink.restamped(batch)
        except Exception as outcome:  # noqa: BLE001  a sink's bug must not lose data: the batch comes again
            return self._failed(outcome, numbers)
        finally:
            self._metrics.wrote(time.perf_counter() - started)
        self._metrics.outcome("delivered")
        self._metrics.delivered([event.time for event in events], int(self._clock() * 1000))
        return self._progress(self._plan.delivered()), rest or 0.0

    def _tell(self, notice: Notice, note: str) -> None:
        self._metrics.notice(notice)
        self.health.notice(notice, note)

    async def _write(self, batch: Batch) -> float | None:
        limit = self._sink.deadline_secs
        try:
            async with asyncio.timeout(limit + GRACE_SECS):
                return await self._sink.write(batch)
        except TimeoutError:
            raise Unavailable("timeout", f"the write took longer than {limit:g} s") from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody asked for it: it would end the lane without a word.
            raise RuntimeError("a cancellation from within") from None

    def _failed(self, outcome: Exception, numbers: list[int]) -> tuple[Ack | None, float]:
        """The plan's answer to a write that raised."""
        place = place_of(outcome)
        # Its frames hold the batch, and may hold themselves by it: megabytes, until someone collects the garbage.
        outcome.__traceback__ = None
        match outcome:
            case Unavailable():
                return self._unavailable(outcome, numbers)
            case Rejected():
                return self._rejected(outcome, numbers)
            case Fatal():
                return None, self._fatal(outcome)
        return None, self._bug(place)

    def _unavailable(self, outcome: Unavailable, numbers: list[int]) -> tuple[Ack | None, float]:
        if not outcome.only:
            # Later, and not one event that it is about: a sink's mistake is no proof that all were taken.
            return None, self._later(outcome)
        if not all(0 <= index < len(numbers) for index in outcome.only):
            return None, self._bug(NOT_IN_ITS_BATCH)
        self._plan.delivered_but({numbers[index] for index in outcome.only}, numbers)
        return None, self._later(outcome)

    def _rejected(self, outcome: Rejected, numbers: list[int]) -> tuple[Ack | None, float]:
        if not outcome.only:
            self._metrics.outcome("rejected", outcome.reason)
            ack = self._plan.halve(numbers, outcome.reason, outcome.detail, own=outcome.own)
        elif all(0 <= index < len(numbers) for index in outcome.only):
            self._metrics.outcome("partly_rejected", outcome.reason)
            why = {numbers[index]: words for index, words in outcome.only.items()}
            others = [n for n in numbers if n not in why] if outcome.others_delivered else []
            ack = self._plan.refused(why, outcome.reason, own=outcome.own, others=others)
        else:
            return None, self._bug(NOT_IN_ITS_BATCH)
        if self._plan.refuses_everything:
            self._plan.start_over()
            return None, self._wait_out(
                "held", "refused", f"refuses one event after another, so none was given up; {outcome.note}"
            )
        return self._progress(ack), 0.0

    def _progress(self, ack: Ack | None) -> Ack | None:
        self._attempt = self._failures = 0
        return ack

    def _later(self, outcome: Unavailable) -> float:
        self._metrics.outcome("timeout" if outcome.reason == "timeout" else "unavailable", outcome.reason)
        state: State = "held" if outcome.reason in HELD else "waiting"
        return self._wait_out(state, outcome.reason, outcome.note, outcome.retry_after)

    def _fatal(self, outcome: Fatal) -> float:
        self._metrics.outcome("unavailable", outcome.reason)
        if self.alone:
            raise outcome
        return self._wait_out("held", outcome.reason, outcome.note)

    def _bug(self, place: str) -> float:
        self._metrics.outcome("bug", "bug")
        return self._wait_out("waiting", "bug", place)

    def _no_room(self, error: NoRoomError) -> float:
        return self._wait_out("held" if error.reason in HELD else "waiting", error.reason, str(error))

    def _wait_out(self, state: State, reason: Reason, note: str, retry_after: float | None = None) -> float:
        self._failures += 1
        self.health.trouble(state, reason, note, lag=self._lane.figures.lag)
        return self._backoff.delay(self._failures, retry_after or 0.0)

    async def _commit(self, ack: Ack) -> None:
        """Moves the position. Where there is no room for it, waits for room: what is delivered is not sent again."""
        while True:
            try:
                await self._lane.ack(ack.upto, ack.dead, ack.left_out)
            except NoRoomError as error:
                await self._sleep(self._no_room(error))
            else:
                self._failures = 0
                self.health.fine(lag=self._lane.figures.lag)
                self._tell_too_old(ack)
                return

    def _tell_too_old(self, ack: Ack) -> None:
        """Once they are settled, so that each is counted once."""
        given_up = sum(burial.reason == "too_old" for burial in ack.dead)
        for action, events in (("restamp", self._restamped), ("dead_letter", given_up)):
            self._metrics.too_old(action, events)
        self.health.too_old(restamped=self._restamped, dead=given_up)
        self._restamped = 0


def place_of(error: BaseException) -> str:
    """Type and place of an unexpected exception, without its message, which may quote an event."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
    return f"{type(error).__name__}{where}"
