"""SQLite as the journal needs it: one connection, whole transactions, errors by cause.

WAL with synchronous=FULL: a commit that returned survives a power cut. The log is moved into the file explicitly, since
errors of automatic checkpoints are swallowed. Locking is exclusive, so there is no shared memory file, and SQLite's
write-ahead-log bug before 3.51.3, which needs two connections, can't happen.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shipper.journal import JournalBrokenError, NoRoomError

APPLICATION_ID = 0x53484950
VERSION = 1
COMMITS_PER_CHECKPOINT = 200

SCHEMA = (
    """CREATE TABLE source (
    id INTEGER PRIMARY KEY, tenant TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE,
    next INTEGER NOT NULL DEFAULT 1,           -- the number of the next event: never reused
    checkpoint BLOB, start TEXT NOT NULL DEFAULT '', horizon INTEGER,
    highest TEXT NOT NULL DEFAULT '',          -- the highest stored id, in the source's order
    known_from INTEGER NOT NULL DEFAULT 1,     -- ids of events before this number are forgotten
    bytes INTEGER NOT NULL DEFAULT 0           -- what its pages take
) STRICT""",
    """CREATE TABLE page (
    source INTEGER NOT NULL REFERENCES source(id), first INTEGER NOT NULL, count INTEGER NOT NULL,
    raw_bytes INTEGER NOT NULL, stored INTEGER NOT NULL, times BLOB NOT NULL, idx BLOB NOT NULL,
    body BLOB                                  -- NULL: trimmed, only its ids are still known
) STRICT""",
    "CREATE UNIQUE INDEX page_first ON page (source, first)",
    """CREATE TABLE lane (
    source INTEGER NOT NULL REFERENCES source(id), sink TEXT NOT NULL,
    start TEXT NOT NULL,                       -- '' once it is resolved: began is final
    began INTEGER NOT NULL, position INTEGER NOT NULL, filtered INTEGER NOT NULL DEFAULT 0,
    reserved_first INTEGER NOT NULL DEFAULT 0, -- the range that is being written, and would be again after a crash
    reserved_last INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (source, sink)
) STRICT, WITHOUT ROWID""",
    """CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT, source INTEGER NOT NULL, sink TEXT NOT NULL, number INTEGER NOT NULL,
    event_id TEXT NOT NULL, time INTEGER NOT NULL, date TEXT NOT NULL, type TEXT NOT NULL, reason TEXT NOT NULL,
    detail TEXT NOT NULL, at INTEGER NOT NULL, raw BLOB NOT NULL
) STRICT""",
    "CREATE INDEX dead_letter_lane ON dead_letter (source, sink)",
    """CREATE TABLE dead_count (
    source INTEGER NOT NULL, sink TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (source, sink, reason)
) STRICT, WITHOUT ROWID""",
    "CREATE TABLE audit (at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL) STRICT",
)


class Database:
    """The one connection. observe: told how many seconds each commit took."""

    def __init__(self, path: Path, observe: Callable[[float], None]) -> None:
        self._path = path
        self._observe = observe
        self._commits = 0
        with self._errors():
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._prepare()
            self._page_size: int = self.value("PRAGMA page_size")

    def _prepare(self) -> None:
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        if self.value("PRAGMA journal_mode=WAL") != "wal":
            raise JournalBrokenError("io", f"{self._path}: SQLite can't keep a write-ahead log here: use a local disk")
        for setting in (
            "synchronous=FULL",
            "foreign_keys=ON",
            "wal_autocheckpoint=0",
            f"journal_size_limit={16 << 20}",
            "trusted_schema=OFF",
            "secure_delete=FAST",
            "temp_store=MEMORY",
        ):
            self._db.execute(f"PRAGMA {setting}")
        if not self.rows("SELECT 1 FROM sqlite_master LIMIT 1"):
            self._create()
        if self.value("PRAGMA application_id") != APPLICATION_ID:
            raise JournalBrokenError("io", f"{self._path}: is no journal of ours: move it away, or set state_dir")
        if self.value("PRAGMA user_version") != VERSION:
            raise JournalBrokenError("io", f"{self._path}: was written by another version: use that one")
        verdict = self.value("PRAGMA quick_check(1)")
        if verdict != "ok":
            raise JournalBrokenError("io", f"{self._path}: is damaged ({verdict}): keep the file and restore a backup")

    def _create(self) -> None:
        with self.transaction():
            for statement in SCHEMA:
                self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id={APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version={VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Raises NoRoomError, with nothing changed, or JournalBrokenError."""
        started = time.perf_counter()
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                # Where the disk was full, SQLite has rolled back by itself.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._commits += 1
            if self._commits % COMMITS_PER_CHECKPOINT == 0:
                self._move_log()
        self._observe(time.perf_counter() - started)

    def _move_log(self) -> None:
        busy, frames, moved = self.rows("PRAGMA wal_checkpoint(PASSIVE)")[0]
        if busy or frames != moved:
            # The only connection has no open reader, so this can't happen; if it did, the log would grow for ever.
            raise JournalBrokenError("io", f"{self._path}: the write-ahead log can't be moved into the file")

    def execute(self, sql: str, *values: object) -> None:
        """One statement of a transaction."""
        with self._errors():
            self._db.execute(sql, values)

    def rows(self, sql: str, *values: object) -> list[Any]:
        """All rows at once: one open cursor would keep the write-ahead log from ever being reset."""
        with self._errors():
            return self._db.execute(sql, values).fetchall()

    def value(self, sql: str, *values: object) -> Any:
        """The first column of the first row, None without one."""
        rows = self.rows(sql, *values)
        return rows[0][0] if rows else None

    def used_bytes(self) -> int:
        """Bytes of used pages. The file itself does not shrink."""
        return int(self.value("PRAGMA page_count") - self.value("PRAGMA freelist_count")) * self._page_size

    def close(self) -> None:
        """Moves the write-ahead log into the file and closes it."""
        with self._errors():
            self.rows("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            name = getattr(error, "sqlite_errorname", type(error).__name__)
            if code == sqlite3.SQLITE_FULL:
                raise NoRoomError("disk_full", f"{self._path}: the disk is full ({name})") from None
            raise JournalBrokenError("io", f"{self._path}: {error} ({name})") from None
