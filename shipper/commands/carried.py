"""The file that carries checkpoints to another host. Pure.

What it says is checked as anything that others may have written: of a checkpoint only its place is taken, so that no
file makes a source request something else.
"""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from shipper.sources.kinds import places_of
from shipper.sources.places import Place

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


class Resume(msgspec.Struct, frozen=True):
    """Where a tenant's source is to resume. horizon: up to then all was held."""

    source: str
    tenant: str
    place: Place
    horizon: int


def exported(sources: Sequence[Mapping[str, Any]]) -> bytes:
    """The file's bytes. A source that has not started has no place to carry."""
    carried = [
        Carried(one["source"], one["tenant"], b64decode(one["checkpoint"]).decode(), one["horizon"], one["stored"])
        for one in sources
        if one["checkpoint"]
    ]
    return msgspec.json.format(msgspec.json.encode(Cargo(VERSION, carried)), indent=2) + b"\n"


def imported(data: bytes) -> list[Resume]:
    """The places that the file names. Raises ValueError that says what is wrong with it."""
    cargo = msgspec.json.decode(data, type=Cargo)
    if cargo.version != VERSION:
        raise ValueError(f"is of version {cargo.version}, not {VERSION}: use the program that wrote it")
    if not cargo.sources:
        raise ValueError("names no source")
    places = []
    for one in cargo.sources:
        try:
            kind = places_of(one.tenant)
            place = kind.at(kind.shown(one.checkpoint.encode()))
        except ValueError as error:
            raise ValueError(f"the checkpoint of {one.source} {error}") from None
        places.append(Resume(one.source, one.tenant, place, one.horizon or place.since_ms or 0))
    for names in ([place.source for place in places], [place.tenant for place in places]):
        if len(set(names)) < len(names):
            raise ValueError("names a source or a tenant twice")
    return places
