"""The JSON Schema of the configuration file, for editors: made from the models that check it."""

from importlib.metadata import EntryPoint
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shipper.config.kinds import not_loaded
from shipper.config.settings import Settings
from shipper.secret import SECRET_FORMAT
from shipper.sink import SinkConfig, load_sink_type, sink_types
from shipper.sources.kinds import SOURCE_TYPES

NAME = "^[a-z][a-z0-9_]{0,30}$"


def schema() -> dict[str, Any]:
    """With every kind of sink that is installed. Raises ImportError, with a line that says which can't be loaded."""
    sources = list(SOURCE_TYPES.values())
    sinks = {name: _config(entry) for name, entry in sink_types().items()}
    models: list[type[BaseModel]] = [Settings, *sources, *sinks.values()]
    references, definitions = models_json_schema([(model, "validation") for model in models])
    root = definitions["$defs"].pop(references[Settings, "validation"]["$ref"].rpartition("/")[2])
    for name, config in sinks.items():
        _of(references, definitions, config)["properties"]["type"] = {"const": name}
    for part, kinds in (("sources", sources), ("sinks", list(sinks.values()))):
        root["properties"][part] = {
            "type": "object",
            "propertyNames": {"pattern": NAME},
            "additionalProperties": {"anyOf": [references[kind, "validation"] for kind in kinds]},
        }
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": definitions["$defs"]}
    for table in (document, *document["$defs"].values()):
        _allow_files(table)
    return document


def _config(entry: EntryPoint) -> type[SinkConfig]:
    try:
        return load_sink_type(entry).Config
    except Exception as error:  # a stranger's package may fail in any way while it is imported
        raise ImportError(not_loaded(entry, error)) from error


def _of(references: Any, definitions: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    found: dict[str, Any] = definitions["$defs"][references[model, "validation"]["$ref"].rpartition("/")[2]]
    return found


def _allow_files(table: dict[str, Any]) -> None:
    """Each secret `x` may stand in a file, `x_file`, or outside: then the table has neither."""
    properties: dict[str, Any] = table.get("properties", {})
    for name, kind in list(properties.items()):
        if any(one.get("format") == SECRET_FORMAT for one in (kind, *kind.get("anyOf", []))):
            properties[f"{name}_file"] = {"type": "string", "format": "path", "title": f"The file that holds {name}"}
            table["required"] = [other for other in table.get("required", []) if other != name]
