"""`python -m soak`: runs the parts one after another, prints what each found, and ends with 1 where one is not fine."""

import argparse
import logging
import random
import signal
import sys
import time
from pathlib import Path

import click

from soak.parts import PARTS
from soak.reliability import reliability

KILL_SECS = 30.0


def main() -> int:
    """The parts that are asked for, all by default."""
    names = ("reliability", *PARTS)
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--secs", type=float, default=3600.0, help="of the reliability part [3600]")
    parser.add_argument("--seed", default="", help="what is drawn [a new one each time]")
    parser.add_argument("--rate", type=float, default=300.0, help="events a second [300]")
    parser.add_argument("--kill-secs", type=float, default=KILL_SECS, help="the longest life of a daemon [30]")
    parser.add_argument("--keep", type=Path, help="a new folder for all that the reliability part leaves")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="these parts")
    asked = parser.parse_args()
    # So that every `with` ends its programs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Its clients are killed in the middle of everything, and each time the tenant's server would tell.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    seed = asked.seed or str(random.SystemRandom().randrange(10**9))
    fine = True
    if "reliability" in asked.only:
        _say(f"reliability: {asked.secs:g} s, seed {seed}")
        report = reliability(seed=seed, secs=asked.secs, rate=asked.rate, kill_secs=asked.kill_secs, keep=asked.keep)
        click.echo("\n".join(report.lines()))
        fine = report.fine
    for name in asked.only:
        if name in PARTS:
            _say(name)
            began = time.monotonic()
            found = PARTS[name]()
            click.echo(f"{name}: {found.words} ({time.monotonic() - began:.0f} s)")
            fine = fine and found.fine
    return 0 if fine else 1


def _say(what: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {what} …", err=True)


if __name__ == "__main__":
    sys.exit(main())
