"""The real source, journal and delivery in virtual time, a fault at a step, and what must be true whatever happens."""

import asyncio
import bisect
import gc
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

import structlog
from journal_case import check_file, crashed, in_memory
from simulation_loop_case import SimulatedLoop, SimulatedThread
from simulation_sinks_case import BATCH, Archive, Bucket, Destination, Siem
from simulation_tenant_case import DOMAIN, START, SimulatedHttp, Tenant, type_of

from shipper.delivery import Delivery
from shipper.health import Health
from shipper.journal import Figures
from shipper.journal.files import lock
from shipper.journal.sieve import Sieve
from shipper.journal.sqlite import SqliteJournal, SqliteLane, SqliteSource
from shipper.journal.store import Store
from shipper.metrics import Metrics
from shipper.nap import Nap
from shipper.retry import Backoff
from shipper.secret import Secret
from shipper.sources.auth0 import Auth0Source
from shipper.sources.auth0_config import Auth0Config
from shipper.sources.chain import Checkpoint

Fault = Literal["kill", "cancel", "stop"]
FAULTS: tuple[Fault, ...] = ("kill", "kill", "cancel", "cancel", "stop")
CONFIG = Auth0Config.model_validate(
    {
        "type": "auth0",
        "domain": DOMAIN,
        "client_id": "id",
        "client_secret": Secret("secret"),
        "proxy": "none",
        "poll_interval_secs": 3.0,
    }
)
UPKEEP_EVERY_SECS = 5.0
SHUTDOWN_SECS = 20.0
RECOVERY_SECS = 75.0
"""A minute of backoff, and then a poll, a page, a batch that waits to be fuller, and a write that takes its time."""
TOO_MANY_STEPS = 50_000
TYPES = ("a", "b", "ab", "bc", "")
"""Of events that a lane may want: there are a, b and c, in turn."""


class KilledError(BaseException):
    """The process is gone between two steps."""


def _drop(_: Any, __: str, ___: Any) -> Any:
    raise structlog.DropEvent


LOG = structlog.wrap_logger(None, processors=[_drop])
_METRICS = Metrics()
SOURCE_METRICS, LANE_METRICS = _METRICS.source("acme"), _METRICS.lane("acme", "any")
SINKS = {"siem": Siem, "archive": Archive}


class World:
    """What outlives the program: the tenant, the destinations, the disk, the time. All drawn from one seed."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.draw = Random(seed)
        draw = self.draw
        self.directory = directory
        self.tenant = Tenant(draw, faults=draw.randint(0, 2))
        self.siem = Destination(self.tenant, draw, faults=draw.randint(0, 2), poison=draw.choice((0.0, 0.2, 0.5)))
        self.archive = Bucket(self.tenant, draw, faults=draw.randint(0, 1))
        self.destinations = {"siem": self.siem, "archive": self.archive}
        self.filtering = Filtering(seed, self.tenant)
        self.keep_days = draw.choice((0.0, 1.0))
        self.now = 0.0
        self.faults = 0
        self.last_fault = 0.0

    def fault(self) -> None:
        """One more of the faults that are done to the program itself."""
        self.faults += 1
        self.last_fault = self.now

    def store(self) -> Store:
        """The journal's file as it is on the disk."""
        path = self.directory / "journal.sqlite"
        return Store(path, max_bytes=1 << 30, keep_days=self.keep_days, clock=lambda: START + self.now)

    def done(self, figures: Figures) -> bool:
        """All there will ever be is stored and settled."""
        source = figures.sources.get("acme")
        return (
            source is not None
            and source.stored == len(self.tenant.ids)
            and len(source.lanes) == len(self.destinations)
            and all(lane.lag == 0 for lane in source.lanes.values())
        )

    def calm_since(self) -> float:
        """From when on nothing has gone wrong, and no event has come."""
        sinks = max(there.last_fault for there in self.destinations.values())
        return max(self.last_fault, self.tenant.last_fault, self.tenant.times[-1], sinks)


class Filtering:
    """What the lanes want: everything, some types, or other types in each life of the program."""

    def __init__(self, seed: int, tenant: Tenant) -> None:
        self._draw, self._tenant = Random(f"filters of {seed}"), tenant
        self._way = self._draw.choice(("none", "none", "fixed", "changing"))
        self._wanted = {"siem": self._some(), "archive": self._some()}

    def _some(self) -> str:
        some = self._draw.choice(TYPES)
        # The last event is one that no destination refuses: a refusal waits for a delivery behind it.
        return some + type_of(len(self._tenant.ids) - 1) if some else ""

    def sieve(self, name: str, there: Destination) -> Sieve | None:
        """The lane's filter for one life."""
        if self._way == "none":
            return None
        wanted = self._some() if self._way == "changing" else self._wanted[name]
        there.left_out |= {n for n in range(len(self._tenant.ids)) if type_of(n) not in wanted}
        return Sieve(lambda type_: type_ in wanted)

    @property
    def changes(self) -> bool:
        """Whether what is left out depends on when it was read."""
        return self._way == "changing"


