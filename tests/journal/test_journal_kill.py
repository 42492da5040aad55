"""kill -9 at any moment: nothing that was committed is lost, and nothing is torn."""

import random
import subprocess
import sys
from pathlib import Path

from journal_case import EVERYTHING, check_file, event

from shipper.journal.store import Store

KILLS = 20


def run_and_kill(path: Path, lines: int, chance: random.Random) -> tuple[int, int]:
    """Kills the program somewhere behind so many commits; the last ones that it told of."""
    victim = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("journal_victim.py"), path], stdout=subprocess.PIPE, text=True
    )
    assert victim.stdout is not None
    told = {"stored": 0, "settled": 0}
    for _ in range(lines):
        word, number = victim.stdout.readline().split()
        told[word] = int(number)
    for _ in range(chance.randrange(20_000)):
        pass  # so that it is not always killed just behind a print
    victim.kill()
    for line in victim.stdout.read().splitlines(keepends=True):
        if line.endswith("\n"):
            word, number = line.split()
            told[word] = int(number)
    assert victim.wait() == -9
    victim.stdout.close()
    return told["stored"], told["settled"]


def test_nothing_committed_is_lost_or_torn_over_many_kills(tmp_path: Path) -> None:
    chance, path = random.Random(9), tmp_path / "journal.sqlite"
    for _ in range(KILLS):
        told_stored, told_settled = run_and_kill(path, chance.randrange(2, 60), chance)
        store = Store(path, max_bytes=1 << 30, keep_days=0)
        check_file(store)
        source = store.figures.sources["acme"]
        lane = source.lanes["siem"]
        assert told_stored <= source.stored <= told_stored + 100
        assert told_settled <= lane.position <= told_settled + 60
        assert source.checkpoint == b"%d" % source.stored
        stretch = store.read("acme", "siem", lane.position, EVERYTHING, source.stored)
        waiting = list(stretch.events) if stretch else []
        assert waiting == [event(n, 300) for n in range(lane.position + 1, source.stored + 1)]
        dead = [letter.raw for letter in store.dead_letters(limit=10**6)]
        assert dead == [event(n, 300).raw for n in range(7, lane.position + 1, 7)]
        assert lane.dead.get("refused", 0) == len(dead)
        store.close()
