"""A journal goes from a release to the next and back: with events waiting, and nothing of it lost or repeated."""

import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from journal_case import EVERYTHING, check_file, page

from shipper.event import Event
from shipper.journal import Burial
from shipper.journal.schema import MIGRATIONS, VERSION
from shipper.journal.store import Store

RELEASES = Path(__file__).with_name("releases")
STARTED_MS = 1_700_000_000_000

GO_ON = """
import sys
from pathlib import Path
from shipper.event import Event, Page
from shipper.journal import Burial, Limits
from shipper.journal.store import Store

store = Store(Path(sys.argv[1]), max_bytes=1 << 30)
first, last = int(sys.argv[2]), int(sys.argv[3])
started = 1_700_000_000_000
def event(n):
    raw = b'{"n":%d,"pad":"%s"}' % (n, b"x" * 40)
    return Event(str(9 * 10**55 + n), started + n * 60_000, f"day {n}", "s", raw)
store.append("acme", Page([event(n) for n in range(first, last + 1)], b"behind %d" % last, 0, event(last).id))
lane = store.figures.sources["acme"].lanes["siem"]
stretch = store.read("acme", "siem", lane.position, Limits(50, 1 << 30))
for each in stretch.events:
    print(each.raw.decode())
store.ack("acme", "siem", stretch.last, [Burial(stretch.first, "refused")])
store.close()
"""


def event(number: int) -> Event:
    """As the releases' own journals hold them."""
    raw = b'{"n":%d,"pad":"%s"}' % (number, b"x" * 40)
    return Event(str(9 * 10**55 + number), STARTED_MS + number * 60_000, f"day {number}", "s", raw)


def unpacked(release: int, directory: Path) -> Path:
    """The journal of a release, from its archive, with the program beside it."""
    with zipfile.ZipFile(RELEASES / f"{release}.zip") as archive:
        archive.extractall(directory)
    return directory / "journal.sqlite"


def old_program(directory: Path, path: Path, first: int, last: int) -> list[bytes]:
    """The release's own program goes on with the file: appends, delivers fifty and buries one of them."""
    done = subprocess.run(
        [sys.executable, "-c", GO_ON, str(path), str(first), str(last)],
        env={"PYTHONPATH": str(directory / "program")},
        cwd=directory,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.splitlines()


def ledger(store: Store) -> dict[tuple[str, str], tuple[int, int]]:
    """Events and sums by sink and outcome."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for entry in store.ledger("acme", 0, 1 << 40):
        events, total = found.get((entry.sink, entry.outcome), (0, 0))
        found[entry.sink, entry.outcome] = (events + entry.tally.events, (total + entry.tally.sum) % 2**256)
    return found


def tally(*numbers: int) -> tuple[int, int]:
    """What the ledger should say of these."""
    sums = [int.from_bytes(sha256(event(n).id.encode()).digest(), "big") for n in numbers]
    return len(numbers), sum(sums) % 2**256


def opened(path: Path) -> Store:
    """This version, as the daemon opens it."""
    store = Store(path, max_bytes=1 << 30, keep_days=1000)
    assert store.open_source("acme", "acme.example") == "acme"
    assert not store.open_lane("acme", "siem", "earliest")
    assert not store.open_lane("acme", "archive", "earliest")
    return store


def test_every_released_version_has_a_journal_here() -> None:
    assert sorted(int(path.stem) for path in RELEASES.glob("*.zip")) == [n for n in MIGRATIONS if n != VERSION]


@pytest.mark.parametrize("release", [1, 2])
def test_a_journal_of_an_earlier_release_goes_on_where_it_stood(tmp_path: Path, release: int) -> None:
    store = opened(unpacked(release, tmp_path))
    check_file(store)
    figures = store.figures.sources["acme"]
    assert (figures.stored, figures.checkpoint) == (320, b"behind 320")
    assert (figures.lanes["siem"].position, figures.lanes["siem"].dead) == (130, {"refused": 1, "too_large": 1})
    assert store.reserve("acme", "archive", 1, 60), "the range that was being written"
    waiting = store.read("acme", "siem", 130, EVERYTHING)
    assert waiting is not None
    assert [e.raw for e in waiting.events] == [event(n).raw for n in range(131, 321)]
    delivered = [n for n in range(1, 131) if n not in (7, 99)]
    assert ledger(store) == {
        ("", "stored"): tally(*range(1, 321)),
        ("siem", "delivered"): tally(*delivered),
        ("siem", "dead"): tally(7, 99),
    }
    store.close()


def test_the_release_before_opens_this_one_s_journal_and_this_one_opens_it_again(tmp_path: Path) -> None:
    path = unpacked(VERSION - 1, tmp_path)
    store = opened(path)
    store.append("acme", page([event(n) for n in range(321, 361)], b"behind 360"))
    store.ack("acme", "siem", 200, [Burial(150, "refused")])
    store.close()

    assert old_program(tmp_path, path, 361, 400) == [event(n).raw for n in range(201, 251)]

    store = opened(path)
    check_file(store)
    figures = store.figures.sources["acme"]
    assert (figures.stored, figures.checkpoint, figures.lanes["siem"].position) == (400, b"behind 400", 250)
    rest = store.read("acme", "siem", 250, EVERYTHING)
    assert rest is not None
    assert [e.raw for e in rest.events] == [event(n).raw for n in range(251, 401)]
    dead = (7, 99, 150, 201)
    assert ledger(store) == {
        ("", "stored"): tally(*range(1, 401)),
        ("siem", "delivered"): tally(*[n for n in range(1, 251) if n not in dead]),
        ("siem", "dead"): tally(*dead),
    }
    store.close()


def test_a_journal_of_a_version_that_says_so_is_refused(tmp_path: Path) -> None:
    path = unpacked(VERSION - 1, tmp_path)
    data = bytearray(path.read_bytes())
    data[60:64] = (VERSION + 1).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(Exception, match="another version"):
        Store(path, max_bytes=1 << 30)
    assert path.read_bytes() == bytes(data)
