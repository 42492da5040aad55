"""Which model reads a source's or a sink's table: its `type` says it."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint

from pydantic import BaseModel

from shipper.config.problems import Problems, but, nearest, printable
from shipper.sink import SinkConfig, load_sink_type
from shipper.sources.kinds import SOURCE_TYPES


class Kinds:
    """Finds the model of a table; a sink's package is imported only where a table uses it."""

    def __init__(self, sinks: Mapping[str, EntryPoint], out: Problems) -> None:
        self._sinks = sinks
        self._out = out

    def model(self, part: str, name: str, kind: object) -> type[BaseModel] | None:
        """The model for `type = kind` in `[part.name]`, part being sources or sinks. None: the problem is noted."""
        known = sorted(SOURCE_TYPES if part == "sources" else self._sinks)
        key = (part, name, "type")
        choice = f"known here: {', '.join(known)}" if known else "none is installed"
        if kind is None:
            self._out.add(key, f"is missing: say which kind of {part[:-1]} this is; {choice}")
        elif not isinstance(kind, str):
            self._out.add(key, f"must be a string in quotes; {choice}")
        elif kind not in known:
            self._out.add(key, f"must be a known type{but(kind)}{nearest(kind, known)} ({choice})")
        elif part == "sources":
            return SOURCE_TYPES[kind]
        else:
            return self._sink_model(name, self._sinks[kind])
        return None

    def _sink_model(self, name: str, entry: EntryPoint) -> type[SinkConfig] | None:
        try:
            return load_sink_type(entry).Config
        except Exception as error:  # noqa: BLE001  a stranger's package may fail in any way while it is imported
            self._out.add(
                ("sinks", name, "type"), f"{not_loaded(entry, error)}; install or update it, or remove the sink"
            )
            return None


def not_loaded(entry: EntryPoint, error: Exception) -> str:
    """Why a kind of sink can't be used: which one, of which package, and what its import failed with."""
    package = f"package {entry.dist.name}" if entry.dist is not None else "a package"
    told = isinstance(error, ImportError | TypeError | AttributeError)
    words = f": {printable(str(error))[:200]}" if told else ""
    return f'"{entry.name}" can\'t be loaded from {package} ({entry.value}): {type(error).__name__}{words}'
