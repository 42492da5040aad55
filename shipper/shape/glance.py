"""What a person or another schema looks for in an event: who, from where, with what, and how it came out."""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

import msgspec

from shipper.event import Event
from shipper.shape.event_types import EventType, Outcome, event_type, outcome_of
from shipper.shape.members import object_in

REMEMBERED = 1024


class Glance(msgspec.Struct, frozen=True):
    """An event at a glance, "" for what it does not say. All but kind and outcome was written by strangers.

    user_id, user_name, email: whom it is about. client_id, client_name: the application. host: where it took place.
    session: the login session's id. method, path, status: the request that it tells of and the status of its answer,
    None where it names none. words: what happened, error: what went wrong, both as the service says it.
    schema: the version of the event's own schema.
    """

    kind: EventType
    outcome: Outcome
    user_id: str = ""
    user_name: str = ""
    email: str = ""
    ip: str = ""
    user_agent: str = ""
    client_id: str = ""
    client_name: str = ""
    host: str = ""
    session: str = ""
    method: str = ""
    path: str = ""
    status: int | None = None
    words: str = ""
    error: str = ""
    schema: str = ""

    @property
    def users(self) -> tuple[str, ...]:
        """Every name of the person in it, the most readable one first."""
        return _texts(self.user_name, self.user_id)

    @property
    def client(self) -> str:
        """The application, by its most readable name."""
        return self.client_name or self.client_id

    @property
    def address(self) -> str:
        """`ip`, where it is an address that any other program takes for one; else ""."""
        return _address_in(self.ip)


def glance(event: Event) -> Glance:
    """Auth0's events have it on their outermost level, Logto's in `payload`; one that can't be read has nothing."""
    found = object_in(event.raw)
    kind = event_type(event.type)
    outcome = outcome_of(kind, found)
    payload = found.get("payload")
    return _of_logto(kind, outcome, payload) if isinstance(payload, dict) else _of_auth0(kind, outcome, found)


def _of_auth0(kind: EventType, outcome: Outcome, event: Mapping[str, Any]) -> Glance:
    details = _mapping(event.get("details"))
    request, response = _mapping(details.get("request")), _mapping(details.get("response"))
    user = _mapping(_mapping(request.get("auth")).get("user"))
    error = details.get("error")
    return Glance(
        kind,
        outcome,
        user_id=_first(event.get("user_id"), user.get("user_id")),
        user_name=_first(event.get("user_name"), user.get("name")),
        email=_first(user.get("email")),
        ip=_first(event.get("ip"), request.get("ip")),
        user_agent=_first(event.get("user_agent"), request.get("userAgent")),
        client_id=_first(event.get("client_id")),
        client_name=_first(event.get("client_name")),
        host=_first(event.get("hostname")),
        session=_first(event.get("session_id"), details.get("session_id")),
        method=_first(request.get("method")).upper(),
        path=_first(request.get("path")),
        status=_status(response.get("statusCode")),
        words=_first(event.get("description")),
        error=_first(_mapping(error).get("message"), error),
        schema=_first(_mapping(event.get("$event_schema")).get("version")),
    )


def _of_logto(kind: EventType, outcome: Outcome, payload: Mapping[str, Any]) -> Glance:
    identifier = _mapping(_mapping(payload.get("params")).get("identifier"))
    name = _first(identifier.get("value"))
    error = payload.get("error")
    words = _first(_mapping(error).get("code"), _mapping(error).get("message"), error)
    return Glance(
        kind,
        outcome,
        user_id=_first(payload.get("userId")),
        user_name=name,
        email=name if identifier.get("type") == "email" else "",
        ip=_first(payload.get("ip")),
        user_agent=_first(payload.get("userAgent")),
        client_id=_first(payload.get("applicationId")),
        session=_first(payload.get("sessionId")),
        words=words,
        error=words,
    )


@lru_cache(REMEMBERED)
def _address_in(text: str) -> str:
    try:
        return "" if "%" in text else str(ip_address(text))
    except ValueError:
        return ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(*values: Any) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str) and value)


def _first(*values: Any) -> str:
    return next(iter(_texts(*values)), "")


def _status(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599 else None
