from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_case import in_memory


@pytest.fixture
def in_memory_path() -> Iterator[Path]:
    with in_memory() as path:
        yield Path(path)
