"""The file with credentials and the environment laid over it: the one source of values that Settings has."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from shipper.config.environment import Environment
from shipper.config.explain import explain
from shipper.config.fields import is_list, is_path, is_secret, keys_in, table_of
from shipper.config.files import Files
from shipper.config.kinds import Kinds
from shipper.config.problems import Key, Problems
from shipper.config.settings import Settings

PARTS = ("sources", "sinks")
DEFAULT_STATE_DIR = "/var/lib/shipper"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")

Tree = dict[str, Any]


class Layers(PydanticBaseSettingsSource):
    """Merges the layers and builds each source's and sink's settings by the model of its type.

    What is wrong is noted in `out`; a source or sink with a problem is then missing from `built`.
    """

    def __init__(self, tree: Tree, file: Path, environ: Mapping[str, str], kinds: Kinds, out: Problems) -> None:
        super().__init__(Settings)
        self._out = out
        self.built: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
        self.named: dict[str, set[str]] = {part: set() for part in PARTS}
        """Every name that the file has, also of those with a problem."""
        tables = {part: self._tables(part, tree.get(part, {})) for part in PARTS}
        env = Environment(environ)
        models = self._models(tables, kinds, env)
        known = [key for name in Settings.model_fields if name not in PARTS for key in _keys_at(name)]
        known += [key for (part, name), model in models.items() for key in keys_in(model, (part, name))]
        unjudged = [(part, name) for part in PARTS for name in self.named[part] if (part, name) not in models]
        self._overlay = env.overlay(known, unjudged, self.named, out)
        credentials = environ.get("CREDENTIALS_DIRECTORY")
        self._files = Files(file.parent, Path(credentials) if credentials else None, self._overlay, out)
        own = {key: value for key, value in tree.items() if key not in PARTS}
        self._state = self._merged(Settings, (), own, skip=PARTS)
        self._state["state_dir"] = self._state_dir(environ, self._state.get("state_dir"))
        for (part, name), model in models.items():
            self._build(part, name, model, tables[part][name])

    def __call__(self) -> Tree:
        """Everything at once, which is all that the library asks for."""
        return {**self._state, **self.built}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """One field's value: the library demands this method and doesn't use it."""
        del field
        return self().get(field_name), field_name, False

    def _tables(self, part: str, found: object) -> dict[str, Tree]:
        if not isinstance(found, dict):
            self._out.add((part,), f"must be a table of tables: [{part}.NAME]")
            return {}
        tables = {}
        for name, table in found.items():
            self.named[part].add(name)
            if not _NAME.fullmatch(name) or "__" in name:
                rule = 'a small letter, then up to 30 small letters, digits and "_", without "__"'
                self._out.add((part, name), f"the name of a {part[:-1]} must be {rule}")
            elif not isinstance(table, dict):
                self._out.add((part, name), f"must be one table: [{part}.{name}]")
            else:
                tables[name] = table
        return tables

    def _models(
        self, tables: Mapping[str, Mapping[str, Tree]], kinds: Kinds, env: Environment
    ) -> dict[tuple[str, str], type[BaseModel]]:
        models = {}
        for part in PARTS:
            for name, table in tables[part].items():
                kind = env.value((part, name, "type")) or table.get("type")
                if (model := kinds.model(part, name, kind)) is not None:
                    models[part, name] = model
        return models

    def _build(self, part: str, name: str, model: type[BaseModel], table: Tree) -> None:
        before = len(self._out.lines)
        merged = self._merged(model, (part, name), table)
        try:
            built = model.model_validate(merged)
        except ValidationError as error:
            explain(error, model, (part, name), self._out)
        else:
            if len(self._out.lines) == before:
                self.built[part][name] = built

    def _merged(self, model: type[BaseModel], at: Key, table: Tree, skip: tuple[str, ...] = ()) -> Tree:
        """The table's values from all layers. Keys that the model doesn't know stay, for the model to refuse."""
        merged, taken = {}, set(skip)
        for name, field in model.model_fields.items():
            if name in skip:
                continue
            taken.add(name)
            key = (*at, name)
            value: object
            if is_secret(field):
                taken.add(f"{name}_file")
                value = self._files.secret(key, table)
            elif (nested := table_of(field)) is not None:
                value = self._nested(nested, field, key, table.get(name, {}))
            else:
                value = self._single(field, key, table.get(name))
            if value is not None:
                merged[name] = value
        return merged | {name: value for name, value in table.items() if name not in taken}

    def _nested(self, model: type[BaseModel], field: FieldInfo, key: Key, table: object) -> object:
        if not isinstance(table, dict):
            return table
        merged = self._merged(model, key, table)
        default = field.get_default(call_default_factory=True, validated_data={})
        if not merged or not isinstance(default, BaseModel):
            return merged or None
        # A sink's own defaults for a table hold for those of its keys that are not written, too.
        return {name: getattr(default, name) for name in default.model_fields_set} | merged

    def _single(self, field: FieldInfo, key: Key, value: object) -> object:
        if key in self._overlay:
            value = self._overlay[key]
            if is_list(field):
                value = [item.strip() for item in self._overlay[key].split(",") if item.strip()]
        if is_path(field) and isinstance(value, str):
            return self._files.resolve(value) if value else None
        return value

    def _state_dir(self, environ: Mapping[str, str], configured: object) -> object:
        """SHIPPER_STATE_DIR, else the file's, else systemd's StateDirectory= (it lists several with colons)."""
        if environ.get("SHIPPER_STATE_DIR"):
            return self._files.resolve(environ["SHIPPER_STATE_DIR"])
        first = environ.get("STATE_DIRECTORY", "").split(":")[0]
        return configured if configured is not None else Path(first or DEFAULT_STATE_DIR)


def _keys_at(name: str) -> list[Key]:
    model = table_of(Settings.model_fields[name])
    return list(keys_in(model, (name,))) if model is not None else []
