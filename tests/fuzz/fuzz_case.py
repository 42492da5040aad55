"""How long a fuzz test goes on: a few hundred examples, or FUZZ_SECS seconds where that is set (`make soak`)."""

import os
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

SECS = float(os.environ.get("FUZZ_SECS", "0"))
AT_ONCE = 2_000 if SECS else 200
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


def fuzz(*drawn: SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """The test is called with values that are drawn from these."""

    def decorate(check: Callable[..., None]) -> Callable[[], None]:
        played = settings(max_examples=AT_ONCE, deadline=None, suppress_health_check=SLOW)(given(*drawn)(check))

        def test() -> None:
            end = time.monotonic() + SECS
            played()
            while time.monotonic() < end:
                played()

        test.__name__, test.__doc__, test.__module__ = check.__name__, check.__doc__, check.__module__
        return test

    return decorate
