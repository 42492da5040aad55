"""Bugs in the journal: what is committed together, kept, numbered and synchronised."""

from mutants.planting import Mutant

DEAD_LETTERS = "tests/journal/test_journal_dead_letters.py"
FILTER = "tests/journal/test_journal_filter.py"
LEDGER = "tests/journal/test_journal_ledger.py"
PLACES = "tests/journal/test_journal_places.py"
POWER_CUT = "tests/crash/test_power_cut.py::test_no_power_cut_loses_or_tears_what_was_committed"
ROOM = "tests/journal/test_journal_room.py"

IN_JOURNAL = (
    Mutant(
        "checkpoint committed before its events",
        "shipper/journal/intake.py",
        "        with self._db.transaction():\n            source, number, highest,",
        "        if not page.late:\n"
        "            with self._db.transaction():\n"
        '                self._db.execute("UPDATE source SET checkpoint = ? WHERE name = ?", page.checkpoint, name)\n'
        "        with self._db.transaction():\n            source, number, highest,",
        (POWER_CUT,),
    ),
    Mutant(
        "max for min over lanes in trimming",
        "shipper/journal/upkeep.py",
        "SELECT min(CASE WHEN forgotten THEN ? ELSE position END)",
        "SELECT max(CASE WHEN forgotten THEN ? ELSE position END)",
        (f"{ROOM}::test_delivered_events_stay_for_keep_days_and_undelivered_ones_for_ever",),
    ),
    Mutant(
        "numbers reused: the next one taken from the newest page",
        "shipper/journal/intake.py",
        '"SELECT id, next, highest, known_from, checkpoint, horizon FROM source WHERE name = ?", name',
        '"SELECT id, (SELECT coalesce(max(p.first + p.count), 1) FROM page p WHERE p.source = source.id), highest,"\n'
        '                " known_from, checkpoint, horizon FROM source WHERE name = ?", name',
        (f"{PLACES}::test_a_forgotten_sources_numbers_are_not_used_again",),
    ),
    Mutant(
        "a cancelled caller's operation dropped",
        "shipper/journal/thread.py",
        "            operation, done, future = job\n",
        "            operation, done, future = job\n            if future.cancelled():\n                continue\n",
        ("tests/journal/test_journal_waiting.py",),
    ),
    Mutant(
        "autocommit: no BEGIN, no COMMIT",
        "shipper/journal/database.py",
        '            self._db.execute("BEGIN IMMEDIATE")\n'
        "            try:\n"
        "                yield\n"
        '                self._db.execute("COMMIT")\n',
        "            try:\n                yield\n",
        (f"{ROOM}::test_at_the_dead_letters_limit_an_ack_changes_nothing",),
    ),
    Mutant(
        "no fsync of the directories that lead to a new journal",
        "shipper/journal/files.py",
        "        os.fsync(descriptor)\n",
        "        pass\n",
        ("tests/journal/test_journal_directories.py",),
    ),
    Mutant(
        "commits not synchronised",
        "shipper/journal/database.py",
        '"synchronous=FULL"',
        '"synchronous=NORMAL"',
        (POWER_CUT,),
    ),
    Mutant(
        "the second daemon's lock ignored",
        "shipper/journal/files.py",
        "        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "",
        ("tests/journal/test_journal_opening.py::test_a_second_process_is_refused_at_once_and_the_first_goes_on",),
    ),
    Mutant(
        "a late page moves the checkpoint",
        "shipper/journal/intake.py",
        "                page = Page(page.events, checkpoint, horizon or 0)\n",
        "",
        ("tests/source/test_source_overlap.py::test_the_chain_goes_on_as_if_nobody_had_looked_back",),
    ),
    Mutant(
        "the ledger written outside the ack's transaction",
        "shipper/journal/store.py",
        "        with self._db.transaction():\n"
        "            done = self._ledger.settle(source, sink, done, max(position, upto), buried, left_out)\n",
        "        done = self._ledger.settle(source, sink, done, max(position, upto), buried, left_out)\n"
        "        with self._db.transaction():\n",
        (f"{DEAD_LETTERS}::test_an_ack_that_finds_no_room_leaves_the_ledger_as_it_was",),
    ),
    Mutant(
        "dead events counted as delivered in the ledger",
        "shipper/journal/ledger.py",
        "{*dead, *filtered}",
        "filtered",
        (f"{LEDGER}::test_the_ledger_counts_by_hour_what_was_stored_delivered_and_refused",),
    ),
    Mutant(
        "what a filter left out counted as delivered in the ledger",
        "shipper/journal/ledger.py",
        "{*dead, *filtered}",
        "dead",
        (f"{FILTER}::test_the_ledger_has_what_was_left_out_in_its_own_line",),
    ),
    Mutant(
        "a requeued dead letter deleted before it is delivered",
        "shipper/journal/store.py",
        "        return self._letters.queued(self._id(name), sink, after, limits, upto)\n",
        "        stretch = self._letters.queued(self._id(name), sink, after, limits, upto)\n"
        "        if stretch is not None:\n"
        "            with self._db.transaction():\n"
        '                self._db.execute("DELETE FROM dead_letter WHERE queued <= ?", stretch.last)\n'
        "        return stretch\n",
        (f"{DEAD_LETTERS}::test_a_requeued_dead_letter_waits_through_failures_and_crashes_until_it_is_acked",),
    ),
    Mutant(
        "settled.json from the source's checkpoint",
        "shipper/journal/upkeep.py",
        "        if position == last:\n",
        "        if position <= last:\n",
        (POWER_CUT,),
    ),
    Mutant(
        "the ballast never released",
        "shipper/journal/room.py",
        '            if error.reason != "disk_full" or ',
        "            if error or ",
        ("tests/crash/test_full_disk.py",),
    ),
    Mutant(
        "a gap does not move the durable horizon",
        "shipper/journal/store.py",
        '"UPDATE source SET gaps = gaps + 1, horizon = max(coalesce(horizon, 0), ?) WHERE name = ?", until, name',
        '"UPDATE source SET gaps = gaps + 1 WHERE name = ?", name',
        (
            "tests/source/test_source_retention.py"
            "::test_a_crash_between_the_record_and_the_next_page_does_not_tell_it_again",
        ),
    ),
    Mutant(
        "what is settled steps over a late event",
        "shipper/journal/upkeep.py",
        "position < late and since <= place[1]",
        "position < 0",
        (f"{LEDGER}::test_what_is_settled_stays_before_a_late_event_until_that_is_settled",),
    ),
    Mutant(
        "what is settled moves to a late event that a lane has not come to",
        "shipper/journal/upkeep.py",
        "position < late and since <= place[1]",
        "position < late",
        (f"{PLACES}::test_what_is_settled_is_never_ahead_of_a_lane_that_lags_far_behind_a_late_event",),
    ),
    Mutant(
        "what is settled ignores that someone set the checkpoint back",
        "shipper/journal/upkeep.py",
        "number if position >= number else 0",
        "0",
        (f"{LEDGER}::test_what_is_settled_goes_back_with_a_checkpoint_that_someone_sets_back",),
    ),
    Mutant(
        "settled.json not synchronised",
        "shipper/recovery.py",
        "            os.fsync(file.fileno())\n",
        "",
        (POWER_CUT,),
    ),
    Mutant(
        "a page given up that a lane is in the middle of",
        "shipper/journal/upkeep.py",
        "if trimmed + count > settled or (before is not None and stored > before):",
        "if before is not None and stored > before:",
        (f"{ROOM}::test_a_page_that_a_lane_is_in_the_middle_of_stays_whole",),
    ),
    Mutant(
        "a reserved range not handed out again",
        "shipper/journal/lanes.py",
        "        if upto is None and begins == after + 1:\n"
        "            upto, without = ends, self._reserved_without(source, sink)\n",
        "",
        (f"{PLACES}::test_a_reserved_range_is_handed_out_again_exactly_and_nothing_overlaps_it",),
    ),
    Mutant(
        "a reserved range filtered anew",
        "shipper/journal/lanes.py",
        "upto, without = ends, self._reserved_without(source, sink)",
        "last = min(last, ends)",
        (f"{FILTER}::test_a_reserved_range_comes_again_as_it_was_although_the_filter_is_another_one",),
    ),
    Mutant(
        "dead letters beyond their limit dropped",
        "shipper/journal/letters.py",
        "            raise NoRoomError(\n",
        "            return 0\n            raise NoRoomError(\n",
        (f"{ROOM}::test_at_the_dead_letters_limit_an_ack_changes_nothing",),
    ),
    Mutant(
        "a purge takes what waits to go out again",
        "shipper/journal/letters.py",
        '"DELETE" + _CHOSEN + " AND queued IS NULL"',
        '"DELETE" + _CHOSEN',
        ("tests/app/test_dead.py::test_purging_spares_what_is_younger_or_queued_and_is_counted_and_audited",),
    ),
)
