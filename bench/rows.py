"""The measurements, one function for some rows. Each run also checks that every event has arrived."""

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

from bench.program import Program, Usage
from bench.sinks import only_hec
from bench.stage import DOMAIN, Daemon, Stage, stage
from bench.table import Row, spread
from bench.tenants import domain_of
from shipper.event import Page
from shipper.journal.sqlite import SqliteJournal
from shipper.simulator.options import Options
from shipper.simulator.tenant import Tenant
from shipper.sources.chain import highest_id, horizon_behind
from shipper.sources.split import event_of

EARLY = 100_000
IDLE_EVENTS = 100

T = TypeVar("T")


class Size(NamedTuple):
    """How much is measured. pairs: how often ours and the baseline run, in turn."""

    pairs: int
    cpu_events: int
    drain_events: int
    memory_events: int
    idle_secs: float
    tail_events: int


FULL = Size(pairs=5, cpu_events=100_000, drain_events=40_000, memory_events=1_000_000, idle_secs=30, tail_events=5_000)
QUICK = Size(pairs=2, cpu_events=50_000, drain_events=10_000, memory_events=200_000, idle_secs=10, tail_events=1_500)


class Pairs(NamedTuple):
    """What the runs of ours and of a baseline took, in turn, over one event (start-up) and over many."""

    ours: list[Usage]
    other: list[Usage]
    ours_start: list[Usage]
    other_start: list[Usage]
    journal_bytes: int


def cpu(size: Size) -> list[Row]:
    """CPU an event, chain → journal → HEC with gzip, beside the plain script; and the journal's bytes an event."""
    count = size.cpu_events
    found = _pairs(size, count, "plain_script", ())
    figures: list[list[float]] = []
    for runs, starts in ((found.ours, found.ours_start), (found.other, found.other_start)):
        start = median(usage.cpu_secs for usage in starts)
        figures.append([(usage.cpu_secs - start) / count * 1e6 for usage in runs])
    whole = [[usage.cpu_secs / count * 1e6 for usage in runs] for runs in (found.ours, found.other)]
    shares, whole_shares = ratios(*figures), ratios(*whole)
    starts_ms = [[usage.cpu_secs * 1e3 for usage in runs] for runs in (found.ours_start, found.other_start)]
    return [
        Row("CPU an event, µs", spread(figures[0]), spread(figures[1]), f"ratio {spread(shares, '.2f')}", "≤ 0.5",
            median(shares) <= 0.5),
        Row("the same, start-up included, µs", spread(whole[0]), spread(whole[1]),
            f"ratio {spread(whole_shares, '.2f')}"),
        Row("start-up alone, CPU ms", spread(starts_ms[0], ".0f"), spread(starts_ms[1], ".0f"), ""),
        judged("journal on disk, full pages, bytes an event", found.journal_bytes / count, 300),
    ]  # fmt: skip


def drain(size: Size) -> list[Row]:
    """Events a second from a tenant that takes 20 ms an answer, beside the bare loop."""
    return [drain_beside_bare_loop(size, "drain at 20 ms latency, events/s", only_hec, ("hec",))]


def drain_beside_bare_loop(size: Size, what: str, sinks: Callable[[str], list[str]], kinds: tuple[str, ...]) -> Row:
    """One row for these sinks; kinds: what the destination calls them."""
    count = size.drain_events
    found = _pairs(size, count, "bare_loop", ("--latency", "0.02"), sinks, kinds)
    speeds: list[list[float]] = []
    for runs, starts in ((found.ours, found.ours_start), (found.other, found.other_start)):
        start = median(usage.wall_secs for usage in starts)
        speeds.append([count / (usage.wall_secs - start) for usage in runs])
    shares = ratios(*speeds)
    return Row(
        what, spread(speeds[0], ".0f"), spread(speeds[1], ".0f"), f"ratio {spread(shares, '.2f')}", "≥ 0.95",
        median(shares) >= 0.95,
    )  # fmt: skip


def ratios(ours: list[float], other: list[float]) -> list[float]:
    """Pair by pair."""
    return [mine / theirs for mine, theirs in zip(ours, other, strict=True)]


def _pairs(
    size: Size,
    count: int,
    baseline: str,
    options: tuple[str, ...],
    sinks: Callable[[str], list[str]] = only_hec,
    kinds: tuple[str, ...] = ("hec",),
) -> Pairs:
    """Ours and the baseline in turn; both also over one event, which tells what starting costs."""
    pairs = Pairs([], [], [], [], 0)
    expected = {"hec": count} if baseline == "plain_script" else {}
    with stage(sinks) as here, here.destination():
        with here.tenant("--count", "1", *options):
            for _ in range(size.pairs):
                pairs.ours_start.append(here.run_once()[0])
                pairs.other_start.append(here.script(baseline))
        with here.tenant("--count", str(count), *options):
            for _ in range(size.pairs):
                usage, journal_bytes = delivering(here, dict.fromkeys(kinds, count), here.run_once)
                pairs.ours.append(usage)
                pairs.other.append(delivering(here, expected, lambda: here.script(baseline)))
    return pairs._replace(journal_bytes=journal_bytes)


