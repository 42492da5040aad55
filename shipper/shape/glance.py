"""What a person looks for in an event: who, from where, with what, and how it came out."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from shipper.event import Event
from shipper.shape.event_types import EventType, Outcome, event_type, outcome_of

# Numbers are only stepped over; building them would fail on very long ones.
_tolerant = json.JSONDecoder(strict=False, parse_int=len, parse_float=len)


class Glance(msgspec.Struct, frozen=True):
    """An event at a glance, "" for what it does not say. All but kind and outcome was written by strangers.

    users: every name of the person in it, the most readable one first. words: what happened, as the service says it.
    """

    kind: EventType
    outcome: Outcome
    users: tuple[str, ...]
    ip: str
    client: str
    words: str


def glance(event: Event) -> Glance:
    """Auth0's events have it on their outermost level, Logto's in `payload`; one that can't be read has nothing."""
    found = _object(event.raw)
    kind = event_type(event.type)
    outcome = outcome_of(kind, found)
    payload = found.get("payload")
    if isinstance(payload, dict):
        identifier = _mapping(_mapping(payload.get("params")).get("identifier"))
        users = _texts(identifier.get("value"), payload.get("userId"))
        error = payload.get("error")
        return Glance(
            kind,
            outcome,
            users,
            _first(payload.get("ip")),
            _first(payload.get("applicationId")),
            _first(_mapping(error).get("code"), _mapping(error).get("message"), error),
        )
    return Glance(
        kind,
        outcome,
        _texts(found.get("user_name"), found.get("user_id")),
        _first(found.get("ip")),
        _first(found.get("client_name"), found.get("client_id")),
        _first(found.get("description")),
    )


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        return _mapping(_tolerant.decode(raw.decode("utf-8", "surrogateescape")))
    except (ValueError, RecursionError):
        return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(*values: Any) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str) and value)


def _first(*values: Any) -> str:
    return next(iter(_texts(*values)), "")
