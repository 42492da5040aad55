"""SQLite as the journal needs it: one connection, whole transactions, errors by cause.

WAL with synchronous=FULL: a commit that returned survives a power cut. The log is moved into the file explicitly, since
errors of automatic checkpoints are swallowed. Locking is exclusive, so there is no shared memory file, and SQLite's
write-ahead-log bug before 3.51.3, which needs two connections, can't happen.

A file that is not ours, of another version or damaged is left as it is, byte for byte: its header is read before SQLite
may touch it, and a connection that finds damage is never closed, since closing would move the log into the file.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from shipper.journal import JournalBrokenError, JournalError, NoRoomError

APPLICATION_ID = 0x53484950
VERSION = 1
COMMITS_PER_CHECKPOINT = 200
LOG_BYTES = 16 << 20
"""From this length on the write-ahead log is moved at each commit, and cut down to it."""

_MAGIC = b"SQLite format 3\x00"
_LEFT_OPEN: list[sqlite3.Connection] = []

# Not STRICT: SQLite 3.34, which Python 3.11 of RHEL 9 comes with, doesn't know it.
SCHEMA = (
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
    removed INTEGER NOT NULL DEFAULT 0,        -- dead letters that were removed for their age
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


class Database:
    """The one connection. observe: told how many seconds each commit took."""

    def __init__(self, path: Path, observe: Callable[[float], None]) -> None:
        self._path = path
        self._log = path.with_name(f"{path.name}-wal")
        self._observe = observe
        self._commits = 0
        try:
            if not path.exists():
                self._create()
            self._examine()
        except OSError as error:
            raise JournalBrokenError("io", f"{path}: {error.strerror}") from None
        with self._errors():
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                _LEFT_OPEN.append(self._db)
                raise
        self._page_size: int = self.value("PRAGMA page_size")

    def _create(self) -> None:
        """The file appears whole and private, or not at all."""
        if self._log_bytes():
            raise JournalBrokenError("io", f"{self._path}: is gone, but its {self._log.name} is there: put both back")
        new = self._path.with_name(f"{self._path.name}.new")
        new.unlink(missing_ok=True)
        # SQLite gives its log the file's own permissions.
        descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.fchmod(descriptor, 0o600)
        os.close(descriptor)
        with self._errors(), closing(sqlite3.connect(new, isolation_level=None)) as db:
            db.execute("BEGIN")
            for statement in SCHEMA:
                db.execute(statement)
            db.execute(f"PRAGMA application_id={APPLICATION_ID}")
            db.execute(f"PRAGMA user_version={VERSION}")
            db.execute("COMMIT")
            db.execute("PRAGMA journal_mode=WAL").fetchall()
        new.rename(self._path)
        for directory in (self._path.parent, self._path.parent.parent):
            descriptor = os.open(directory, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    def _examine(self) -> None:
        with self._path.open("rb") as file:
            header = file.read(100)
        if not header.startswith(_MAGIC) or int.from_bytes(header[68:72], "big") != APPLICATION_ID:
            raise JournalBrokenError(
                "io", f"{self._path}: is no journal of ours, or its head is damaged: move it away, or set state_dir"
            )
        self._expect_version(int.from_bytes(header[60:64], "big"))
        self._path.chmod(0o600)

    def _expect_version(self, version: int) -> None:
        if version != VERSION:
            raise JournalBrokenError("io", f"{self._path}: was written by another version ({version}): use that one")

    def _prepare(self) -> None:
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        if self.value("PRAGMA journal_mode=WAL") != "wal":
            raise JournalBrokenError("io", f"{self._path}: SQLite can't keep a write-ahead log here: use a local disk")
        for setting in (
            "synchronous=FULL",
            "foreign_keys=ON",
            "wal_autocheckpoint=0",
            f"journal_size_limit={LOG_BYTES}",
            "trusted_schema=OFF",
            "secure_delete=FAST",
            "temp_store=MEMORY",
        ):
            self._db.execute(f"PRAGMA {setting}").fetchall()
        self._expect_version(self.value("PRAGMA user_version"))
        verdict = str(self.value("PRAGMA quick_check(1)"))
        if verdict != "ok":
            verdict = " ".join(verdict.split())
            raise JournalBrokenError("io", f"{self._path}: is damaged ({verdict}): keep the file and restore a backup")

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
            if self._commits >= COMMITS_PER_CHECKPOINT or self._log_bytes() > LOG_BYTES:
                self._move_log()
        self._observe(time.perf_counter() - started)

    def _log_bytes(self) -> int:
        try:
            return self._log.stat().st_size
        except FileNotFoundError:
            return 0  # nothing was ever written

    def _move_log(self) -> None:
        try:
            busy, frames, moved = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()[0]
        except sqlite3.Error as error:
            # The transaction stands: no room for the move must not tell its caller otherwise. The next commit tries.
            if isinstance(self._translated(error), NoRoomError):
                return
            raise
        if busy or frames != moved:
            # The only connection has no open reader, so this can't happen; if it did, the log would grow for ever.
            raise JournalBrokenError("io", f"{self._path}: the write-ahead log can't be moved into the file")
        self._commits = 0

    def execute(self, sql: str, *values: object) -> None:
        """One statement of a transaction."""
        try:
            self._db.execute(sql, values)
        except sqlite3.Error as error:
            raise self._translated(error) from None

    def rows(self, sql: str, *values: object) -> list[Any]:
        """All rows at once: one open cursor would keep the write-ahead log from ever being reset."""
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise self._translated(error) from None

    def value(self, sql: str, *values: object) -> Any:
        """The first column of the first row, None without one."""
        rows = self.rows(sql, *values)
        return rows[0][0] if rows else None

    def used_bytes(self) -> int:
        """Bytes of used pages. The file itself does not shrink."""
        return int(self.value("PRAGMA page_count") - self.value("PRAGMA freelist_count")) * self._page_size

    def close(self) -> None:
        """Moves the write-ahead log into the file and closes it."""
        with self._errors(), closing(self._db):
            self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translated(error) from None

    def _translated(self, error: sqlite3.Error) -> JournalError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        if code == sqlite3.SQLITE_FULL:
            return NoRoomError("disk_full", f"{self._path}: the disk is full ({name})")
        return JournalBrokenError("io", f"{self._path}: {error} ({name})")
