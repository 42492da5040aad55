"""Room: a full disk changes nothing and passes; a full journal pauses who filled it; the log stays short."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from journal_case import EVERYTHING, Clock, check_file, event, loud, numbers, page

from shipper.journal import Burial, Limits, NoRoomError
from shipper.journal.database import LOG_BYTES
from shipper.journal.store import Store
from shipper.journal.upkeep import KNOWN_IDS

MB = 1 << 20


def opened(
    directory: Path, *names: str, max_bytes: int = 1 << 40, clock: Clock | None = None, **settings: float
) -> Store:
    store = Store(
        directory / "journal.sqlite",
        max_bytes=max_bytes,
        keep_days=settings.get("keep_days", 3.0),
        dead_letters_max_bytes=int(settings.get("dead_letters_max_bytes", 1 << 30)),
        clock=clock or Clock(),
    )
    for name in names or ("acme",):
        store.open_source(name, f"{name}.example")
        store.open_lane(name, "siem", "earliest")
    return store


def fill(store: Store, name: str, count: int, size: int = 14_000) -> None:
    """So many pages of ten events that don't compress."""
    for _ in range(count):
        stored = store.figures.sources[name].stored
        store.append(name, page([loud(n, size) for n in range(stored + 1, stored + 11)]))


def paused(store: Store) -> set[str]:
    return {name for name, source in store.figures.sources.items() if source.paused}


# -- the disk --------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a small file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def take_all_room(place: Path) -> Path:
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filler


def unchanged_by(store: Store, operation: Callable[[], object]) -> None:
    before = store.figures
    with pytest.raises(NoRoomError) as caught:
        operation()
    assert caught.value.reason == "disk_full"
    assert store.figures == before
    check_file(store)


def test_no_operation_changes_anything_on_a_full_disk_and_each_works_when_room_returns(small_disk: Path) -> None:
    store = opened(small_disk, keep_days=0)
    fill(store, "acme", 10)
    store.ack("acme", "siem", 60, ())
    filler = take_all_room(small_disk)
    new = page([loud(n, 14_000) for n in range(101, 111)], b"behind 110", horizon=7)
    bury = [Burial(61, "refused")]
    unchanged_by(store, lambda: store.append("acme", new))
    unchanged_by(store, lambda: store.ack("acme", "siem", 70, bury))
    unchanged_by(store, store.trim)
    unchanged_by(store, lambda: store.caught_up("acme", 10**13))
    stretch = store.read("acme", "siem", 60, EVERYTHING)
    assert stretch is not None
    assert list(stretch.events) == [loud(n, 14_000) for n in range(61, 101)], "delivery goes on"
    filler.unlink()
    assert store.append("acme", new).stored == 10
    store.ack("acme", "siem", 70, bury)
    store.trim()
    store.caught_up("acme", 10**13)
    figures = store.figures.sources["acme"]
    assert (figures.stored, figures.checkpoint, figures.horizon) == (110, b"behind 110", 10**13)
    assert (figures.lanes["siem"].position, figures.lanes["siem"].dead) == (70, {"refused": 1})
    check_file(store)
    store.close()


def test_what_was_committed_counts_although_the_log_finds_no_room_in_the_file(small_disk: Path) -> None:
    store = opened(small_disk)
    fill(store, "acme", 10)
    store._db._commits = 10**6
    fill(store, "acme", 1, 10)
    filler = take_all_room(small_disk)
    store._db._commits = 10**6
    fill(store, "acme", 2)  # the log's space is used again, but the file can't grow
    assert store._db._commits > 10**6, "the move failed, and is tried again"
    store.ack("acme", "siem", 5, [Burial(3, "refused")])
    assert store.figures.sources["acme"].stored == 130
    assert store.figures.sources["acme"].lanes["siem"].dead == {"refused": 1}
    filler.unlink()
    fill(store, "acme", 1, 10)
    assert store._db._commits == 0
    check_file(store)
    store.close()


