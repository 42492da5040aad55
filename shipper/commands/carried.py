"""The file that carries checkpoints to another host. Pure.

What it says is checked as anything that others may have written: of a checkpoint only its log_id is taken, so that no
file makes a source request something else.
"""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from shipper.sources.chain import Checkpoint
from shipper.sources.start import embedded_time, is_log_id

VERSION = 1


class Carried(msgspec.Struct, forbid_unknown_fields=True):
    """One source in the file. horizon: milliseconds since 1970 UTC, None where it is not known."""

    source: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,30}$")]
    tenant: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]+:[!-~]{1,256}$")]
    checkpoint: str
    horizon: Annotated[int, msgspec.Meta(ge=0)] | None
    stored: int


class Cargo(msgspec.Struct, forbid_unknown_fields=True):
    """The file."""

    version: int
    sources: list[Carried]


class Place(msgspec.Struct, frozen=True):
    """Where a tenant's source is to resume. last: the log_id behind which; horizon: up to then all was held."""

    source: str
    tenant: str
    last: str
    horizon: int


def exported(sources: Sequence[Mapping[str, Any]]) -> bytes:
    """The file's bytes. A source that has not started has no place to carry."""
    carried = [
        Carried(one["source"], one["tenant"], b64decode(one["checkpoint"]).decode(), one["horizon"], one["stored"])
        for one in sources
        if one["checkpoint"]
    ]
    return msgspec.json.format(msgspec.json.encode(Cargo(VERSION, carried)), indent=2) + b"\n"


def imported(data: bytes) -> list[Place]:
    """The places that the file names. Raises ValueError that says what is wrong with it."""
    cargo = msgspec.json.decode(data, type=Cargo)
    if cargo.version != VERSION:
        raise ValueError(f"is of version {cargo.version}, not {VERSION}: use the program that wrote it")
    if not cargo.sources:
        raise ValueError("names no source")
    places = []
    for one in cargo.sources:
        last = Checkpoint.decode(one.checkpoint.encode()).last
        if not is_log_id(last):
            raise ValueError(f"the checkpoint of {one.source} is no log_id")
        places.append(Place(one.source, one.tenant, last, one.horizon or embedded_time(last) or 0))
    for names in ([place.source for place in places], [place.tenant for place in places]):
        if len(set(names)) < len(names):
            raise ValueError("names a source or a tenant twice")
    return places
