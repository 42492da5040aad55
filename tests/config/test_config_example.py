"""config.example.toml: loads, shows every setting there is, and says the truth about defaults."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from tls_case import make_certificates

from shipper.config import Settings, load
from shipper.config.fields import is_secret, table_of
from shipper.sink import SinkConfig, load_sink_type, sink_types
from shipper.sources import SourceConfig
from shipper.sources.kinds import SOURCE_TYPES

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
NOT_SET = {"ca_file", "cert_file", "key_file", "fields", "hmac_key_file"}
"""Settings without a default that a file could hold: the example shows a made-up one and says so."""


def _uncommented(text: str) -> str:
    """Every setting switched on: those are the lines where nothing stands between "#" and the key."""
    return re.sub(r"^#(?=[a-z\[])", "", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def file(tmp_path: Path, certificates: Path) -> Path:
    for name in ("acme.client_secret", "identity.app_secret", "siem.token", "siem.hmac_key", "observability.api_key"):
        (tmp_path / name).write_text("made up", encoding="utf-8")
    made = {"ca.pem": "authority.pem", "cert.pem": "client.pem", "key.pem": "client.key"}
    for name, certificate in made.items():
        (tmp_path / name).symlink_to(certificates / certificate)
    return tmp_path / "config.toml"


def _models() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, model in SOURCE_TYPES.items():
        yield name, model
    for name, entry in sink_types().items():
        if entry.value.startswith("sinks."):
            yield name, load_sink_type(entry).Config


def _table(kind: str) -> Mapping[str, Any]:
    """The example's table of this type, with every setting switched on."""
    tree = tomllib.loads(_uncommented(EXAMPLE.read_text(encoding="utf-8")))
    return next(table for part in ("sources", "sinks") for table in tree[part].values() if table["type"] == kind)


def _missing(model: type[BaseModel], table: Mapping[str, Any], skip: frozenset[str] = frozenset()) -> Iterator[str]:
    for name, field in model.model_fields.items():
        nested = table_of(field)
        if name in skip:
            continue
        if nested is not None and name in table:
            yield from (f"{name}.{inner}" for inner in _missing(nested, table[name]))
        elif name not in table and not (is_secret(field) and f"{name}_file" in table):
            yield name


def test_the_example_loads_as_it_is(file: Path) -> None:
    file.write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    settings = load(file, {})
    assert {name: sink.type for name, sink in settings.sinks.items()} == {"siem": "splunk_hec", "console": "stdout"}
    assert {name: source.type for name, source in settings.sources.items()} == {"acme": "auth0"}


def test_every_line_can_be_switched_on(file: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    file.write_text(_uncommented(text), encoding="utf-8")
    assert load(file, {}).sinks["siem"].tls.ca_file == file.parent / "ca.pem"
    assert len(re.findall(r"^#[a-z]", text, flags=re.MULTILINE)) > 30


def test_every_setting_of_the_program_is_there() -> None:
    tree = tomllib.loads(_uncommented(EXAMPLE.read_text(encoding="utf-8")))
    assert list(_missing(Settings, tree)) == []


@pytest.mark.parametrize(("kind", "model"), list(_models()))
def test_every_setting_of_every_kind_is_there(kind: str, model: type[BaseModel]) -> None:
    # What all sinks have is written once, at the first of them.
    common = (
        frozenset(SinkConfig.model_fields) if issubclass(model, SinkConfig) and kind != "splunk_hec" else frozenset()
    )
    text = EXAMPLE.read_text(encoding="utf-8")
    # An alternative to other settings can't be switched on beside them, so it stands in a sentence of its own.
    missing = list(_missing(model, _table(kind), common))
    assert [name for name in missing if not re.search(rf"(?m)^# {name}(_file)? = ", text)] == []


def test_the_walk_finds_a_setting_that_is_not_there() -> None:
    table = {name: value for name, value in _table("splunk_hec").items() if name != "index"}
    model = load_sink_type(sink_types()["splunk_hec"]).Config
    assert list(_missing(model, table)) == ["index"]
    assert set(_missing(SourceConfig, {"request": {}})) >= {"start", "request.timeout_secs"}


def _defaults(model: type[BaseModel], table: Mapping[str, Any], at: str) -> Iterator[tuple[str, Any, Any]]:
    for name, value in table.items():
        field = model.model_fields.get(name)
        if field is None or name in NOT_SET:
            continue
        default = field.get_default(call_default_factory=True, validated_data={})
        nested = table_of(field)
        if nested is not None:
            for inner, written in value.items():
                if inner not in NOT_SET:
                    yield f"{at}.{name}.{inner}", written, getattr(default, inner)
        elif not field.is_required() and not isinstance(value, dict):
            yield f"{at}.{name}", value, default


def test_each_commented_line_shows_the_default() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    tree, active = tomllib.loads(_uncommented(text)), tomllib.loads(text)
    shown = list(_defaults(Settings, {k: v for k, v in tree.items() if k not in ("sources", "sinks")}, ""))
    for kind, model in _models():
        table = _table(kind)
        # A sink that the file only proposes has no table yet.
        tables = [table for part in ("sources", "sinks") for table in active[part].values()]
        written: dict[str, Any] = next((one for one in tables if one["type"] == kind), {})
        fixed = {name for name, value in written.items() if not isinstance(value, dict)}
        shown += _defaults(model, {name: value for name, value in table.items() if name not in fixed}, kind)
    assert len(shown) > 30
    wrong = [(key, value, default) for key, value, default in shown if str(value) != str(default)]
    assert wrong == []
