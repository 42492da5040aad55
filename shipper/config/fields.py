"""Which keys a settings model has, and how the file and the environment spell them."""

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from shipper.config.problems import Key
from shipper.secret import Secret

PREFIX = "SHIPPER_"
NESTED = "__"


def table_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a nested table, where the field is one."""
    for kind in _alternatives(field.annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def is_secret(field: FieldInfo) -> bool:
    """Whether its value must never be shown, and may stand in a file of its own."""
    return Secret in _alternatives(field.annotation)


def is_list(field: FieldInfo) -> bool:
    """Whether a variable holds it as items between commas."""
    kinds = (get_origin(kind) or kind for kind in _alternatives(field.annotation))
    return any(kind in (list, tuple, set, frozenset) for kind in kinds)


def is_path(field: FieldInfo) -> bool:
    """Whether it names a file, so that a relative one has to be resolved."""
    return Path in _alternatives(field.annotation)


def _alternatives(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _alternatives(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [kind for part in get_args(annotation) for kind in _alternatives(part)]
    return [annotation]


def names_in(model: type[BaseModel]) -> list[str]:
    """What may be written in this table: its fields, and `x_file` beside each secret `x`."""
    names = []
    for name, field in model.model_fields.items():
        names.append(name)
        if is_secret(field):
            names.append(f"{name}_file")
    return names


def keys_in(model: type[BaseModel], prefix: Key = ()) -> Iterator[Key]:
    """Every single setting of the model and of its nested tables, at whatever depth."""
    for name in names_in(model):
        field = model.model_fields.get(name)
        table = table_of(field) if field is not None else None
        if table is not None:
            yield from keys_in(table, (*prefix, name))
        else:
            yield (*prefix, name)


def variable(key: Key) -> str:
    """The environment's name for a setting: SHIPPER_SINKS__SIEM__BATCH__MAX_EVENTS."""
    return PREFIX + NESTED.join(key).upper()
