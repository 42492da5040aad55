"""Room on a full disk: pages wait, and a ballast makes way for all that gets out of it."""

from collections.abc import Callable
from typing import TypeVar

from shipper.journal import NoRoomError
from shipper.journal.database import Database
from shipper.journal.files import Ballast

T = TypeVar("T")

APPEND_WITHIN_BYTES = 4 << 20
"""On a full disk, pages are taken while so much is free inside the file: far more than a page takes."""


class Room:
    """What the store may write. ballast: None where there is none to make way."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.ballast: Ballast | None = None
        self._making = False
        self.starved = False
        """The last page found no room."""

    @property
    def spent(self) -> bool:
        """The ballast has made way."""
        return self.ballast is not None and self.ballast.spent

    @property
    def cramped(self) -> bool:
        """The ballast is spent, and a page more could take the room that acks and trimming need."""
        return self.spent and self._db.free_bytes() < APPEND_WITHIN_BYTES

    def for_page(self, append: Callable[[], T]) -> T:
        """Stores a page. Raises NoRoomError, also where it could, but only at the cost of what gets out of this."""
        try:
            self._expect_some()
            appended = append()
        except NoRoomError:
            self.starved = True
            raise
        self.starved = False
        return appended

    def _expect_some(self) -> None:
        if self.cramped:
            raise NoRoomError("disk_full", "the disk is full, and the journal has no room left inside its file")

    def made(self, operation: Callable[[], T], afterwards: Callable[[], None]) -> T:
        """An operation that adds next to nothing, or gives room back: where the disk is full, the ballast makes way.

        afterwards: called where it did, whatever came of it.
        """
        try:
            return operation()
        except NoRoomError as error:
            if error.reason != "disk_full" or self.ballast is None or not self.ballast.release():
                raise
        self._db.sparing = self._making = True
        try:
            return operation()
        finally:
            self._making = False
            afterwards()

    def regain(self) -> None:
        """Takes the ballast's room again where there is some, unless it is just making way."""
        if self.spent and not self._making and self.ballast is not None and self.ballast.restore():
            self._db.sparing = False
