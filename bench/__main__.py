"""`python -m bench`: measures, and prints one table. A missed budget is printed, and ends with 0 all the same."""

import argparse
import os
import platform
import signal
import sys
import time
from pathlib import Path

from bench import rows, rows_logto, rows_sinks
from bench.rows import FULL, QUICK
from bench.table import Row, table

ROWS = {**rows.ROWS, **rows_sinks.ROWS, **rows_logto.ROWS}


def main() -> None:
    """Measures what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer events, shorter: for a look, not for the README")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), help="these rows")
    parser.add_argument("--pairs", type=int, help="how often ours and the baseline run in turn")
    asked = parser.parse_args()
    size = QUICK if asked.quick else FULL
    if asked.pairs:
        size = size._replace(pairs=asked.pairs)
    # So that every `with` ends its programs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began, load = time.monotonic(), os.getloadavg()[0]
    found: list[Row] = []
    for name in asked.only:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        found += ROWS[name](size)
    print(f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f} before")
    counts = f"{size.cpu_events:,} events for CPU, {size.drain_events:,} for drain, {size.memory_events:,} for memory"
    print(f"{'quick' if asked.quick else 'full'}: {counts};")
    print(f"{size.pairs} pairs in turn, median (least to most); took {time.monotonic() - began:.0f} s\n")
    print(table(found))


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
