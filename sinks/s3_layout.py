"""Which objects a batch becomes in S3, and where they stand: pure functions of the batch.

`source=NAME/dt=YYYY-MM-DD/hour=HH/FIRST_LOG_ID-LAST_LOG_ID.jsonl.gz`, a layout that query engines read as partitions.
"""

import hashlib
import re
import sys
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import msgspec
from isal import isal_zlib

from shipper import Batch

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_GZIP_LEVEL, _ZSTD_LEVEL = 2, 3
_LINES_AT_ONCE = 256
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


def object_of(batch: Batch, hour: Hour, bodies: Callable[[Batch], list[bytes]], compression: str) -> Object:
    """An hour's object, in the journal's order. The same batch gives the same bytes. bodies: one line for each event.

    The lines are made, hashed and compressed some at a time: a batch in memory is large enough without them.
    """
    digest, compressor, pieces = hashlib.sha256(), _compressor(compression), []
    for at in range(0, len(hour.indexes), _LINES_AT_ONCE):
        events = [batch.events[index] for index in hour.indexes[at : at + _LINES_AT_ONCE]]
        lines = b"\n".join([*bodies(msgspec.structs.replace(batch, events=events)), b""])
        digest.update(lines)
        pieces.append(compressor.compress(lines))
    pieces.append(compressor.flush())
    first, last = _ends(batch, hour)
    metadata = {
        "events": str(len(hour.indexes)),
        "first": first,
        "last": last,
        "content-sha256": digest.hexdigest(),
    }
    return Object.of(b"".join(pieces), metadata)


def safe_id(id_: str) -> str:
    """The id as it stands in keys; its hash where it has other characters than keys should have, or is long."""
    if _SAFE_ID.fullmatch(id_):
        return id_
    return hashlib.sha256(id_.encode("utf-8", "surrogatepass")).hexdigest()


def _ends(batch: Batch, hour: Hour) -> tuple[str, str]:
    return safe_id(batch.events[hour.indexes[0]].id), safe_id(batch.events[hour.indexes[-1]].id)


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Plain:
    """For objects that are not compressed."""

    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def _compressor(compression: str) -> _Compressor:
    if compression == "gzip":
        # The header that this writes holds no time.
        return isal_zlib.compressobj(_GZIP_LEVEL, wbits=31)
    return zstd.ZstdCompressor(_ZSTD_LEVEL) if compression == "zstd" else _Plain()
