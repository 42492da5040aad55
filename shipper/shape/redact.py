"""What leaves this machine otherwise than it came: an address cut, a name as a pseudonym, a field not at all.

Pseudonyms are HMAC-SHA256 (RFC 2104) with a key that only its owner has: plain hashes of addresses and phone numbers
are found again by trying them all.
"""

import hmac
from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from ipaddress import ip_address, ip_network
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from shipper.secret import Secret
from shipper.shape.members import Change, Changes, change_members, text_of

Method = Literal["truncate", "hmac", "drop"]
PSEUDONYM = b"hmac:"
LONGEST = len(PSEUDONYM) + 2 * sha256().digest_size + len('""')
"""Bytes of what may take a value's place."""
KEPT = frozenset({"log_id", "_id", "id", "date", "createdAt", "type", "key"})
"""What every destination is told beside the event, too: which one it is, when, and of what type."""
_NETWORKS = {4: 24, 6: 48}


class Redact(BaseModel):
    """`[sinks.NAME.redact]`. fields: a field, by its path with dots, and what becomes of it; in lists, in each element.

    truncate: an address becomes its network (/24, for IPv6 /48), and what is no address becomes null. hmac: a
    pseudonym, the same one for the same value. drop: the field is left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    fields: dict[str, Method] = {}
    hmac_key: Secret | None = None

    @field_validator("fields")
    @classmethod
    def _paths_can_be_followed(cls, fields: dict[str, Method]) -> dict[str, Method]:
        for path in fields:
            if not all(path.split(".")):
                raise ValueError("must name fields like user_name or details.request.body")
            if path in KEPT:
                raise ValueError("must not name an event's id, time or type: they leave beside the event, too")
            if any(other.startswith(f"{path}.") for other in fields):
                raise ValueError("must not name a field and another one within it")
        return fields

    @model_validator(mode="after")
    def _pseudonyms_have_a_key(self) -> Self:
        if "hmac" in self.fields.values() and self.hmac_key is None:
            raise ValueError("hmac_key or hmac_key_file must be set: without a key a pseudonym is none")
        return self

    @property
    def growth(self) -> int:
        """At most so many bytes does an event grow by it, unless a list has several values in its place."""
        return LONGEST * len(self.fields)

    def apply(self, raw: bytes) -> bytes:
        """The event as it may leave. Raises ValueError where its members can't be told apart, OSError without a key."""
        return change_members(raw, self._changes)

    @cached_property
    def _changes(self) -> Changes:
        methods: Mapping[Method, Change] = {"truncate": _network, "hmac": self._pseudonym, "drop": lambda _: None}
        changes: dict[str, Any] = {}
        for path, method in self.fields.items():
            *above, name = path.split(".")
            within = changes
            for one in above:
                within = within.setdefault(one, {})
            within[name] = methods[method]
        return changes

    def _pseudonym(self, value: bytes) -> bytes:
        """Of a text without its quotation marks and escapes, so that whoever has the key can find it again."""
        if self.hmac_key is None or value in (b"null", b'""'):
            return value
        meant = text_of(value).encode("utf-8", "surrogatepass") if value.startswith(b'"') else value
        return b'"%b%b"' % (PSEUDONYM, hmac.digest(self.hmac_key.get().encode(), meant, "sha256").hex().encode())


def _network(value: bytes) -> bytes:
    try:
        address = ip_address(text_of(value))
        network = ip_network((address, _NETWORKS[address.version]), strict=False)
    except ValueError:
        return b"null"
    return b'"%b"' % str(network.network_address).encode()