def delivering(here: Stage, expected: dict[str, int], run: Callable[[], T]) -> T:
    """What a run brings, once exactly these events have arrived by it."""
    before = here.tell("count")
    result = run()
    expect({kind: events - before[kind] for kind, events in here.tell("count").items()}, expected)
    return result


def expect(arrived: dict[str, int], expected: dict[str, int]) -> None:
    """Raises RuntimeError where other events than those have arrived, by kind of sink."""
    if any(events != expected.get(kind, 0) for kind, events in arrived.items()):
        raise RuntimeError(f"{arrived} events arrived, not {expected}: this run measures nothing")


def memory(size: Size) -> list[Row]:
    """Resident memory while a backlog grows with the destination down, and while it drains afterwards."""
    count = size.memory_events
    with stage() as here, here.destination(), here.tenant("--count", str(count)):
        here.tell("down")
        with here.daemon({DOMAIN: here.tenant_url}) as daemon:
            daemon.until(lambda stored, _: stored >= EARLY)
            level = daemon.program.memory().now
            daemon.until(lambda stored, _: stored >= count)
            filled = daemon.program.memory().peak
            here.tell("up")
            daemon.until(lambda _, waiting: waiting == 0)
            drained = daemon.program.memory().peak
        expect(here.tell("count"), {"hec": count})
    return [
        judged(f"memory peak, HEC down, {count:,} events, MB", filled, 120),
        judged(f"the same, above its level at {EARLY:,}, MB", filled - level, 10, ".1f"),
        judged("memory peak, HEC back, backlog drained, MB", drained, 120),
    ]


def judged(what: str, value: float, most: float, form: str = ".0f") -> Row:
    """A row whose figure is the value itself, which should be this at most."""
    return Row(what, format(value, form), "", format(value, form), f"≤ {most:g}", value <= most)


def idle(size: Size) -> list[Row]:
    """CPU of a daemon that has caught up and polls every two seconds."""
    return [
        judged(f"idle, sources: {tenants}, % of a core", _idle_share(tenants, size.idle_secs), budget, ".2f")
        for tenants, budget in ((1, 1.0), (50, 20.0))
    ]


def _idle_share(tenants: int, secs: float) -> float:
    with stage() as here, here.destination():
        arguments = ("-m", "bench.tenants", str(tenants), str(IDLE_EVENTS))
        with Program("tenants", here.directory, *arguments) as program:
            urls = program.line("tenants http").split()[1:]
            with here.daemon({domain_of(number): url for number, url in enumerate(urls)}) as daemon:
                return _share(daemon, tenants * IDLE_EVENTS, secs)


def _share(daemon: Daemon, events: int, secs: float) -> float:
    daemon.until(lambda stored, waiting: stored == events and waiting == 0)
    time.sleep(5.0)  # every source has seen its first empty page by now
    used, at = daemon.program.cpu_secs(), time.monotonic()
    time.sleep(secs)
    return (daemon.program.cpu_secs() - used) / (time.monotonic() - at) * 100


def tails(size: Size) -> list[Row]:
    """The journal's bytes an event where pages come in ones and twos."""
    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as directory:
        used = asyncio.run(_store_tail(Path(directory), size.tail_events)) / size.tail_events
    return [judged("journal on disk, pages of 1 and 2, bytes an event", used, 400)]


async def _store_tail(state: Path, count: int) -> int:
    """Stores the tenant's events in pages of one and two, in turn. Returns the bytes of the journal's used pages."""
    raws = [raw for _, raw in Tenant(Options(count=count)).issued()]
    journal = await SqliteJournal.open(state, max_bytes=1 << 30)
    source, _ = await journal.source("acme", "auth0:acme")
    at, take = 0, 1
    while at < count:
        events = [event_of(raw, 0) for raw in raws[at : at + take]]
        await source.append(Page(events, b"checkpoint", horizon_behind(events), highest_id(events)))
        at, take = at + take, 3 - take
    used = journal.figures.used_bytes
    await journal.close()
    return used


ROWS: dict[str, Callable[[Size], list[Row]]] = {
    "cpu": cpu,
    "drain": drain,
    "memory": memory,
    "idle": idle,
    "tails": tails,
}
