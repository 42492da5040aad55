"""What should run, by the settings, and what has to end and to begin for it. Decides; `crew.py` does it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel

from shipper.config import Settings
from shipper.sink import SinkConfig
from shipper.sources import SourceConfig
from shipper.sources.kinds import kind_of

T = TypeVar("T")
Lane = tuple[str, str]
"""The names of a source and of a sink."""

ONLY_AT_THE_START = ("state_dir", "journal", "admin")
CHOOSES_LANES = {"from_sources": [], "start": ""}
"""What of a sink's settings says which lanes it has and where they begin: the sink itself is the same."""


@dataclass(frozen=True)
class Wanted:
    """The sources and sinks in use, by name, in the file's order."""

    sources: Mapping[str, SourceConfig] = field(default_factory=dict)
    sinks: Mapping[str, SinkConfig] = field(default_factory=dict)

    @property
    def lanes(self) -> list[Lane]:
        """Each source into each sink that takes it."""
        return [
            (source, name)
            for name, sink in self.sinks.items()
            for source in self.sources
            if not sink.from_sources or source in sink.from_sources
        ]

    def doubts(self, sink: str) -> list[str]:
        """What may be a slip in this sink's filter, given what goes through it."""
        return self.sinks[sink].filter.doubts(
            {self.sources[source].type for source, into in self.lanes if into == sink}
        )


@dataclass(frozen=True)
class Parts:
    """Names of sources and sinks, and lanes."""

    sources: Sequence[str] = ()
    sinks: Sequence[str] = ()
    lanes: Sequence[Lane] = ()

    @property
    def named(self) -> list[str]:
        """As a person reads them."""
        sources = [f"sources.{name}" for name in self.sources]
        return [*sources, *(f"sinks.{name}" for name in self.sinks), *(f"{a} → {b}" for a, b in self.lanes)]


@dataclass(frozen=True)
class Change:
    """What ends, and what begins behind that; what has changed does both. Everything else goes on untouched."""

    ends: Parts
    begins: Parts

    @property
    def told(self) -> dict[str, list[str]]:
        """What was added, removed and changed."""
        ended, begun = self.ends.named, self.begins.named
        parts = {
            "added": [name for name in begun if name not in ended],
            "removed": [name for name in ended if name not in begun],
            "changed": [name for name in begun if name in ended],
        }
        return {what: names for what, names in parts.items() if names}


def wanted(settings: Settings) -> Wanted:
    """What these settings want to run."""
    return Wanted(
        {name: source for name, source in settings.sources.items() if source.enabled},
        {name: sink for name, sink in settings.sinks.items() if sink.enabled},
    )


def change(now: Wanted, to: Wanted) -> Change:
    """The way from what runs to what is wanted.

    A lane ends with its sink, and where its source has become another or has another name for its events; it outlives
    any other change of its source.
    """
    sources = {name for name, config in now.sources.items() if to.sources.get(name) != config}
    sinks = {name for name, config in now.sinks.items() if _itself(to.sinks.get(name)) != _itself(config)}
    moved = {name for name in sources if _origin(now, name) != _origin(to, name)}
    before, after = now.lanes, to.lanes
    lanes = {lane for lane in before if lane not in after or lane[0] in moved or lane[1] in sinks}
    return Change(
        Parts(_those(now.sources, sources), _those(now.sinks, sinks), _those(before, lanes)),
        Parts(
            _those(to.sources, sources | (to.sources.keys() - now.sources.keys())),
            _those(to.sinks, sinks | (to.sinks.keys() - now.sinks.keys())),
            _those(after, lanes | (set(after) - set(before))),
        ),
    )


def needs_restart(now: Settings, to: Settings) -> list[str]:
    """The settings that differ and can't while the daemon runs."""
    return [name for part in ONLY_AT_THE_START for name in _differing(part, getattr(now, part), getattr(to, part))]


def _those(ordered: Iterable[T], chosen: Collection[T]) -> tuple[T, ...]:
    return tuple(one for one in ordered if one in chosen)


def _itself(config: SinkConfig | None) -> SinkConfig | None:
    return config.model_copy(update=CHOOSES_LANES) if config is not None else None


def _origin(which: Wanted, name: str) -> object:
    config = which.sources.get(name)
    return (config.tenant_key, kind_of(config).origin(name)) if config is not None else None


def _differing(name: str, now: object, to: object) -> list[str]:
    if now == to:
        return []
    if not isinstance(now, BaseModel):
        return [name]
    pairs = ((part, getattr(now, part), getattr(to, part)) for part in type(now).model_fields)
    return [found for part, one, other in pairs for found in _differing(f"{name}.{part}", one, other)]
