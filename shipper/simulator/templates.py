"""Events as templates: compact JSON with gaps, filled by one formatting operation, so that an event costs little.

The order of keys is the one in which the API has been recorded to answer: log_id near the end, then _id, isMobile.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from shipper.simulator.event_types import EVENT_TYPES
from shipper.simulator.people import ACTOR
from shipper.simulator.shapes import SHAPES

__all__ = ["EVENT", "VARIANTS", "Picker", "Template", "template"]

# What `Generated.raw` adds to the values of a flow, in its order.
EVENT = ("date", "log_id", "jti", "trace", "ms", "epoch")
VARIANTS = 20

Picker = Callable[[tuple[bytes, ...]], tuple[bytes, ...]]
Template = tuple[bytes, Picker]

_GAP = re.compile(r'"«#(\w+)»"|«(\w+)»')
_PLACE = {name: index for index, name in enumerate(ACTOR + EVENT)}
_SDK = {"name": "auth0-spa-js", "version": "2.4.1", "env": {"browser": "«locale»"}}


def template(code: str, v: int, domain: str) -> Template:
    """(format, picker): `format % picker(values)` is the event's JSON. `v` in range(VARIANTS) varies it."""
    text = json.dumps(_event(code, v, domain), ensure_ascii=False, separators=(",", ":")).replace("%", "%%")
    gaps = [_PLACE[first or second] for first, second in _GAP.findall(text)]
    return _GAP.sub("%b", text).encode(), itemgetter(*gaps)


def _event(code: str, v: int, domain: str) -> dict[str, Any]:
    of_type = EVENT_TYPES[code]
    shape = SHAPES[of_type.shape]
    details = shape.details(v)
    event: dict[str, Any] = {"date": "«date»", "type": code, "description": of_type.description}
    if not of_type.description and v % 3 == 2:
        event["description"] = None
    if "c" in shape.parts:
        event |= {"connection": "«connection»", "connection_id": "«connection_id»"}
    event |= _client(shape.parts, v)
    if details is not None:
        event["details"] = details
    if v % 3 != 1:
        event["hostname"] = domain
    event |= _user(shape.parts, v) | _context(shape.parts, v)
    return event | {
        "$event_schema": {"version": "1.0.0"}, "environment_name": "prod-us-1", "log_id": "«log_id»",
        "tenant_name": domain.partition(".")[0], "_id": "«log_id»",
        "isMobile": "«#mobile»" if "u" in shape.parts else False,
    }  # fmt: skip


def _client(parts: str, v: int) -> dict[str, Any]:
    if "m" in parts:
        return {"client_id": "«machine_id»", "client_name": "«machine_name»", "ip": "«ip»",
                "user_agent": "Other 0.0.0 / Other 0.0.0"}  # fmt: skip
    if not parts:
        return {"client_id": None, "ip": "«ip»"} if v % 2 else {}
    return {"client_id": "«client_id»", "client_name": "«client_name»", "ip": "«ip»", "user_agent": "«user_agent»"}


def _user(parts: str, v: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if "u" in parts:
        fields |= {"user_id": "«user_id»", "user_name": "«email»"}
    if "t" in parts:
        scopes = ["openid", "profile", "email", "offline_access"][: 2 + v % 3]
        fields |= {"audience": "https://api.example.com/", "scope": scopes if v % 2 else " ".join(scopes)}
    if "c" in parts:
        fields |= {"strategy": "«strategy»", "strategy_type": "«strategy_type»"}
    if "o" in parts and v % 4 == 0:
        fields |= {"organization_id": "«organization_id»", "organization_name": "«organization_name»"}
    return fields


def _context(parts: str, v: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if parts and v % 5 < 3:
        fields["auth0_client"] = [_SDK] if v % 5 == 2 else _SDK
    if "x" in parts:
        fields["security_context"] = {"ja3": "«ja3»"} if v % 4 == 3 else {"ja3": "«ja3»", "ja4": "«ja4»"}
    if "l" in parts and v % 5:
        fields["location_info"] = {
            "country_code": "«country_code»", "country_name": "«country»",
            "city_name": "«city»", "latitude": "«#latitude»", "longitude": "«#longitude»",
            "time_zone": "«time_zone»", "continent_code": "«continent»",
        }  # fmt: skip
    return fields
