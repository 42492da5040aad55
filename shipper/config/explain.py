"""A model's complaints as plain sentences: the library's own words quote the values, so they are never shown."""

from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from shipper.config.fields import is_secret, names_in, table_of, variable
from shipper.config.problems import Key, Problems, but, dotted, nearest, shown

_SENTENCES = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be a string in quotes",
    "path_type": "must be a path in quotes",
    "list_type": 'must be a list like ["a", "b"]',
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
}
_TABLES = {"dict_type", "mapping_type", "model_type", "model_attributes_type"}


def explain(error: ValidationError, model: type[BaseModel], prefix: Key, out: Problems) -> None:
    """Notes each complaint about a table that `model` refused; the table stands at `prefix`."""
    for complaint in error.errors(include_url=False):
        inner, field, owner, item = _place(model, complaint["loc"])
        key = (*prefix, *inner)
        if complaint["type"] == "extra_forbidden":
            out.add(key, _unknown(key, owner))
        elif complaint["type"] == "missing":
            out.add(key, _missing(key, field))
        elif field is not None and is_secret(field):
            out.add(key, "is no valid secret of this kind")
        else:
            out.add(key, item + _sentence(complaint, key))


def _place(model: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[Key, FieldInfo | None, type[BaseModel], str]:
    """The key inside the table, its field (None: not known), the model around it, and which item of a list it is."""
    key: Key = ()
    field = None
    for depth, part in enumerate(loc):
        if not isinstance(part, str):
            break
        key, field = (*key, part), model.model_fields.get(part)
        nested = table_of(field) if field is not None else None
        if nested is None:
            # What follows in the location is no key but an item's number, or the tag of an alternative.
            item = next((f"item {at + 1} " for at in loc[depth + 1 :] if isinstance(at, int)), "")
            return key, field, model, item
        if depth + 1 < len(loc):
            model = nested
    return key, field, model, ""


def _unknown(key: Key, model: type[BaseModel]) -> str:
    names = names_in(model)
    near = nearest(key[-1], names)
    return f"is not a setting{near}" if near else f"is not a setting here; known: {', '.join(names)}"


def _missing(key: Key, field: FieldInfo | None) -> str:
    if field is None or not is_secret(field):
        return "is missing: add it"
    name = key[-1]
    return f"is missing: add {name}_file or {name}, or set {variable(key)}, or give a credential named {dotted(key)}"


def _sentence(complaint: Any, key: Key) -> str:
    kind, context = complaint["type"], complaint.get("ctx", {})
    if kind in ("value_error", "assertion_error"):
        # Words of our own validators, or a plugin's; the value follows where it may.
        value = shown(complaint["input"])
        return f"{context.get('error', 'is not valid')}{f' (here: {value})' if value else ''}"
    if kind == "literal_error":
        return f"must be one of {context['expected']}".replace("'", '"') + but(complaint["input"])
    if kind in _TABLES:
        return f"must be a table: [{dotted(key)}]"
    if kind in _SENTENCES:
        bounds = {name: int(bound) if _is_whole(bound) else bound for name, bound in context.items()}
        return _SENTENCES[kind].format(**bounds) + but(complaint["input"])
    return f"is not valid ({kind})"


def _is_whole(bound: object) -> bool:
    return isinstance(bound, float) and bound.is_integer()