def test_a_file_at_its_largest_size_takes_nothing_until_there_is_room(tmp_path: Path) -> None:
    store = opened(tmp_path)
    fill(store, "acme", 2)
    pages = store._db.value("PRAGMA page_count")
    store._db.rows(f"PRAGMA max_page_count={pages}")
    unchanged_by(store, lambda: fill(store, "acme", 1))
    unchanged_by(store, lambda: store.ack("acme", "siem", 20, [Burial(n, "refused") for n in range(1, 21)]))
    store.ack("acme", "siem", 10, ())
    store._db.rows("PRAGMA max_page_count=1000000")
    fill(store, "acme", 1)
    assert store.figures.sources["acme"].stored == 30
    store.close()


def test_the_log_stays_short_over_5000_appends_while_a_lane_is_open(in_memory_path: Path) -> None:
    store = opened(in_memory_path)
    log, longest = in_memory_path / "journal.sqlite-wal", 0
    for n in range(1, 5_001):
        store.append("acme", page([event(n)]))
        if n % 50 == 0:
            store.read("acme", "siem", n - 10, EVERYTHING)
            longest = max(longest, log.stat().st_size)
    assert longest < LOG_BYTES / 4
    store.close()


def test_large_pages_move_the_log_earlier(in_memory_path: Path) -> None:
    store = opened(in_memory_path)
    for n in range(12):
        store.append("acme", page([loud(n, 4 * MB)]))
        assert (in_memory_path / "journal.sqlite-wal").stat().st_size < LOG_BYTES + 5 * MB
    store.close()


# -- dead letters ----------------------------------------------------------------------------------------------------


def test_at_the_dead_letters_limit_an_ack_changes_nothing(tmp_path: Path) -> None:
    store = opened(tmp_path, dead_letters_max_bytes=35_000)
    fill(store, "acme", 1)
    store.ack("acme", "siem", 2, [Burial(1, "refused"), Burial(2, "refused", "why")])
    before = store.figures
    with pytest.raises(NoRoomError, match="dead_letters_max_bytes") as caught:
        store.ack("acme", "siem", 5, [Burial(4, "too_large")])
    assert caught.value.reason == "journal_full"
    assert store.figures is before
    assert [letter.number for letter in store.dead_letters()] == [1, 2]
    store.ack("acme", "siem", 5, ())
    assert store.figures.sources["acme"].lanes["siem"].delivered == 3
    store.close()


# -- the journal's own limit -----------------------------------------------------------------------------------------


def test_a_full_journal_pauses_until_it_is_below_nine_tenths(tmp_path: Path) -> None:
    store = opened(tmp_path, max_bytes=2 * MB)
    while not store.figures.full:
        assert store.figures.used_bytes < 2 * MB
        assert paused(store) == set()
        fill(store, "acme", 1)
    assert store.figures.used_bytes >= 2 * MB
    assert paused(store) == {"acme"}
    stored = store.figures.sources["acme"].stored
    store.ack("acme", "siem", 10, ())
    store.trim()
    assert store.figures.used_bytes < 2 * MB
    assert (store.figures.full, paused(store)) == (True, {"acme"}), "room is below nine tenths"
    store.ack("acme", "siem", stored - 10, ())
    store.trim()
    assert store.figures.used_bytes < 0.9 * 2 * MB
    assert (store.figures.full, paused(store)) == (False, set())
    store.close()


def test_only_sources_above_their_share_pause(tmp_path: Path) -> None:
    store = opened(tmp_path, "large", "larger", "small", "idle", max_bytes=3 * MB)
    fill(store, "small", 3)
    fill(store, "large", 12)
    while not store.figures.full:
        fill(store, "larger", 1)
    assert paused(store) == {"large", "larger"}
    fill(store, "small", 1)
    fill(store, "idle", 1)
    assert paused(store) == {"large", "larger"}
    store.close()


