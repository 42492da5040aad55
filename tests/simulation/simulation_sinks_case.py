"""Two destinations that fail by a seed, what they hold, and the sinks that write to them."""

import asyncio
from collections.abc import Sequence
from random import Random
from typing import ClassVar

from simulation_tenant_case import Tenant

from shipper import Batch, Event, Sink, SinkConfig
from shipper.sink import Rejected, Unavailable

BATCH = 3
TIMEOUT_SECS = 10.0
TROUBLE = ("unavailable", "ack lost", "hang", "hang after it", "bug", "throttled")


class Destination:
    """What one destination holds, and what it knows of the truth. faults: so many writes fail.

    poison: the numbers of the events that it will never take. told: those of which it said that it has them. twice:
    how often it took one of these again. left_out: the numbers of those that the lane's filter leaves out, or one that
    it had before.
    """

    def __init__(self, tenant: Tenant, draw: Random, faults: int, poison: float) -> None:
        self.tenant, self._draw, self.faults = tenant, draw, faults
        self.poison = {n for n in range(len(tenant.ids) - 1) if draw.random() < poison}
        self.taken: set[int] = set()
        self.told: set[int] = set()
        self.left_out: set[int] = set()
        self.twice = 0
        self.on_its_way: Sequence[Event] = ()
        self.last_fault = 0.0

    def trouble(self, now: float) -> str:
        if not self.faults or self._draw.random() > 0.35:
            return ""
        self.faults -= 1
        self.last_fault = now
        return self._draw.choice(TROUBLE)

    def arrive(self, events: Sequence[Event]) -> None:
        """A write reaches the destination: the tenant's own events, in the tenant's order, none left out."""
        numbers = [self.tenant.index[event.id] for event in events]
        self.expect([event.raw for event in events] == [self.tenant.events[n] for n in numbers], f"{numbers} altered")
        self.expect(numbers == sorted(set(numbers)), f"{numbers} not in the tenant's order")
        missing = set(range(numbers[0])) - self.taken - self.poison - self.left_out
        self.expect(not missing, f"{missing} left out before {numbers}")
        self.on_its_way = events

    def take(self, events: Sequence[Event], *, told: bool) -> None:
        """These are taken. told: and the answer says so."""
        for event in events:
            number = self.tenant.index[event.id]
            self.expect(number not in self.poison, f"{number} taken, which was refused")
            self.twice += number in self.told
            self.taken.add(number)
            # Taken, but nobody knows it: that it comes again is no fault of the program's.
            (self.told.add if told else self.told.discard)(number)
        self.on_its_way = ()

    def expect(self, true: bool, what: str) -> None:
        if not true:
            self.tenant.wrong.append(what)

    def after_a_kill(self, draw: Random) -> None:
        """What was on its way when its sender went may still arrive."""
        events, self.on_its_way = self.on_its_way, ()
        if draw.random() < 0.5:
            self.take([e for e in events if self.tenant.index[e.id] not in self.poison], told=False)


class Bucket(Destination):
    """Keeps each range that is written under its name: an event that is in two of them is there twice."""

    def __init__(self, tenant: Tenant, draw: Random, faults: int) -> None:
        super().__init__(tenant, draw, faults, poison=0.0)
        self._ranges: dict[int, tuple[int, int]] = {}

    def take(self, events: Sequence[Event], *, told: bool) -> None:
        numbers = [self.tenant.index[event.id] for event in events]
        for number in numbers:
            range_ = self._ranges.setdefault(number, (numbers[0], numbers[-1]))
            self.expect(range_ == (numbers[0], numbers[-1]), f"{number} twice: in {range_} and {numbers}")
        self.taken.update(numbers)
        self.on_its_way = ()


class Siem(Sink):
    """Takes part of a batch, refuses events, by name or not; takes everything at least once."""

    def __init__(self, destination: Destination, draw: Random, **settings: object) -> None:
        limits = {"batch": {"max_events": BATCH}, "request": {"timeout_secs": TIMEOUT_SECS}}
        super().__init__(SinkConfig.model_validate({"type": "simulated", **limits, **settings}))
        self._destination, self._draw = destination, draw

    async def write(self, batch: Batch) -> float | None:
        there, events = self._destination, batch.events
        there.arrive(events)
        await asyncio.sleep(self._draw.choice((0.0, 0.02, 0.5)))
        trouble = there.trouble(asyncio.get_running_loop().time())
        if trouble == "hang":
            await self._hang()
        if trouble in ("unavailable", "throttled"):
            there.on_its_way = ()
            raise Unavailable("server_error", retry_after=7.0 if trouble == "throttled" else None)
        if trouble == "bug":
            there.on_its_way = ()
            raise ValueError("a sink's bug")
        self._refuse(events)
        if trouble == "ack lost":
            there.take(events, told=False)
            raise Unavailable("timeout")
        if trouble == "hang after it":
            there.take(events, told=False)
            await self._hang()
        return self._answer(events)

    async def _hang(self) -> None:
        self._destination.last_fault += TIMEOUT_SECS
        await asyncio.Event().wait()

    def _refuse(self, events: Sequence[Event]) -> None:
        there = self._destination
        never = [i for i, event in enumerate(events) if there.tenant.index[event.id] in there.poison]
        if not never:
            return
        way = self._draw.choice(("named", "named, others taken", "whole"))
        others = [event for i, event in enumerate(events) if i not in never]
        there.on_its_way = ()
        if way == "named, others taken":
            there.take(others, told=True)
        if way == "whole":
            raise Rejected("refused", detail="one of them")
        raise Rejected("refused", only=dict.fromkeys(never, "bad"), others_delivered=way != "named")

    def _answer(self, events: Sequence[Event]) -> float | None:
        there, draw = self._destination, self._draw
        if there.faults and len(events) > 1 and draw.random() < 0.1:
            there.faults -= 1
            there.last_fault = asyncio.get_running_loop().time()
            later = {i for i in range(len(events)) if draw.random() < 0.5} or {0}
            there.take([event for i, event in enumerate(events) if i not in later], told=True)
            raise Unavailable("server_error", only=later)
        there.take(events, told=True)
        return draw.choice((None, None, 0.5))


class Archive(Siem):
    """Writes each range under its name, as S3's does: all of it or nothing, and the same again after a crash."""

    replays_batches: ClassVar[bool] = True

    def __init__(self, destination: Destination, draw: Random) -> None:
        super().__init__(destination, draw, batch={"max_events": 2 * BATCH, "timeout_secs": 1.5})

    def _answer(self, events: Sequence[Event]) -> float | None:
        self._destination.take(events, told=True)
        return None
