"""Which objects a batch becomes in S3, and where they stand: pure functions of the batch. And back: what a key says.

`source=NAME/dt=YYYY-MM-DD/hour=HH/FIRST_LOG_ID-LAST_LOG_ID.jsonl.gz`, a layout that query engines read as partitions.
"""

import hashlib
import re
import sys
from base64 import b64encode
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from typing import NamedTuple, Protocol

import msgspec
from isal import igzip_lib, isal_zlib

from shipper import Batch, Damaged, Stored

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_GZIP_LEVEL, _ZSTD_LEVEL = 2, 3
_LINES_AT_ONCE = 256
_ISAL_ERROR: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # declared as an instance
_UNPACK_BYTES = 1024 * 1024
_ENDINGS = {"gzip": ".jsonl.gz", "zstd": ".jsonl.zst", "none": ".jsonl"}
_SAFE_ID = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
_KEY = re.compile(
    r"source=(?P<source>[a-z][a-z0-9_]{0,30})/dt=(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})/hour=(?P<hour>[01][0-9]|2[0-3])"
    r"/(?P<name>[0-9A-Za-z_-]{3,140})(?P<ending>\.jsonl(\.gz|\.zst)?)"
)
_BESIDE = re.compile(r"(-([2-9]|1[0-9]|20))?")
_EVENTS, _SHA256 = re.compile(r"[1-9][0-9]{0,8}"), re.compile(r"[0-9a-f]{64}")


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


# -- and back ----------------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """What a key says. hour: of the events' time, in hours since 1970 UTC."""

    source: str
    hour: int
    name: str
    ending: str


def place_of(path: str) -> Place | None:
    """What a key below the prefix says; None: it is none of ours."""
    parts = _KEY.fullmatch(path)
    day = day_of(parts["day"]) if parts else None
    if parts is None or day is None:
        return None
    hour = (day - date(1970, 1, 1)).days * 24 + int(parts["hour"])
    return Place(parts["source"], hour, parts["name"], parts["ending"])


def day_of(text: str) -> date | None:
    """The day that is written so, YYYY-MM-DD; None: no day is."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if str(day) == text else None


def stored_of(path: str, metadata: dict[str, str], written: int) -> Stored | None:
    """What an object's key and metadata tell, where they agree; None: it is none of ours."""
    place = place_of(path)
    events, first, last, sha256 = (metadata.get(name, "") for name in ("events", "first", "last", "content-sha256"))
    if place is None or not (_EVENTS.fullmatch(events) and _SHA256.fullmatch(sha256)):
        return None
    ends = f"{first}-{last}"
    if not (_SAFE_ID.fullmatch(first) and _SAFE_ID.fullmatch(last) and place.name.startswith(ends)):
        return None
    if not _BESIDE.fullmatch(place.name[len(ends) :]):
        return None
    return Stored(path, place.hour, int(events), first, last, sha256, written)


def lines_of(stored: Stored, pieces: Iterable[bytes], most_bytes: int) -> list[bytes]:
    """An object's lines from its body. Raises Damaged where they are not what its metadata say."""
    digest, lines, size, rest = hashlib.sha256(), list[bytes](), 0, b""
    for text in _unpacked(stored.key, pieces):
        digest.update(text)
        size += len(text)
        if size > most_bytes:
            raise Damaged(f"{stored.key}: more than {most_bytes} bytes of lines, which no batch has")
        *whole, rest = (rest + text).split(b"\n")
        lines += whole
    if digest.hexdigest() != stored.sha256:
        raise Damaged(f"{stored.key}: the lines are not those of its content-sha256")
    if rest or len(lines) != stored.events:
        raise Damaged(f"{stored.key}: {len(lines)} lines, where its metadata say {stored.events} events")
    return lines


def _unpacked(key: str, pieces: Iterable[bytes]) -> Iterable[bytes]:
    """The lines, some at a time, so that a body that unfolds to gigabytes is noticed before it did."""
    if key.endswith(".jsonl"):
        yield from pieces
        return
    unpack: _Unpacker = (
        igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP) if key.endswith(".gz") else zstd.ZstdDecompressor()
    )
    try:
        for piece in pieces:
            given = piece
            while not unpack.eof:
                yield unpack.decompress(given, _UNPACK_BYTES)
                given = b""
                if unpack.needs_input:
                    break
    except (_ISAL_ERROR, zstd.ZstdError, EOFError):
        raise Damaged(f"{key}: it can't be decompressed") from None
    if not unpack.eof:
        raise Damaged(f"{key}: it is cut off")


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


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
