"""The measurements with a Logto tenant."""

import time
from collections.abc import Callable
from statistics import median

from bench.rows import Pairs, Size, delivering, ratios
from bench.sinks import only_hec
from bench.stage import Stage, logto, stage
from bench.table import Row, spread

KIND = ("--kind", "logto", "--latency", "0.02")
MARGIN_SECS = 11.0
"""Only what is older than ten seconds is read."""


def drain_logto(size: Size) -> list[Row]:
    """Events a second and CPU an event, beside a loop that reads the same pages from a list that stands still."""
    count = size.drain_events
    found = Pairs([], [], [], [], 0)
    with stage(only_hec, logto) as here, here.destination():
        for events, ours, other in ((1, found.ours_start, found.other_start), (count, found.ours, found.other)):
            _both(here, size, events, Pairs(ours, other, [], [], 0))
    speeds, cpu = [], []
    for runs, starts in ((found.ours, found.ours_start), (found.other, found.other_start)):
        wall, used = (median(getattr(usage, name) for usage in starts) for name in ("wall_secs", "cpu_secs"))
        speeds.append([count / (usage.wall_secs - wall) for usage in runs])
        cpu.append([(usage.cpu_secs - used) / count * 1e6 for usage in runs])
    return [
        Row("Logto, drain at 20 ms latency, events/s", spread(speeds[0], ".0f"), spread(speeds[1], ".0f"),
            f"ratio {spread(ratios(*speeds), '.2f')}"),
        Row("the same, CPU an event, µs", spread(cpu[0]), "", ""),
    ]  # fmt: skip


def _both(here: Stage, size: Size, events: int, into: Pairs) -> None:
    with here.tenant("--count", str(events), *KIND):
        time.sleep(MARGIN_SECS)
        for _ in range(size.pairs):
            usage, _ = delivering(here, {"hec": events}, here.run_once)
            into.ours.append(usage)
            into.other.append(delivering(here, {}, lambda: here.script("bare_pages")))


ROWS: dict[str, Callable[[Size], list[Row]]] = {"drain-logto": drain_logto}
