"""Asking a tenant for whoever waits for the answer: what passes by itself is waited out for a while."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from shipper.reasons import HELD
from shipper.retry import Backoff
from shipper.sources.trouble import Trouble

PATIENCE_SECS = 15.0
"""For a single answer that a person waits for."""
TOLD_SECS = 5.0
"""What takes so long is told to whoever waits for it."""

T = TypeVar("T")


async def patiently(
    ask: Callable[[], Awaitable[T]],
    patience_secs: float,
    log: Any,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """The answer, asked for again while there is trouble that passes, with so many seconds of waiting at the most.

    Raises Trouble: the last one, or the first that only a person can mend. log: is told of a long wait, and its end.
    """
    backoff, failures, waited, told = Backoff(), 0, 0.0, False
    while True:
        try:
            answer = await ask()
        except Trouble as trouble:
            failures += 1
            # The jitter keeps several readers of one tenant from asking together.
            wait = (trouble.retry_after or 0.0) + backoff.delay(1 if trouble.retry_after else failures)
            waited += wait
            if waited > patience_secs or trouble.reason in HELD:
                raise
            if waited >= TOLD_SECS and not told:
                told = True
                log.warning("waiting", reason=trouble.reason, note=trouble.note)
            await sleep(wait)
        else:
            if told:
                log.info("recovered")
            return answer
