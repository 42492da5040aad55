"""No process outlives its test."""

from collections.abc import Iterator

import pytest
from daemon_case import STARTED


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    yield
    for process in STARTED:
        process.kill()
        process.wait()
    STARTED.clear()
