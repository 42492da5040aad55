"""One TOML file, laid over by systemd credentials and the environment, becomes settings; or a list of problems.

`load` does all of it and raises ConfigError with every problem at once, each one line, none with a secret in it.
The names below are loaded when they are first used: catching a ConfigError needs no settings library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shipper.config.load import choose_file, load, load_own
    from shipper.config.problems import ConfigError
    from shipper.config.schema import schema
    from shipper.config.settings import AdminConfig, JournalConfig, LogConfig, Settings
    from shipper.config.show import masked, to_toml

_HOMES = {
    "AdminConfig": "settings",
    "ConfigError": "problems",
    "JournalConfig": "settings",
    "LogConfig": "settings",
    "Settings": "settings",
    "choose_file": "load",
    "load": "load",
    "load_own": "load",
    "masked": "show",
    "schema": "schema",
    "to_toml": "show",
}

__all__ = [
    "AdminConfig",
    "ConfigError",
    "JournalConfig",
    "LogConfig",
    "Settings",
    "choose_file",
    "load",
    "load_own",
    "masked",
    "schema",
    "to_toml",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'shipper.config' has no attribute {name!r}")
    home = import_module(f"shipper.config.{_HOMES[name]}")
    # The import has just put the module itself here under its own name, which may be that of a function in it.
    globals().update({other: getattr(home, other) for other, at in _HOMES.items() if at == _HOMES[name]})
    return globals()[name]
