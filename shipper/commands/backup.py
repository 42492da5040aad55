"""`shipper backup`: a consistent copy of a journal, also of one that is being written.

The daemon moves its write-ahead log into the file and then leaves the file alone for a while: what comes meanwhile goes
into the log. So the file is copied as it stands, and then the log as far as it has come. This process does that, not
the daemon, whose closing of a second descriptor would drop SQLite's POSIX locks on the file. Where no daemon runs, they
are this process's own locks that the copying drops; the journal's LOCK, held all the while, keeps others out.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import click

from shipper.commands import config_option, own_settings_of, run_async, who
from shipper.exit_status import OK

if TYPE_CHECKING:
    from shipper.ask import Ask
    from shipper.config import Settings

RENEW_SECS = 20.0
"""A third of what the daemon grants."""
CHUNK_BYTES = 4 << 20
LOG_HEAD_BYTES = 32


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@config_option
def backup(file: Path, config_file: Path | None) -> None:
    """Copy the journal, also while the daemon runs, into a new FILE.

    To go back to it, stop the daemon, move what is in STATE_DIR/journal aside, put FILE there as journal.sqlite, owned
    by the daemon's user, and start: what was delivered since is delivered again.
    """
    settings = own_settings_of(config_file)
    run_async(lambda: _backup(settings, file))


async def _backup(settings: "Settings", file: Path) -> int:
    from shipper.ask import operator
    from shipper.journal.sqlite import FILE

    async with operator(settings) as ask:
        size = await back_up(ask, settings.state_dir / "journal" / FILE, file, who())
    click.echo(f"{file}: {size} bytes; they hold personal data")
    return OK


async def back_up(ask: "Ask", journal: Path, target: Path, by: str, *, renew_secs: float = RENEW_SECS) -> int:
    """Copies the journal's file. by: for the audit list. The target appears whole or not at all. Returns its bytes.

    Raises UnknownNameError where it is there already or the copy took too long, JournalBrokenError.
    """
    import sqlite3
    from tempfile import TemporaryDirectory

    from shipper.journal import JournalBrokenError
    from shipper.journal.files import synchronise

    try:
        _refuse_to_replace(target)
        with TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as directory:
            copy = Path(directory) / journal.name
            held = Held(ask, (await ask("backup.hold", {}))["hold"], renew_secs)
            for _ in _chunks(journal, copy):
                await held.renew()
            await _copy_log(_log_of(journal), _log_of(copy), held)
            await ask("backup.release", {"hold": held.name, "who": by})
            _make_whole(copy)
            _refuse_to_replace(target)
            size = copy.stat().st_size
            copy.rename(target)
            synchronise(target.parent)
            return size
    except OSError as error:
        raise JournalBrokenError("io", f"{error.filename or target}: {error.strerror}") from None
    except sqlite3.Error as error:
        raise JournalBrokenError("io", f"{target}: the copy is damaged ({type(error).__name__})") from None


class Held:
    """The file stands still, as long as it is said in time that it must."""

    def __init__(self, ask: "Ask", name: str, renew_secs: float) -> None:
        self._ask, self._renew_secs = ask, renew_secs
        self.name = name
        self._renewed = monotonic()

    async def renew(self) -> None:
        """To be called often. Raises UnknownNameError where it was too late."""
        if monotonic() - self._renewed >= self._renew_secs:
            await self._ask("backup.hold", {"hold": self.name})
            self._renewed = monotonic()


def _refuse_to_replace(target: Path) -> None:
    from shipper.journal import UnknownNameError

    if target.exists():
        raise UnknownNameError("operator", f"{target}: is there already: name a new file")


def _log_of(journal: Path) -> Path:
    return journal.with_name(f"{journal.name}-wal")


def _chunks(source: Path, target: Path) -> Iterator[int]:
    """Copies the file as long as it is now, and gives the bytes of each step once they are copied."""
    with source.open("rb") as file, target.open("wb") as copy:
        left = os.fstat(file.fileno()).st_size
        while left > 0 and (chunk := file.read(min(left, CHUNK_BYTES))):
            left -= copy.write(chunk)
            yield len(chunk)


async def _copy_log(source: Path, target: Path, held: Held) -> None:
    """The log as far as it has come. Its end may be half a commit, which SQLite leaves out.

    The first commit after the file began to stand still writes the log from its beginning again, once: a copy that
    has the older log's head and some of the newer one's content is none.
    """
    with suppress(FileNotFoundError):  # nothing was ever written
        while True:
            before = _head(source)
            for _ in _chunks(source, target):
                await held.renew()
            if _head(source) == before:
                return


def _head(log: Path) -> bytes:
    with log.open("rb") as file:
        return file.read(LOG_HEAD_BYTES)


def _make_whole(copy: Path) -> None:
    """Moves the log into the file, and looks at all of it. Raises JournalBrokenError, sqlite3.Error."""
    import sqlite3
    from contextlib import closing

    from shipper.journal import JournalBrokenError
    from shipper.journal.files import synchronise

    with closing(sqlite3.connect(copy, isolation_level=None)) as db:
        # Needs no memory that other processes share, which not every file system has.
        db.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
        moved = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        if not moved or db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise JournalBrokenError("io", f"{copy.name}: the copy is damaged: is the journal itself?")
    copy.chmod(0o600)
    synchronise(copy)
