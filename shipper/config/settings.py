"""The settings of the program itself, with their defaults and bounds; sources and sinks bring their own."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SerializeAsAny, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from shipper.sink import SinkConfig
from shipper.sources import SourceConfig

_LAYERS = "layers"
"""The argument under which Settings gets its one source of values."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LogConfig(_Section):
    """What is logged, always to stderr. format "auto": console on a terminal, else json."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


class AdminConfig(_Section):
    """Where metrics, probes, /api/status and the status page are served: "host:port", or "" for nowhere.

    status_page: /api/status and the page also where others than this machine can ask. On loopback they always are.
    """

    listen: str = "127.0.0.1:9464"
    status_page: bool = False

    @field_validator("listen")
    @classmethod
    def _listen_is_an_address(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        right_host = bool(host) and (":" not in host or bracketed)
        right_port = port.isascii() and port.isdecimal() and int(port) <= 65535
        if value and not (colon and right_host and right_port):
            raise ValueError('must be "host:port" like "127.0.0.1:9464", "[::1]:9464", or "" for none')
        return value


class JournalConfig(_Section):
    """The limits of the durable middle.

    max_bytes: used pages, or 80 % of the file system where that is less. keep_days: how long delivered events stay
    while there is room; 0 trims them at once. dead_letters_max_bytes, dead_letters_max_age_days: the limits of the
    dead letters; 0 days keeps them until someone decides.
    """

    max_bytes: int = Field(default=10_737_418_240, ge=1_000_000)
    keep_days: float = Field(default=3.0, ge=0, le=3650)
    dead_letters_max_bytes: int = Field(default=1_073_741_824, ge=1_000_000)
    dead_letters_max_age_days: float = Field(default=0.0, ge=0, le=3650)


class Settings(BaseSettings):
    """Everything that is configured, checked and with its defaults. Frozen: a change needs a new one.

    shutdown_secs: how long writes in hand may take once the program was asked to stop.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    state_dir: Path = Path("/var/lib/shipper")
    shutdown_secs: float = Field(default=20.0, ge=0, le=3600)
    log: LogConfig = LogConfig()
    admin: AdminConfig = AdminConfig()
    journal: JournalConfig = JournalConfig()
    sources: dict[str, SerializeAsAny[SourceConfig]] = {}
    sinks: dict[str, SerializeAsAny[SinkConfig]] = {}

    _file: Path = PrivateAttr(default=Path())

    @property
    def file(self) -> Path:
        """The configuration file that these settings came from."""
        return self._file

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only `load`'s layers, else plain arguments.

        The library's own reading of the environment stays out: it would make a second sink out of another spelling
        of a name, and leave lists as strings.
        """
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        layers = getattr(init_settings, "init_kwargs", {}).get(_LAYERS)
        return (init_settings,) if layers is None else (layers,)

    @classmethod
    def from_layers(cls, layers: PydanticBaseSettingsSource, file: Path) -> Self:
        """The settings that these layers make. Raises ValidationError, which may quote values: never show it."""
        arguments: dict[str, Any] = {_LAYERS: layers}
        settings = cls(**arguments)
        settings._file = file
        return settings
