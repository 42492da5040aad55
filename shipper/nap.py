"""A wait that ends early when somebody asks for another try."""

import asyncio
from contextlib import suppress


class Nap:
    """What a lane or a source sleeps on between two tries."""

    def __init__(self) -> None:
        self._wake = asyncio.Event()

    async def rest(self, secs: float) -> None:
        """Returns after so many seconds, or when it is woken meanwhile."""
        with suppress(TimeoutError):
            async with asyncio.timeout(secs):
                await self._wake.wait()
        self._wake.clear()

    def wake(self) -> None:
        """Ends the wait in hand, or the next one."""
        self._wake.set()
