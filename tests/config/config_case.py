"""What the tests of the configuration share: a kind of sink of their own, and a file to load."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from shipper.config import ConfigError, Settings, load
from shipper.event import Batch
from shipper.secret import Secret
from shipper.sink import BatchLimits, Sink, SinkConfig, check_url

CANARY = "c4n4ry-0000-1111-2222-333344445555-secret"
"""As long as the secrets of real services are."""


class Deeper(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    level: int = Field(default=1, le=9)
    key: Secret | None = None


class Deep(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str = ""
    deeper: Deeper = Deeper()


class Hec(Sink):
    """A sink with one field of every kind."""

    class Config(SinkConfig):
        url: Annotated[str, AfterValidator(check_url)]
        token: Secret
        spare: Secret | None = None
        tags: list[str] = Field(default_factory=list)
        ports: list[int] = Field(default_factory=list)
        count: int | None = None
        deep: Deep = Deep()
        batch: BatchLimits = BatchLimits(max_events=7, timeout_secs=9.0)

        @field_validator("spare")
        @classmethod
        def _spare_is_long(cls, value: Secret | None, info: ValidationInfo) -> Secret | None:
            if value is not None and len(value.get()) < 3:
                raise ValueError(f"a careless plugin quotes {value.get()}")
            return value

    async def write(self, batch: Batch) -> None:
        """Delivers nothing: these sinks are only configured."""


class Plain(Sink):
    """A sink without settings of its own."""

    async def write(self, batch: Batch) -> None:
        """Delivers nothing: these sinks are only configured."""


NO_SINK = "an entry point may name anything"


def _entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group="shipper.sinks")


SINKS: Mapping[str, EntryPoint] = {
    "hec": _entry("hec", "config_case:Hec"),
    "plain": _entry("plain", "config_case:Plain"),
    "gone": _entry("gone", "config_case_that_does_not_exist:Sink"),
    "odd": _entry("odd", "config_case:NO_SINK"),
}

SOURCE = """
[sources.acme]
type = "auth0"
domain = "acme.us.auth0.com"
client_id = "client"
client_secret = "hush"
"""
SINK = """
[sinks.siem]
type = "hec"
url = "https://splunk.example:8088"
token = "hush"
"""
WORKING = SOURCE + SINK


class Case:
    """A directory with a configuration file, loaded with an environment of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "config.toml"

    def load(self, text: str, environ: Mapping[str, str] | None = None) -> Settings:
        self.file.write_text(text, encoding="utf-8")
        return load(self.file, environ or {}, sink_types=SINKS)

    def problems(self, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load(text, environ)
        assert caught.value.file == self.file
        assert str(caught.value).startswith(f"{self.file}:\n  ")
        return caught.value.lines

    def problem(self, text: str, environ: Mapping[str, str] | None = None) -> str:
        lines = self.problems(text, environ)
        assert len(lines) == 1, lines
        return lines[0]

    def sink(self, text: str, environ: Mapping[str, str] | None = None) -> Hec.Config:
        """The sink "siem" of a configuration that works."""
        config = self.load(text, environ).sinks["siem"]
        assert isinstance(config, Hec.Config)
        return config

    def write(self, name: str, content: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return path
