"""From a path and an environment to settings, or to every problem at once."""

import re
import tomllib
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shipper.config.checks import check_together
from shipper.config.explain import explain
from shipper.config.fields import NESTED, PREFIX
from shipper.config.kinds import Kinds
from shipper.config.layers import PARTS, Layers
from shipper.config.problems import ConfigError, Problems
from shipper.config.settings import Settings
from shipper.sink import sink_types as installed_sink_types

DEFAULT_FILE = Path("/etc/shipper/config.toml")
_PLACE = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL)


def load(
    path: Path | None, environ: Mapping[str, str], *, sink_types: Mapping[str, EntryPoint] | None = None
) -> Settings:
    """The settings, checked.

    path: what --config says. environ: the process's environment. sink_types: the kinds of sinks, by default those
    that are installed. Raises ConfigError; reads files, connects nowhere.
    """
    file = choose_file(path, environ)
    tree = _read(file, path, environ)
    out = Problems()
    kinds = Kinds(installed_sink_types() if sink_types is None else sink_types, out)
    layers = Layers(tree, file, environ, kinds, out)
    settings = _settings(layers, file, out)
    check_together(layers.built["sources"], layers.built["sinks"], layers.named, out)
    return _right(settings, file, out)


def load_own(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The program's own settings, with no source and no sink, whatever the file says of those.

    For whoever only talks to a daemon: that needs to know where it lives and listens, and none of its secrets, which
    systemd's credentials keep from everybody else. Raises ConfigError.
    """
    file = choose_file(path, environ)
    tree = {name: value for name, value in _read(file, path, environ).items() if name not in PARTS}
    theirs = tuple(f"{PREFIX}{part.upper()}{NESTED}" for part in PARTS)
    own = {name: value for name, value in environ.items() if not name.upper().startswith(theirs)}
    out = Problems()
    return _right(_settings(Layers(tree, file, own, Kinds({}, out), out), file, out), file, out)


def _settings(layers: Layers, file: Path, out: Problems) -> Settings | None:
    try:
        return Settings.from_layers(layers, file)
    except ValidationError as error:
        explain(error, Settings, (), out)
        return None


def _right(settings: Settings | None, file: Path, out: Problems) -> Settings:
    if out.lines or settings is None:
        raise ConfigError(file, out.lines)
    return settings


def choose_file(path: Path | None, environ: Mapping[str, str]) -> Path:
    """The file to use, as an absolute path: --config, else $SHIPPER_CONFIG, else /etc/shipper/config.toml."""
    if path is not None:
        return path.absolute()
    if environ.get("SHIPPER_CONFIG"):
        return Path(environ["SHIPPER_CONFIG"]).absolute()
    return DEFAULT_FILE


def _read(file: Path, path: Path | None, environ: Mapping[str, str]) -> dict[str, Any]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
        return tomllib.loads(text)
    except FileNotFoundError:
        told = "--config says so" if path is not None else "$SHIPPER_CONFIG says so"
        if path is None and not environ.get("SHIPPER_CONFIG"):
            told = "it is the default"
        line = f"there is no such file ({told}): name one with --config FILE or SHIPPER_CONFIG"
    except OSError as error:
        line = f"can't be read ({error.strerror}): check owner and mode"
    except UnicodeDecodeError as error:
        line = f"is no UTF-8 text (byte {error.start}): save it as UTF-8"
    except tomllib.TOMLDecodeError as error:
        line = _syntax(str(error))
    except (RecursionError, ValueError):
        line = "is no TOML that can be read: nested too deeply, or a number that is too long"
    raise ConfigError(file, [line])


def _syntax(words: str) -> str:
    """The parser's verdict, place first. It names keys and single characters, never a value."""
    match = _PLACE.fullmatch(words)
    if match is None:
        return "is no valid TOML"
    place = f"line {match['line']}, column {match['column']}" if match["line"] else "at the end of the file"
    what = match["what"][:1].lower() + match["what"][1:200]
    return f"{place}: {what}; text needs quotes, and each table and key may stand there once"
