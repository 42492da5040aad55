"""Checkpoints in people's hands: what stands in them as text, and the other way round."""

from typing import Protocol

import msgspec


class Place(msgspec.Struct, frozen=True):
    """Where a source could resume. shown: as people write it. since_ms: its time, None where it tells none."""

    checkpoint: bytes
    shown: str
    since_ms: int | None


class Places(Protocol):
    """How one kind of source writes its checkpoints, which are opaque to everyone else."""

    def shown(self, checkpoint: bytes) -> str:
        """The place that it names. Raises ValueError where it is no checkpoint of this kind."""

    def at(self, text: str) -> Place:
        """The place that someone names. Raises ValueError that says what it should be."""

    def at_time(self, at_ms: int) -> Place:
        """The place before everything of this moment or later (milliseconds since 1970 UTC)."""
