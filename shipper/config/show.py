"""The effective settings for `shipper config show`: as TOML, with every secret masked."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from shipper.config.problems import dotted, quoted
from shipper.config.settings import Settings
from shipper.secret import Secret

STARS = "**********"
_USER = re.compile(r"(?<=://)[^/\s]*@")
"""User and password in an address, for example of a proxy."""


def masked(settings: Settings) -> dict[str, Any]:
    """All settings with their defaults, as plain values. A secret shows where it comes from, never what it is."""
    tree = _plain(settings)
    assert isinstance(tree, dict)  # noqa: S101  a model becomes a dict
    return tree


def _plain(value: object) -> Any:
    if isinstance(value, Secret):
        return f"from file {value.path}" if value.path is not None else STARS
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        return {name: _plain(inner) for name, inner in fields.items() if inner is not None}
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if isinstance(value, bool | int | float):
        return value
    return _USER.sub(f"{STARS}@", str(value))


def to_toml(tree: Mapping[str, Any]) -> str:
    """The tree as TOML text, single values of a table before its nested tables."""
    return "\n".join(_lines(tree, ())).strip() + "\n"


def _lines(tree: Mapping[str, Any], at: tuple[str, ...]) -> Iterable[str]:
    for name, value in tree.items():
        if not isinstance(value, Mapping):
            yield f"{dotted((name,))} = {_literal(value)}"
    for name, value in tree.items():
        if isinstance(value, Mapping):
            key = (*at, name)
            if not value or not all(isinstance(inner, Mapping) for inner in value.values()):
                yield f"\n[{dotted(key)}]"
            yield from _lines(value, key)


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(_literal(inner) for inner in value)}]"
    return quoted(str(value))
