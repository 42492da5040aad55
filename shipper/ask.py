"""How a command asks: the daemon through its Unix socket where one runs, else the journal itself."""

import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from shipper.config import Settings
from shipper.desk import SOCKET_NAME, Desk
from shipper.journal import UnknownNameError
from shipper.journal.sqlite import FILE, SqliteJournal
from shipper.recovery import expect_journal

ANSWER_WITHIN_SECS = 60.0
Ask = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
"""What, and the question. Raises UnknownNameError in words for the operator."""


@asynccontextmanager
async def operator(settings: Settings, *, make: bool = False) -> AsyncIterator[Ask]:
    """Whoever answers. Raises UnknownNameError where this user may not ask, JournalError where the journal can't.

    make: a journal where there is none.
    """
    path = socket_of(settings)
    if listens(path):

        async def ask(what: str, question: Mapping[str, Any]) -> Any:
            return asked(path, what, question)

        yield ask
        return
    expect_owner(settings.state_dir, make=make)
    # A command must not put an empty journal in the place of one that was lost.
    expect_journal(settings.state_dir)
    if not make and not (settings.state_dir / "journal" / FILE).exists():
        raise UnknownNameError("operator", f"{settings.state_dir}: there is no journal here: is state_dir right?")
    journal = await SqliteJournal.open(
        settings.state_dir,
        max_bytes=settings.journal.max_bytes,
        keep_days=settings.journal.keep_days,
        dead_letters_max_bytes=settings.journal.dead_letters_max_bytes,
    )
    try:
        yield Desk(journal).answer
    finally:
        await journal.close()


def socket_of(settings: Settings) -> Path:
    """Where the daemon of these settings listens to its operator: beside its journal, or where a link there leads."""
    return Path(os.path.realpath(settings.state_dir / "journal" / SOCKET_NAME))


def listens(path: Path) -> bool:
    """Whether a daemon listens there. Raises UnknownNameError where this user may not ask it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except PermissionError:
            raise UnknownNameError(
                "operator", f"{path}: belongs to another user: ask as that one, or as root"
            ) from None
        except OSError:
            return False
    return True


def asked(path: Path, what: str, question: Mapping[str, Any], *, within_secs: float = ANSWER_WITHIN_SECS) -> Any:
    """The daemon's answer. Raises UnknownNameError with its words where it refuses, or gives none."""
    connection = UnixConnection(path)
    connection.timeout = within_secs
    try:
        connection.request("POST", f"/api/op/{what}", json.dumps(question), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status not in (200, 409):
            raise UnknownNameError("operator", f"the daemon answers {what} with HTTP {answer.status}: see its log")
        found = json.loads(body)
    except (OSError, HTTPException, ValueError) as error:
        raise UnknownNameError("operator", f"the daemon gives no answer to {what} ({type(error).__name__})") from None
    finally:
        connection.close()
    if "refused" in found:
        raise UnknownNameError("operator", found["refused"])
    return found["answer"]


def expect_owner(state_dir: Path, *, make: bool) -> None:
    """Files that another user makes in there would lock the daemon out. Raises UnknownNameError.

    make: the journal may be missing.
    """
    journal = state_dir / "journal"
    try:
        if make and not journal.exists():
            if not state_dir.exists():
                return
            journal = state_dir
        owner = journal.stat().st_uid
    except FileNotFoundError:
        raise UnknownNameError("operator", f"{state_dir}: there is no journal here: is state_dir right?") from None
    except OSError as error:
        raise UnknownNameError("operator", f"{state_dir}: {error.strerror}: ask as its owner") from None
    if owner != os.geteuid():
        raise UnknownNameError(
            "operator", f"{state_dir}: belongs to user {owner}: ask as that one (sudo -u '#{owner}')"
        )


class UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_WITHIN_SECS)
        self._path = path

    def connect(self) -> None:
        """As HTTPConnection calls it."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
