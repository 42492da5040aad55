"""Which sinks and sources an operator means. Whatever is not there ends in one line that names what is."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from shipper.archive import Archive
from shipper.config import Settings
from shipper.journal import UnknownNameError
from shipper.sink import Sink, SinkConfig, load_sink_type, sink_types
from shipper.sources import SourceConfig


def sink_named(settings: Settings, name: str) -> SinkConfig:
    """The settings of a sink. Raises UnknownNameError."""
    if name not in settings.sinks:
        raise UnknownNameError("operator", f"there is no sink {name[:40]!r} {_known(settings.sinks)}")
    return settings.sinks[name]


def source_named(settings: Settings, name: str) -> SourceConfig:
    """The settings of a source. Raises UnknownNameError."""
    if name not in settings.sources:
        raise UnknownNameError("operator", f"there is no source {name[:40]!r} {_known(settings.sources)}")
    return settings.sources[name]


def sources_of(settings: Settings, sink: str, source: str) -> list[str]:
    """The source that is named, else all that this sink takes. Raises UnknownNameError."""
    taken = sink_named(settings, sink).from_sources or list(settings.sources)
    if not source:
        return taken
    source_named(settings, source)
    if source not in taken:
        raise UnknownNameError("operator", f"the sink {sink} does not take {source} {_known(taken)}")
    return [source]


def is_archive(config: SinkConfig) -> bool:
    """Whether what it wrote can be read back."""
    return issubclass(load_sink_type(sink_types()[config.type]), Archive)


def archives_of(settings: Settings, source: str, *, but: str) -> list[str]:
    """The archives that take this source. but: not this one, since it is what is to be filled."""
    return [
        name
        for name, config in settings.sinks.items()
        if name != but and is_archive(config) and source in (config.from_sources or settings.sources)
    ]


def archive_for(settings: Settings, source: str, name: str, *, but: str) -> str:
    """The archive that is named, else the only one that takes this source; "" where there is none.

    but: as in `archives_of`. Raises UnknownNameError, also where there are several.
    """
    if name:
        if not is_archive(sink_named(settings, name)):
            raise UnknownNameError("operator", f"what the sink {name} wrote can't be read back: it is no archive")
        return name
    found = archives_of(settings, source, but=but)
    if len(found) > 1:
        raise UnknownNameError("operator", f"there are several archives: say --archive NAME {_known(found)}")
    return found[0] if found else ""


@asynccontextmanager
async def opened(settings: Settings, name: str) -> AsyncIterator[Sink]:
    """An instance of our own of a sink, beside the daemon's."""
    config = sink_named(settings, name)
    sink = load_sink_type(sink_types()[config.type])(config)
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close()


def _known(names: Iterable[str]) -> str:
    return f"(there are: {', '.join(names) or 'none'})"
