"""The measurements with all four sinks at once, and HEC with slow indexers."""

from collections.abc import Callable

from bench.program import Program
from bench.rows import Size, drain_beside_bare_loop, expect, judged
from bench.sinks import ALL_KINDS, acknowledged_hec, all_four
from bench.stage import DOMAIN, Stage, stage
from bench.table import Row
from bench.tenants import domain_of

SOURCES = 50


def drain_four(size: Size) -> list[Row]:
    """As `drain`, into four sinks."""
    return [drain_beside_bare_loop(size, "the same into four sinks, events/s", all_four, ALL_KINDS)]


def memory_four(size: Size) -> list[Row]:
    """Resident memory while a backlog drains into four sinks: of one source, and the same events of fifty."""
    with stage(all_four) as here, here.destination(), here.tenant("--count", str(size.memory_events)):
        one = _peaks(here, {DOMAIN: here.tenant_url}, size.memory_events)
    with stage(all_four) as here, here.destination():
        each = size.memory_events // SOURCES
        with Program("tenants", here.directory, "-m", "bench.tenants", str(SOURCES), str(each)) as program:
            urls = program.line("tenants http").split()[1:]
            fifty = _peaks(here, {domain_of(number): url for number, url in enumerate(urls)}, SOURCES * each)
    return [
        judged(f"memory peak, four sinks, {phase}, sources: {sources}, MB", peak, budget)
        for sources, peaks, budget in ((1, one, 150), (SOURCES, fifty, 250))
        for phase, peak in zip(("three down", "backlog drained"), peaks, strict=True)
    ]


def _peaks(here: Stage, tenants: dict[str, str], count: int) -> tuple[float, float]:
    """The peak while the backlog grows, and the one after it has drained."""
    here.tell("down")
    with here.daemon(tenants) as daemon:
        daemon.until(lambda stored, _: stored >= count)
        filled = daemon.program.memory().peak
        here.tell("up")
        daemon.until(lambda _, waiting: waiting == 0)
        drained = daemon.program.memory().peak
    expect(here.tell("count"), dict.fromkeys(ALL_KINDS, count))
    return filled, drained


def acknowledgement(size: Size) -> list[Row]:
    """Events a second into HEC where the indexers take one second, and ten, to confirm what they have."""
    return [
        Row(f"HEC, acknowledged after {secs} s, events/s", format(_acknowledged_speed(size, secs), ".0f"), "", "")
        for secs in (1, 10)
    ]


def _acknowledged_speed(size: Size, secs: int) -> float:
    """Less the time of a run over one event, which waits for its acknowledgement as well."""
    took: list[float] = []
    for count in (1, size.drain_events):
        with stage(acknowledged_hec) as here, here.destination(str(secs)), here.tenant("--count", str(count)):
            took.append(here.run_once()[0].wall_secs)
            expect(here.tell("count"), {"hec": count})
    return size.drain_events / (took[1] - took[0])


ROWS: dict[str, Callable[[Size], list[Row]]] = {
    "drain-four": drain_four,
    "memory-four": memory_four,
    "acknowledgement": acknowledgement,
}