@dataclass(frozen=True)
class Plant:
    """A bug in the parts that lie between journal, source and delivery; by default there is none."""

    source: type[SqliteSource] = SqliteSource
    lane: type[SqliteLane] = SqliteLane


SOUND = Plant()


class Life:
    """One life of the program, from opening the journal to its end. fault: what happens before which step."""

    def __init__(self, world: World, plant: Plant, fault: Fault | None = None, step: int = 0) -> None:
        self.world, self._plant = world, plant
        self._fault, self._step = fault, step
        self.draw = Random(world.draw.random())
        self.loop = SimulatedLoop(self.draw, world.now, self._before)
        self.thread = SimulatedThread(self.loop, self.draw)
        self.store = world.store()
        self._lock = lock(world.directory)
        self.journal = SqliteJournal(self.store, self.thread, self._lock, lambda _: None)
        self._figures: Figures | None = None
        self._stopped: asyncio.Future[None] = self.loop.create_future()
        self._deliveries: dict[str, Delivery] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._sieves = {name: world.filtering.sieve(name, there) for name, there in world.destinations.items()}

    def run(self) -> bool:
        """Whether it ended with nothing left to do."""
        try:
            self.loop.run_until_complete(self._main())
        except KilledError:
            self._after_a_kill()
        finally:
            self._go()
        assert not self.loop.complaints, self.loop.complaints
        return self.world.done(self.store.figures)

    def _before(self, step: int) -> None:
        self.world.now = self.loop.time()
        assert step < TOO_MANY_STEPS, "it never ends"
        assert not self.world.tenant.wrong, self.world.tenant.wrong
        if self._figures is not self.store.figures:
            self._figures = self.store.figures
            check_figures(self.world, self._figures)
            assert self.world.now <= self.world.calm_since() + RECOVERY_SECS, "it does not recover"
            if self.world.done(self._figures):
                self._stop()
        if step == self._step and self._fault is not None:
            self.world.fault()
            self._strike(self._fault)

    # -- faults --------------------------------------------------------------------------------------------------------

    def _strike(self, fault: Fault) -> None:
        if fault == "kill":
            raise KilledError
        if fault == "stop":
            self._stop()
        at_work = [task for task in self.loop.tasks[1:] if not task.done()]
        if fault == "cancel" and at_work:
            self.draw.choice(at_work).cancel()

    def _stop(self) -> None:
        if not self._stopped.done():
            self._stopped.set_result(None)

    def _after_a_kill(self) -> None:
        """Nothing is left but the file, as it is now, and what was on its way to the destinations."""
        world = self.world
        world.directory = crashed(world.directory, world.directory.with_name(f"{world.directory.name}'")).parent
        for there in world.destinations.values():
            there.after_a_kill(self.draw)
        world.now += self.draw.choice((0.0, 3.0, 90.0))
        world.last_fault = world.now

    def _go(self) -> None:
        self.thread.end()
        self.loop.abandon()
        with suppress(OSError):  # the journal closes it itself, unless it is killed
            os.close(self._lock)
        self.store._db._db.close()

    # -- the program ---------------------------------------------------------------------------------------------------

    async def _main(self) -> None:
        await self.journal.source("acme", CONFIG.tenant_key)
        self._source = self._plant.source(self.journal, self.store, "acme")
        for sink in self.world.destinations:
            await self.journal.lane("acme", sink)
        while not self._stopped.done():
            self._begin()
            await asyncio.wait([self._stopped, *self._tasks.values()], return_when=asyncio.FIRST_COMPLETED)
        await self._wind_down()
        if self.world.done(self.store.figures):
            check_end(self.world, self.store)
        await self.journal.close()

    def _begin(self) -> None:
        """Whoever was cancelled begins anew."""
        for name in ("acme", "upkeep", *self.world.destinations):
            task = self._tasks.get(name)
            if task is None or task.cancelled():
                self._tasks[name] = asyncio.ensure_future(self._work(name))
            elif task.done():
                task.result()

    async def _work(self, name: str) -> None:
        if name == "acme":
            await self._poll()
        elif name == "upkeep":
            while True:
                await asyncio.sleep(UPKEEP_EVERY_SECS)
                await self.journal.trim()
        else:
            self._deliveries[name] = self._delivery(name)
            await self._deliveries[name].run()

    async def _poll(self) -> None:
        source = Auth0Source(
            "acme",
            CONFIG,
            self._source,
            health=Health(LOG, self.loop.time),
            metrics=SOURCE_METRICS,
            log=LOG,
            sleep=Nap().rest,
            clock=self.loop.time,
            wall=self._wall,
            backoff=Backoff(draw=self.draw.random),
            http=SimulatedHttp(self.world.tenant, self.draw),
        )
        try:
            await source.run()
        finally:
            await source.close()

    def _delivery(self, name: str) -> Delivery:
        there = self.world.destinations[name]
        return Delivery(
            self._plant.lane(self.journal, self.store, "acme", name, self._sieves[name]),
            SINKS[name](there, self.draw),
            Auth0Source.origin("acme", CONFIG),
            slots=asyncio.Semaphore(4),
            health=Health(LOG, self.loop.time),
            metrics=LANE_METRICS,
            clock=self._wall,
            sleep=Nap().rest,
            backoff=Backoff(draw=self.draw.random),
        )

    async def _wind_down(self) -> None:
        """As the daemon does it."""
        for name, task in self._tasks.items():
            if name in self._deliveries:
                self._deliveries[name].stop(task)
            else:
                task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=SHUTDOWN_SECS)
            for task in self._tasks.values():
                task.cancel()
            await asyncio.wait(self._tasks.values())

    def _wall(self) -> float:
        return START + self.loop.time()


