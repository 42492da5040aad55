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

from shipper.journal import JournalBrokenError, JournalDamagedError, JournalError, NoRoomError
from shipper.journal.files import synchronise
from shipper.journal.schema import APPLICATION_ID, READABLE_FROM, VERSION, migrate
from shipper.tally import sum_from_bytes, sum_to_bytes

COMMITS_PER_CHECKPOINT = 200
LOG_BYTES = 16 << 20
"""From this length on the write-ahead log is moved at each commit, and cut down to it."""

_MAGIC = b"SQLite format 3\x00"
_LEFT_OPEN: list[sqlite3.Connection] = []
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Database:
    """The one connection. observe: told how many seconds each commit took.

    max_bytes: beyond this the file does not grow, whatever happens. sparing: move the write-ahead log at each commit,
    so that it takes no more room than one transaction needs. held: do not move it at all: someone copies the file.
    """

    def __init__(self, path: Path, observe: Callable[[float], None], max_bytes: int = 1 << 62) -> None:
        self._path = path
        self.sparing = self.held = False
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
                self._prepare(max_bytes)
            except NoRoomError:
                self._db.close()
                raise
            except BaseException:
                _LEFT_OPEN.append(self._db)
                raise
        self._identity = self._stat()

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
            db.execute(f"PRAGMA application_id={APPLICATION_ID}")
            migrate(db.execute, 0)
            db.execute("COMMIT")
            db.execute("PRAGMA journal_mode=WAL").fetchall()
        new.rename(self._path)
        for directory in (self._path.parent, self._path.parent.parent):
            synchronise(directory)

    def _examine(self) -> None:
        with self._path.open("rb") as file:
            header = file.read(100)
        if not header.startswith(_MAGIC) or int.from_bytes(header[68:72], "big") != APPLICATION_ID:
            raise JournalDamagedError("io", f"{self._path}: is no journal of ours, or its head is damaged")
        self._expect_readable(int.from_bytes(header[60:64], "big"))
        self._path.chmod(0o600)

    def _expect_readable(self, readable_from: int) -> None:
        if not READABLE_FROM <= readable_from <= VERSION:
            raise JournalBrokenError(
                "io", f"{self._path}: was written by another version ({readable_from}): use that one"
            )

    def _prepare(self, max_bytes: int) -> None:
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        if self.value("PRAGMA journal_mode=WAL") != "wal":
            raise JournalBrokenError("io", f"{self._path}: SQLite can't keep a write-ahead log here: use a local disk")
        self._page_size: int = self.value("PRAGMA page_size")
        for setting in (
            "synchronous=FULL",
            "foreign_keys=ON",
            "wal_autocheckpoint=0",
            f"journal_size_limit={LOG_BYTES}",
            f"max_page_count={min(max_bytes // self._page_size, 0xFFFFFFFE)}",
            "trusted_schema=OFF",
            "secure_delete=FAST",
            "temp_store=MEMORY",
        ):
            self._db.execute(f"PRAGMA {setting}").fetchall()
        self._db.create_function("add_sums", 2, _add_sums, deterministic=True)
        self._expect_readable(self.value("PRAGMA user_version"))
        verdict = str(self.value("PRAGMA quick_check(1)"))
        if verdict != "ok":
            raise JournalDamagedError("io", f"{self._path}: is damaged ({' '.join(verdict.split())})")
        version = 1
        if self.value("SELECT 1 FROM sqlite_master WHERE name = 'format'"):
            version = self.value("SELECT version FROM format")
        if version < VERSION:
            with self.transaction():
                migrate(self._db.execute, version)

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
            full = self._commits >= COMMITS_PER_CHECKPOINT or self.sparing or self._log_bytes() > LOG_BYTES
            if full and not self.held:
                self.move_log()
        self._observe(time.perf_counter() - started)

    def _log_bytes(self) -> int:
        try:
            return self._log.stat().st_size
        except FileNotFoundError:
            return 0  # nothing was ever written

    def move_log(self) -> None:
        """Moves the write-ahead log into the file, as far as there is room for it."""
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
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._translated(error) from None

    def value(self, sql: str, *values: object) -> Any:
        """The first column of the first row, None without one."""
        rows = self.rows(sql, *values)
        return rows[0][0] if rows else None

    def free_bytes(self) -> int:
        """Bytes inside the file that nothing uses."""
        return int(self.value("PRAGMA freelist_count")) * self._page_size

    def _stat(self) -> tuple[int, int]:
        found = self._path.stat()
        return found.st_dev, found.st_ino

    def expect_in_place(self) -> None:
        """Raises JournalBrokenError where the file was taken away or replaced under us."""
        try:
            in_place = self._stat() == self._identity
        except OSError:
            in_place = False
        if not in_place:
            raise JournalBrokenError("io", f"{self._path}: was removed or replaced while in use: put it back")

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
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._translated(error) from None

    def _translated(self, error: Exception) -> JournalError:
        if isinstance(error, UnicodeDecodeError):
            # Where it finds damage, `quick_check` quotes it.
            return JournalDamagedError("io", f"{self._path}: is damaged (a text in it is no UTF-8)")
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        if code == sqlite3.SQLITE_FULL:
            return NoRoomError("disk_full", f"{self._path}: the disk is full ({name})")
        if code == sqlite3.SQLITE_READONLY:
            return NoRoomError("io", f"{self._path}: the file system takes no writes ({name})")
        if code in _DAMAGED:
            return JournalDamagedError("io", f"{self._path}: {error} ({name})")
        return JournalBrokenError("io", f"{self._path}: {error} ({name})")


def _add_sums(one: bytes, other: bytes) -> bytes:
    return sum_to_bytes((sum_from_bytes(one) + sum_from_bytes(other)) % (1 << 256))
