"""The real daemon, killed or failed by its disk at points of its whole way: migration, start, poll, append, write, ack,
trim.

`kill_points(place, count)`, which the soak calls, takes an empty directory and how many points to try, and returns an
Outcome for each. A point takes about two seconds, one at a trim seven.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from subprocess import TimeoutExpired
from typing import Any

from daemon_case import SECRETS, Daemon, Hec, TenantThread, raw_of
from oracle_case import check_order
from strace_case import FILE_CALLS, Call, Point, calls_in, can_trace, killing, recording, refusing, spread
from victim_case import OLD_EVENTS, Outcome, first_release, side_by_side

from shipper.exit_status import OK
from shipper.journal.sqlite import FILE
from shipper.journal.store import Store
from shipper.scripted import Destination
from shipper.simulator.server import Running
from shipper.simulator.tenant import Tenant

EVENTS = 300
BATCH = 20
LIMITS = f"batch.max_events = {BATCH}\n"
TRIM_AT_ONCE = "[journal]\nkeep_days = 0\n"
PHASES = ("migration", "start", "poll", "append", "write", "ack", "trim")
LEFT_BEHIND = "elsewhere"
"""A source that an older release has left in the journal, and that is not in use any more."""
LIVES = 3
"""Side by side; most of the time they wait."""
LONGEST_SECS = 9.0
"""By then a daemon has done everything, also trimmed: one that did not come to its point is killed where it is."""
_POLL, _WRITE = re.compile(r'"(GET /api/v2/logs|POST /oauth/token)'), re.compile(r'"POST /services|write\(1, ')


class Scene:
    """One daemon with a destination of its own, for a tenant that others share."""

    def __init__(self, place: Path, tenant: Running, hec: Hec, url: str, *, old: bool) -> None:
        place.mkdir()
        self.tenant, self.hec, self._old = tenant, hec, old
        if old:
            first_release(place, LEFT_BEHIND)
        self.daemon = Daemon(place, tenant.url, url, siem=LIMITS, extra=LIMITS + TRIM_AT_ONCE)

    @property
    def issued(self) -> list[bytes]:
        return [raw for _, raw in self.tenant.tenant.issued()]

    @property
    def delivered(self) -> bool:
        """Both destinations have everything."""
        count = self.tenant.tenant.count()
        return len(set(self.hec.envelopes)) == count == len(set(self.daemon.lines))

    def used_bytes(self) -> int:
        """What the journal uses, by its metric."""
        found = re.search(r"^shipper_journal_bytes (\S+)$", self.daemon.get("/metrics")[1], re.MULTILINE)
        assert found
        return int(float(found[1]))

    def finish(self, crashes: int) -> str:
        """The daemon's next life, in which everything must arrive. Returns what is wrong, "" for nothing."""
        try:
            self.daemon.start("--once")
            assert self.daemon.wait() == OK, self.daemon.log[-3:]
            place = {raw: number for number, raw in enumerate(self.issued, 1)}
            for held in (self.hec.envelopes, self.daemon.lines):
                numbers = [place[raw_of(envelope)] for envelope in held]
                assert set(numbers) == set(place.values())
                check_order(numbers, BATCH, crashes)
            leaks = [line for line in self.daemon.log if any(secret in line for secret in SECRETS.values())]
            assert not leaks
            if self._old:
                self._expect_left_behind()
        except Exception as error:  # noqa: BLE001  whatever goes wrong is this point's outcome
            return repr(error)
        rmtree(self.daemon.place)
        return ""

    def _expect_left_behind(self) -> None:
        """The older release's events still wait, for lanes that are not in use."""
        store = Store(self.daemon.place / "state" / "journal" / FILE, max_bytes=1 << 30)
        lanes = store.figures.sources[LEFT_BEHIND].lanes
        assert {lane.lag for lane in lanes.values()} == {OLD_EVENTS}
        store.close()


@contextmanager
def scene(place: Path, tenant: Running, *, old: bool = False) -> Iterator[Scene]:
    """A daemon that was not started yet, and its destination. old: on a journal of the first release."""
    hec = Hec()
    with Destination(default=hec) as destination:
        yield Scene(place, tenant, hec, destination.url, old=old)


@contextmanager
def tenant() -> Iterator[Running]:
    """A tenant with so many events and no limits."""
    options: dict[str, Any] = {"client_id": "canary-client", "client_secret": SECRETS["client_secret"], "plan": "none"}
    with TenantThread(Tenant(count=EVENTS, **options)) as running:
        yield running


