"""What keeps a source from its next page."""

from collections.abc import Awaitable
from typing import TypeVar

from shipper.journal import NoRoomError
from shipper.reasons import Reason

T = TypeVar("T")


class Trouble(Exception):  # noqa: N818  named for what it says, like a sink's outcomes
    """reason: why. note: our own words, safe to log. retry_after: seconds until the next try, where they are known.

    status: of the answer that it is about, where a kind of source looks at it again. detail: the service's own words
    there, for the eyes of whoever typed what it refuses; never for a log.
    """

    def __init__(
        self, reason: Reason, note: str, *, retry_after: float | None = None, status: int = 0, detail: str = ""
    ) -> None:
        super().__init__(note)
        self.reason, self.note, self.retry_after = reason, note, retry_after
        self.status, self.detail = status, detail


async def stored(operation: Awaitable[T]) -> T:
    """The result of a journal operation; no room there is the source's trouble. Raises Trouble."""
    try:
        return await operation
    except NoRoomError as error:
        raise Trouble(error.reason, str(error)) from None
