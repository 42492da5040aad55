import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from s3_case import ALL_RIGHTS, Bucket, seaweedfs


@pytest.fixture
def golden() -> Path:
    return Path(__file__).parent / "golden"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Callable[[tuple[str, str] | None], None]:
    """The environment of someone who has no other AWS settings than these credentials. Called with others: those."""

    def known_as(credentials: tuple[str, str] | None) -> None:
        for index, name in enumerate(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")):
            if credentials:
                monkeypatch.setenv(name, credentials[index])
            else:
                monkeypatch.delenv(name)

    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower() in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    known_as(ALL_RIGHTS)
    return known_as


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real S3 store."""
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as url:
        yield url


_names = (f"logs-{number}" for number in itertools.count(1))


@pytest.fixture
def bucket(store: str) -> Bucket:
    """An empty bucket of it."""
    return Bucket(store, next(_names)).create()
