"""`python -m mutants`: plants each bug in turn, and ends with 1 where one of them goes unnoticed."""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from mutants.planting import Mutant, TableError, copied, plant, run_tests
from mutants.table import MUTANTS

AT_ONCE = 2


def main() -> int:
    """All of them, or those whose name holds one of the words that are given."""
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="plant only what has one of these in its name")
    parser.add_argument("--at-once", type=int, choices=(1, 2), default=AT_ONCE, help=f"runs side by side [{AT_ONCE}]")
    asked = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if not asked.words or any(word in mutant.name for word in asked.words)]
    if not chosen:
        parser.error("no mutant has such a name")
    began = time.monotonic()
    if not _unharmed(chosen):
        return 1
    with ThreadPoolExecutor(asked.at_once) as pool:
        caught = list(pool.map(_caught, chosen))
    click.echo(f"{len(chosen)} planted, {sum(caught)} caught ({time.monotonic() - began:.0f} s)")
    return 0 if all(caught) else 1


def _unharmed(mutants: Sequence[Mutant]) -> bool:
    """Whether all the tests pass while nothing is planted."""
    with tempfile.TemporaryDirectory(prefix="shipper-mutants-") as place:
        run = run_tests(copied(Path(place)), (test for mutant in mutants for test in mutant.tests))
    if run.status != 0:
        click.echo(f"{run.output[-5000:]}\nWith nothing planted these tests must pass: pytest ended with {run.status}")
        return False
    click.echo(f"{'(nothing planted)':<68}{'':<38}{run.secs:>4.0f} s  all pass")
    return True


def _caught(mutant: Mutant) -> bool:
    with tempfile.TemporaryDirectory(prefix="shipper-mutants-") as place:
        try:
            copy = copied(Path(place))
            plant(mutant, copy)
            run = run_tests(copy, mutant.tests, "-x")
            test = run.caught_by()
        except TableError as error:
            click.echo(f"{mutant.name}: {error}")
            return False
    click.echo(f"{mutant.name:<68}{mutant.file:<38}{run.secs:>4.0f} s  {test[:110] or 'SURVIVES'}")
    return bool(test)


if __name__ == "__main__":
    sys.exit(main())
