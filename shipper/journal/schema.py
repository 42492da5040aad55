"""The tables of a journal file, and how an older file gets what is new.

A file carries two numbers. `version` says which program last brought its tables up to date. `readable_from` says from
which version on a program can open it: it stands in SQLite's `user_version`, which every release compares. A migration
only adds, so that the release before goes on with a file that this one has used.
"""

from collections.abc import Callable
from typing import Any

APPLICATION_ID = 0x53484950
VERSION = 3
READABLE_FROM = 1

# Not STRICT: SQLite 3.34, which Python 3.11 of RHEL 9 comes with, doesn't know it.
_FIRST = (
    """CREATE TABLE source (
    id INTEGER PRIMARY KEY, tenant TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE,
    next INTEGER NOT NULL DEFAULT 1,           -- the number of the next event: never reused
    checkpoint BLOB, start TEXT NOT NULL DEFAULT '', horizon INTEGER,
    highest TEXT NOT NULL DEFAULT '',          -- the highest stored id, in the source's order
    known_from INTEGER NOT NULL DEFAULT 1,     -- ids of events before this number are forgotten
    trimmed INTEGER NOT NULL DEFAULT 0,        -- events up to this number are given up
    bytes INTEGER NOT NULL DEFAULT 0           -- what its pages take
)""",
    """CREATE TABLE page (
    source INTEGER NOT NULL REFERENCES source(id), first INTEGER NOT NULL, count INTEGER NOT NULL,
    raw_before INTEGER NOT NULL,               -- bytes of all the source's events before this page
    raw_bytes INTEGER NOT NULL, stored INTEGER NOT NULL, times BLOB NOT NULL, idx BLOB NOT NULL,
    body BLOB                                  -- NULL: trimmed, only its ids are still known
)""",
    "CREATE UNIQUE INDEX page_first ON page (source, first)",
    """CREATE TABLE lane (
    source INTEGER NOT NULL REFERENCES source(id), sink TEXT NOT NULL,
    start TEXT NOT NULL,                       -- '' once it is resolved: began is final
    began INTEGER NOT NULL, position INTEGER NOT NULL, filtered INTEGER NOT NULL DEFAULT 0,
    reserved_first INTEGER NOT NULL DEFAULT 0, -- the range that is being written, and would be again after a crash
    reserved_last INTEGER NOT NULL DEFAULT 0,
    given_up INTEGER NOT NULL DEFAULT 0,       -- events that someone gave up with `forget`
    forgotten INTEGER NOT NULL DEFAULT 0,      -- 1: nothing is kept for it until it comes again
    removed INTEGER NOT NULL DEFAULT 0,        -- dead letters that were removed, for their age or by `dead purge`
    PRIMARY KEY (source, sink)
) WITHOUT ROWID""",
    """CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT, source INTEGER NOT NULL, sink TEXT NOT NULL, number INTEGER NOT NULL,
    event_id TEXT NOT NULL, time INTEGER NOT NULL, date TEXT NOT NULL, type TEXT NOT NULL, reason TEXT NOT NULL,
    detail TEXT NOT NULL, at INTEGER NOT NULL, raw BLOB NOT NULL
)""",
    "CREATE INDEX dead_letter_lane ON dead_letter (source, sink)",
    """CREATE TABLE dead_count (
    source INTEGER NOT NULL, sink TEXT NOT NULL, reason TEXT NOT NULL,
    count INTEGER NOT NULL,                    -- ever given up
    kept INTEGER NOT NULL,                     -- still among the dead letters
    PRIMARY KEY (source, sink, reason)
) WITHOUT ROWID""",
    "CREATE TABLE audit (at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL)",
)

_SECOND = (
    "CREATE TABLE format (version INTEGER NOT NULL)",
    "INSERT INTO format VALUES (1)",
    "ALTER TABLE page ADD COLUMN tally BLOB",  # of its events; NULL or of another count: an older program's page
    "ALTER TABLE page ADD COLUMN checkpoint BLOB",  # the source's, behind it
    "ALTER TABLE source ADD COLUMN tallied INTEGER NOT NULL DEFAULT 0",  # the ledger counts events up to this number
    "ALTER TABLE source ADD COLUMN began_checkpoint BLOB",  # where its first poll began, or someone set it
    "ALTER TABLE source ADD COLUMN began_horizon INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE source ADD COLUMN began_number INTEGER NOT NULL DEFAULT 0",  # events up to this one were there before
    "ALTER TABLE source ADD COLUMN gaps INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE source ADD COLUMN late_number INTEGER NOT NULL DEFAULT 0",  # of the last event that came late
    "ALTER TABLE source ADD COLUMN late_since INTEGER NOT NULL DEFAULT 0",  # the earliest time of those
    "ALTER TABLE source ADD COLUMN late_checkpoint BLOB",  # a place before all late events that are not settled
    "ALTER TABLE lane ADD COLUMN tallied INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE lane ADD COLUMN requeued INTEGER NOT NULL DEFAULT 0",  # dead letters that were delivered after all
    "ALTER TABLE lane ADD COLUMN replayed INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE lane ADD COLUMN queue_next INTEGER NOT NULL DEFAULT 1",  # the next requeued dead letter's number
    "ALTER TABLE lane ADD COLUMN queue_position INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE dead_letter ADD COLUMN queued INTEGER",  # its number among the requeued ones; NULL: it rests
    "ALTER TABLE dead_letter ADD COLUMN crc INTEGER",  # CRC-32 of raw; NULL: an older program's
    "CREATE INDEX dead_letter_queued ON dead_letter (source, sink, queued) WHERE queued IS NOT NULL",
    """CREATE TABLE ledger (
    source INTEGER NOT NULL, sink TEXT NOT NULL,
    outcome TEXT NOT NULL,                     -- 'stored' (sink ''), 'delivered', 'dead', 'requeued', 'filtered'
    hour INTEGER NOT NULL, events INTEGER NOT NULL, first TEXT NOT NULL, last TEXT NOT NULL, sum BLOB NOT NULL,
    PRIMARY KEY (source, sink, outcome, hour)
) WITHOUT ROWID""",
    """CREATE TABLE gap (
    source INTEGER NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL, at INTEGER NOT NULL,
    may_be_empty INTEGER NOT NULL
)""",
)

_THIRD = (
    "ALTER TABLE lane ADD COLUMN reserved_without BLOB",  # numbers in the reserved range that a filter leaves out
)

MIGRATIONS = {1: _FIRST, 2: _SECOND, 3: _THIRD}
"""What each version added."""


def migrate(execute: Callable[..., Any], version: int) -> None:
    """Adds to the tables what came after this version (0: everything), in the caller's transaction."""
    for newer in range(version + 1, VERSION + 1):
        for statement in MIGRATIONS[newer]:
            execute(statement)
    execute("UPDATE format SET version = ?", (VERSION,))
    execute(f"PRAGMA user_version={READABLE_FROM}")