def check_figures(world: World, figures: Figures) -> None:
    """At every commit: nothing is settled that was not taken or buried, and nothing passed over that is not stored."""
    source = figures.sources.get("acme")
    if source is None:
        return
    if source.checkpoint is not None:
        behind = bisect.bisect_right(world.tenant.ids, Checkpoint.decode(source.checkpoint).last)
        assert behind <= source.stored, "the checkpoint is ahead of what is stored"
    for name, lane in source.lanes.items():
        there = world.destinations[name]
        settled = set(range(lane.position))
        poison, left_out = there.poison & settled, there.left_out & settled
        lost = settled - there.taken - poison - left_out
        assert not lost, f"{name}: {lost} settled, but neither taken nor buried"
        assert lane.lag == source.stored - lane.position
        dead = sum(lane.dead.values())
        assert len(poison - left_out) <= dead <= len(poison), "dead letters and position move together"
        assert lane.delivered + lane.filtered + dead == lane.position
        if not world.filtering.changes:
            assert dead == len(poison - left_out), "dead letters and position move together"
            assert lane.filtered == len(left_out), "what is left out and position move together"


def check_end(world: World, store: Store) -> None:
    """When all is calm: nothing is missing, invented, altered, or there more often than the faults allow."""
    tenant = world.tenant
    check_file(store)
    everything = set(range(len(tenant.ids)))
    for name, there in world.destinations.items():
        lane = store.figures.sources["acme"].lanes[name]
        assert everything - there.poison - there.left_out <= there.taken <= everything - there.poison, name
        assert lane.delivered <= len(there.taken), f"{name}: more delivered than taken"
        if isinstance(there, Bucket) or not there.left_out:
            assert lane.delivered == len(there.taken), f"{name}: {lane.delivered} delivered of {len(there.taken)} taken"
        buried = [(tenant.index[letter.event_id], letter.raw) for letter in store.dead_letters(sink=name)]
        assert buried == [(n, tenant.events[n]) for n in sorted({n for n, _ in buried})], name
        assert there.poison - there.left_out <= {n for n, _ in buried} <= there.poison, name
        if not world.filtering.changes:
            assert there.taken.isdisjoint(there.left_out), name
            assert {n for n, _ in buried} == there.poison - there.left_out, name
        assert there.twice <= BATCH * world.faults, f"{name}: {there.twice} twice for {world.faults} faults"


def simulate(seed: int, directory: Path, fault: Fault | None = None, step: int = 0, plant: Plant = SOUND) -> int:
    """A world of this seed through a fault before this step, and on until all is calm. Returns the first life's steps.

    directory: of an empty journal. A later life may have a fault of its own. Raises whatever is found.
    """
    world = World(seed, directory)
    first = life = Life(world, plant, fault, step)
    again = Random(f"{seed} {step}")
    while not life.run():
        another = again.choice(FAULTS) if world.faults == 1 and again.random() < 0.2 else None
        life = Life(world, plant, another, again.randint(1, 200))
    return first.loop.steps


def every_step(seed: int, plant: Plant = SOUND, enough: int = 1) -> tuple[int, list[str]]:
    """One seed with a fault before each of its steps. Returns how many runs that were, and what they found.

    enough: findings after which to stop.
    """
    runs = 0
    found: list[str] = []
    gc.disable()
    with in_memory() as place:
        empty = Path(place, "empty")
        empty.mkdir()
        Store(empty / "journal.sqlite", max_bytes=1 << 30).close()
        steps, step, fault = 1, 0, None
        while step <= steps and len(found) < enough:
            directory = Path(place, str(step))
            shutil.copytree(empty, directory)
            try:
                taken = simulate(seed, directory, fault, step, plant)
            except Exception as error:  # noqa: BLE001  whatever it is, it is what we are looking for
                taken = steps
                found.append(f"seed {seed}, {fault} before step {step}: {error!r}")
            runs += 1
            steps = taken if fault is None else steps
            step += 1
            fault = Random(f"{seed} fault {step}").choice(FAULTS)
    gc.enable()
    gc.collect()
    return runs, found
