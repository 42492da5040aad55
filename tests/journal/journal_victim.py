"""A program to be killed: appends, acks and trims as fast as it can, and tells of each commit."""

import os
import random
import sys
from pathlib import Path

from journal_case import event, page

from shipper.journal import Burial, Limits
from shipper.journal.store import Store


def tell(word: str, number: int) -> None:
    """One line for whoever is going to kill us."""
    os.write(1, f"{word} {number}\n".encode())


def main() -> None:
    """Goes on for ever in the directory that it was given."""
    store = Store(Path(sys.argv[1]), max_bytes=1 << 30, keep_days=0)
    store.open_source("acme", "acme.example")
    store.open_lane("acme", "siem", "earliest")
    chance = random.Random(store.figures.sources["acme"].stored)
    while True:
        stored = store.figures.sources["acme"].stored
        count = chance.choice([1, 1, 2, 30, 100])
        store.append(
            "acme", page([event(n, 300) for n in range(stored + 1, stored + count + 1)], b"%d" % (stored + count))
        )
        tell("stored", stored + count)
        position = store.figures.sources["acme"].lanes["siem"].position
        stretch = store.read("acme", "siem", position, Limits(chance.choice([1, 60]), 1 << 20))
        if stretch is not None:
            refused = [n for n in range(stretch.first, stretch.last + 1) if n % 7 == 0]
            store.ack("acme", "siem", stretch.last, [Burial(n, "refused") for n in refused])
            tell("settled", stretch.last)
        store.trim()


main()