def test_a_source_without_backlog_never_pauses(tmp_path: Path) -> None:
    store = opened(tmp_path, "acme", "globex", max_bytes=MB, dead_letters_max_bytes=10 * MB)
    fill(store, "globex", 8)
    store.ack("globex", "siem", 80, ())
    while not store.figures.full:
        fill(store, "acme", 1)
    assert paused(store) == {"acme"}, "what globex has is delivered and only kept"
    stored = store.figures.sources["acme"].stored
    store.ack("acme", "siem", stored, [Burial(n, "refused") for n in range(1, stored + 1)])
    assert store.figures.full, "by dead letters and what is only kept"
    assert paused(store) == set()
    store.close()


def test_a_source_without_lanes_pauses_since_nothing_of_it_is_given_up(tmp_path: Path) -> None:
    store = Store(tmp_path / "journal.sqlite", max_bytes=MB)
    store.open_source("acme", "acme.example")
    while not store.figures.full:
        fill(store, "acme", 1)
    assert store.trim() is False
    assert paused(store) == {"acme"}
    store.close()


# -- trimming --------------------------------------------------------------------------------------------------------


def test_delivered_events_stay_for_keep_days_and_undelivered_ones_for_ever(tmp_path: Path) -> None:
    clock = Clock()
    store = opened(tmp_path, clock=clock, keep_days=2)
    fill(store, "acme", 3)
    clock.now += 86_400
    fill(store, "acme", 3)
    store.ack("acme", "siem", 50, ())

    def earliest() -> int:
        sink = f"probe {clock.now} {store.figures.used_bytes}"
        store.open_lane("acme", sink, "earliest")
        began = store.figures.sources["acme"].lanes[sink].began
        store.ack("acme", sink, 60, ())
        return began

    store.trim()
    assert earliest() == 0
    clock.now += 86_400
    store.trim()
    assert earliest() == 30
    clock.now += 10 * 86_400
    store.trim()
    assert earliest() == 50
    stretch = store.read("acme", "siem", 50, EVERYTHING)
    assert stretch is not None
    assert len(stretch.events) == 10
    store.close()


def test_a_page_that_a_lane_is_in_the_middle_of_stays_whole(tmp_path: Path) -> None:
    store = opened(tmp_path, keep_days=0)
    fill(store, "acme", 3)
    store.ack("acme", "siem", 15, ())
    store.trim()
    assert store._db.value("SELECT count(*) FROM page WHERE body IS NULL") == 1
    stretch = store.read("acme", "siem", 15, EVERYTHING)
    assert stretch is not None
    assert list(stretch.events) == [loud(n, 14_000) for n in range(16, 31)]
    check_file(store)
    store.close()


def test_space_is_made_even_of_events_that_a_clock_set_back_took_for_young(tmp_path: Path) -> None:
    clock = Clock()
    store = opened(tmp_path, max_bytes=MB, clock=clock)
    while not store.figures.full:
        fill(store, "acme", 1)
    store.ack("acme", "siem", store.figures.sources["acme"].stored, ())
    clock.now -= 10**7
    store.trim()
    assert not store.figures.full
    store.close()


def test_trimming_goes_in_steps_and_says_when_there_is_more(in_memory_path: Path) -> None:
    store = opened(in_memory_path, keep_days=0)
    for first in range(1, 700 * 50, 50):
        store.append("acme", page(numbers(first, first + 49)))
    store.ack("acme", "siem", 700 * 50, ())
    assert store.trim() is True
    assert store.trim() is False
    assert store._db.value("SELECT count(*) FROM page WHERE body IS NOT NULL") == 0
    assert store._db.value("SELECT count(*) FROM page") == KNOWN_IDS // 50
    check_file(store)
    store.close()


def test_numbers_go_on_after_everything_was_trimmed_and_the_journal_restarted(tmp_path: Path) -> None:
    store = opened(tmp_path, keep_days=0)
    fill(store, "acme", 2)
    store.ack("acme", "siem", 20, ())
    store.trim()
    store.close()
    store = opened(tmp_path, keep_days=0)
    store.append("acme", page([loud(21, 10)]))
    stretch = store.read("acme", "siem", 20, Limits(10, 1000))
    assert stretch is not None
    assert (stretch.first, list(stretch.events)) == (21, [loud(21, 10)])
    store.close()