def whole_way(place: Path, running: Running) -> dict[str, list[Call]]:
    """The calls of a life from the first start to the first trim, by phase; a migration's are of another life."""
    trace, old_trace = place / "calls.trace", place / "old.trace"
    with scene(place / "calls", running) as calm:
        calm.daemon.start(before=recording(trace, f"{FILE_CALLS},sendto,write"))
        calm.daemon.until(lambda: calm.delivered, "not everything arrives")
        full = calm.used_bytes()
        calm.daemon.until(lambda: calm.used_bytes() < full, "nothing is trimmed")
        assert calm.daemon.stop() == OK
    with scene(place / "old", running, old=True) as calm:
        calm.daemon.start(before=recording(old_trace, f"{FILE_CALLS},sendto,write"))
        calm.daemon.until(lambda: calm.delivered, "not everything arrives")
        assert calm.daemon.stop() == OK
    return {**by_phase(calls_in(trace)), "migration": by_phase(calls_in(old_trace))["start"]}


def by_phase(calls: list[Call]) -> dict[str, list[Call]]:
    """An append follows a poll's answer, and an ack a write's: told apart by what was sent last.

    Behind the last write come polls without an answer, which are all alike, and the trim.
    """
    phases: dict[str, list[Call]] = {phase: [] for phase in PHASES}
    last_write = max(at for at, call in enumerate(calls) if _WRITE.search(call.words))
    phase = "start"
    for at, call in enumerate(calls):
        if at > last_write:
            phase = "trim"
        if way := "poll" if _POLL.search(call.words) else "write" if _WRITE.search(call.words) else "":
            if phase != "trim":
                phases[way].append(call)
                phase = {"poll": "append", "write": "ack"}[way]
        elif call.point.call in FILE_CALLS.split(","):
            phases[phase].append(call)
    return phases


def kill_points(place: Path, count: int) -> list[Outcome]:
    """Kills the daemon at so many points, as many of each phase, one in each life, and checks the life after it.

    place: an empty directory. Where nothing can be traced, the kills come at times spread over the daemon's way.
    """
    with tenant() as running:
        return kills(place, running, whole_way(place, running) if can_trace() else {}, count)


def kills(place: Path, running: Running, way: dict[str, list[Call]], count: int) -> list[Outcome]:
    """`kill_points` where the way is known."""
    if not way:
        times = [LONGEST_SECS * number / count for number in range(count)]
        return side_by_side(lambda secs: kill(place / f"after-{secs:.2f}-s", running, [], secs), times, LIVES)
    # Some phases have few calls; the others make up for them.
    share = next(n for n in range(1, count + 1) if sum(min(n, len(way[phase])) for phase in PHASES) >= count)
    # Those that take longest first.
    points = [(phase, call.point) for phase in reversed(PHASES) for call in spread(way[phase], share)]

    def at(point: tuple[str, Point]) -> Outcome:
        phase, call = point
        here = place / "-".join(map(str, [phase, *call]))
        before = killing(call, here.with_suffix(".trace"))
        return kill(here, running, before, LONGEST_SECS, old=phase == "migration")

    return side_by_side(at, spread(points, count), LIVES)


def kill(place: Path, running: Running, before: list[str], secs: float, *, old: bool = False) -> Outcome:
    """One life, which lasts at most so many seconds, and the next one."""
    with scene(place, running, old=old) as killed:
        killed.daemon.start(before=before)
        reached = False
        with suppress(TimeoutExpired):
            killed.daemon.process.wait(secs)
            reached = True
        killed.daemon.kill()
        return Outcome(place.name, killed.daemon.process.returncode, killed.finish(crashes=1), reached)


def failures(place: Path, running: Running, way: dict[str, list[Call]], count: int) -> list[Outcome]:
    """Lets a write or synchronisation of the journal fail with EIO, one in each life, and checks the life after it."""
    calls = [call for phase in ("start", "append", "ack") for call in way[phase]]
    points = [call.point for call in calls if call.point.call in ("pwrite64", "fdatasync")]

    def fail(point: Point) -> Outcome:
        here = place / "-".join(map(str, point))
        before = refusing(point, "EIO", here.with_suffix(".trace"), under=())
        with scene(here, running) as failed:
            failed.daemon.start(before=before)
            status = failed.daemon.wait()
            return Outcome(here.name, status, failed.finish(crashes=1))

    return side_by_side(fail, spread(points, count), LIVES)
