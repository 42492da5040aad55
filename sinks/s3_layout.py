"""Which objects a batch becomes in S3, and where they stand: pure functions of the batch.

`source=NAME/dt=YYYY-MM-DD/hour=HH/FIRST_LOG_ID-LAST_LOG_ID.jsonl.gz`, a layout that query engines read as partitions.
"""

import hashlib
import re
import sys
from base64 import b64encode
from datetime import UTC, datetime
from typing import NamedTuple

from isal import igzip

from shipper import Batch

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_GZIP_LEVEL, _ZSTD_LEVEL = 2, 3
_ENDINGS = {"gzip": ".jsonl.gz", "zstd": ".jsonl.zst", "none": ".jsonl"}
_SAFE_ID = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)


class Hour(NamedTuple):
    """The events of a batch that belong to one hour, by their indexes, in the journal's order."""

    start: datetime
    indexes: list[int]


class Object(NamedTuple):
    """What is put. checksum: base64 of the body's SHA-256, which the store compares with what arrives."""

    body: bytes
    checksum: str
    metadata: dict[str, str]

    @classmethod
    def of(cls, body: bytes, metadata: dict[str, str]) -> "Object":
        """With its checksum."""
        return cls(body, b64encode(hashlib.sha256(body).digest()).decode(), metadata)


def hours_of(batch: Batch) -> list[Hour]:
    """The batch's hours (UTC), in the order in which they first come."""
    by_hour: dict[int, list[int]] = {}
    for index, event in enumerate(batch.events):
        by_hour.setdefault(event.time // 3_600_000, []).append(index)
    return [Hour(datetime.fromtimestamp(hour * 3600, UTC), indexes) for hour, indexes in by_hour.items()]


def path_of(batch: Batch, hour: Hour, compression: str, number: int) -> str:
    """An hour's key below the prefix; number: 1, or 2, 3, … beside strangers' objects."""
    first, last = _ends(batch, hour)
    beside = f"-{number}" if number > 1 else ""
    folder = f"source={batch.source.name}/dt={hour.start.date()}/hour={hour.start.hour:02}"
    return f"{folder}/{first}-{last}{beside}{_ENDINGS[compression]}"


def object_of(batch: Batch, hour: Hour, lines: list[bytes], compression: str) -> Object:
    """An hour's object, in the journal's order. The same batch gives the same bytes. lines: of the whole batch."""
    content = b"\n".join([*(lines[index] for index in hour.indexes), b""])
    first, last = _ends(batch, hour)
    metadata = {
        "events": str(len(hour.indexes)),
        "first": first,
        "last": last,
        "content-sha256": hashlib.sha256(content).hexdigest(),
    }
    return Object.of(_compressed(content, compression), metadata)


def safe_id(id_: str) -> str:
    """The id as it stands in keys; its hash where it has other characters than keys should have, or is long."""
    if _SAFE_ID.fullmatch(id_):
        return id_
    return hashlib.sha256(id_.encode("utf-8", "surrogatepass")).hexdigest()


def _ends(batch: Batch, hour: Hour) -> tuple[str, str]:
    return safe_id(batch.events[hour.indexes[0]].id), safe_id(batch.events[hour.indexes[-1]].id)


def _compressed(content: bytes, compression: str) -> bytes:
    if compression == "gzip":
        return bytes(igzip.compress(content, compresslevel=_GZIP_LEVEL, mtime=0))
    return zstd.compress(content, _ZSTD_LEVEL) if compression == "zstd" else content
