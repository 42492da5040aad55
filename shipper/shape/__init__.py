"""What an event looks like on its way out. Bytes are spliced, never decoded and encoded again."""

import json
import re

import msgspec

from shipper.event import Event


class _Tenant(msgspec.Struct):
    tenant_name: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_tenant_name = msgspec.json.Decoder(_Tenant)
_tail_with_tenant_name = re.compile(
    rb',"tenant_name":"[^"\\]*"(?:,"[^"\\]*":(?:"[^"\\]*"|[a-z0-9.eE+-]+))*\}'
).fullmatch
"""From the key to the event's end there are plain members only, so it is the event's own: Auth0 writes it there."""


def envelope(event: Event, tenant: str = "") -> bytes:
    """`{"log_id": …, "data": {the event}}`, the shape of Auth0's own log streams, as one line.

    tenant: put into `data` as `tenant_name` where the event has none, since detections filter on it; "" for never.
    """
    # Only `json.dumps` takes any id: half a surrogate pair, from a text cut in the middle, has no UTF-8 form.
    id_ = event.id.encode() if event.id.isalnum() and event.id.isascii() else json.dumps(event.id)[1:-1].encode()
    raw = with_tenant_name(event.raw, tenant) if tenant else event.raw
    return b'{"log_id":"%b","data":%b}' % (id_, raw)


def with_tenant_name(raw: bytes, tenant: str) -> bytes:
    """The event with `tenant_name` in front, unless it has one or is no JSON object."""
    if not raw.startswith(b"{") or _has_tenant_name(raw):
        return raw
    rest = raw[1:].lstrip()
    comma = b"" if rest.startswith(b"}") else b","
    return b'{"tenant_name":%b%b%b' % (msgspec.json.encode(tenant), comma, rest)


def _has_tenant_name(raw: bytes) -> bool:
    # From behind, since it stands near the end; parsing every event to know would cost as much as all else here.
    at = raw.rfind(b'"tenant_name"')
    if at < 0:
        return False
    if _tail_with_tenant_name(raw, at - 1):
        return True
    try:
        return _tenant_name.decode(raw).tenant_name is not msgspec.UNSET
    except (msgspec.MsgspecError, RecursionError):
        return True
