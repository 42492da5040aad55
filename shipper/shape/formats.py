"""The formats of an event on its way out: each has its bytes in it, spliced, never decoded and encoded again."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from shipper.event import Event, Origin
from shipper.shape import envelope
from shipper.shape.ecs import ecs
from shipper.shape.glance import Glance, glance
from shipper.shape.ocsf import ocsf

Format = Literal["envelope", "raw", "ecs", "ocsf"]
FORMATS: tuple[Format, ...] = get_args(Format)

MAX_MAPPED_BYTES = 4096
"""Of what stands beside the event. Where it would be more, its texts are cut: the event itself has them whole."""
_CUTS = (1024, 256, 32)
"""Bytes of a text's UTF-8; by the last one all of them together fit, even where each byte has to be escaped."""

_MAPPED: Mapping[Format, Callable[[Event, Glance, Origin], dict[str, Any]]] = {"ecs": ecs, "ocsf": ocsf}


class _Layout(NamedTuple):
    """How a line begins that is not the event alone: head, id, follows; then up to `middle`, the event, `end`.

    None of them can begin within a text, where quotation marks are escaped.
    """

    head: bytes
    follows: bytes
    middle: bytes
    end: bytes


_LAYOUTS = (
    _Layout(b'{"log_id":', b',"data":', b',"data":', b"}"),
    _Layout(b'{"event":{"id":', b',"kind":"event",', b'":{"logs":{"data":', b"}}}"),
    _Layout(b'{"metadata":{"uid":', b',"version":"', b',"unmapped":', b"}"),
)
_text = re.compile(rb'"(?:[^"\\]|\\.)*"').match


def lines(format_: Format, events: Sequence[Event], source: Origin, *, add_tenant_name: bool = True) -> list[bytes]:
    """Each event as one line. add_tenant_name: as of `envelope`; ecs and ocsf have a field of their own for it."""
    match format_:
        case "raw":
            return [event.raw for event in events]
        case "envelope":
            tenant = source.tenant if add_tenant_name else ""
            return [envelope(event, tenant) for event in events]
        case "ecs":
            below = b',"%b":{"logs":{"data":' % source.type.encode()
            return [b"%b%b%b}}}" % (_beside(format_, event, source), below, event.raw) for event in events]
        case "ocsf":
            return [b'%b,"unmapped":%b}' % (_beside(format_, event, source), event.raw) for event in events]


def overhead(format_: Format) -> int:
    """At most so many bytes does a line have beyond the event's own and an envelope's."""
    return MAX_MAPPED_BYTES + 100 if format_ in _MAPPED else 0


def parts(line: bytes) -> tuple[str, bytes]:
    """The id and the event's bytes in a line, whatever its format. "": it is the event itself, which has its own."""
    for layout in _LAYOUTS:
        id_ = _text(line, len(layout.head)) if line.startswith(layout.head) else None
        if id_ is not None and line.startswith(layout.follows, id_.end()) and line.endswith(layout.end):
            middle = line.find(layout.middle, id_.end())
            if middle >= 0:
                return json.loads(id_[0]), line[middle + len(layout.middle) : -len(layout.end)]
    return "", line


def _beside(format_: Format, event: Event, source: Origin) -> bytes:
    """What stands beside the event: an object without its closing brace."""
    mapped = _pruned(_MAPPED[format_](event, glance(event), source))
    encoded = _encoded(mapped)
    for limit in _CUTS:
        if len(encoded) <= MAX_MAPPED_BYTES:
            break
        encoded = _encoded(_cut(mapped, limit, event.id))
    return encoded[:-1]


def _pruned(fields: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty, at any depth; a zero is not."""
    kept = {}
    for name, value in fields.items():
        within = _pruned(value) if isinstance(value, dict) else value
        if within or within == 0:
            kept[name] = within
    return kept


def _cut(value: Any, limit: int, id_: str) -> Any:
    """Its texts at most so long, but for the id."""
    if isinstance(value, dict):
        return {name: _cut(one, limit, id_) for name, one in value.items()}
    if isinstance(value, list):
        return [_cut(one, limit, id_) for one in value]
    if isinstance(value, str) and value != id_:
        return value.encode(errors="replace")[:limit].decode(errors="ignore")
    return value


def _encoded(value: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        # Half a surrogate pair has no UTF-8, only an escape.
        return json.dumps(value, separators=(",", ":")).encode()
