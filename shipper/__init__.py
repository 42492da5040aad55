"""The door for plugins: everything that a sink needs, and nothing else.

Names are loaded when they are first used, so that `shipper --help` does not wait for an HTTP library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shipper.archive import Archive, Damaged, Found, Stored
    from shipper.event import LONGEST, LONGEST_ID, Batch, Event, Origin
    from shipper.http import Answer, HttpClient
    from shipper.reasons import Reason
    from shipper.retry import retry_after_secs
    from shipper.secret import Secret
    from shipper.shape.members import rename_member, replace_member
    from shipper.sink import (
        BatchLimits,
        Fatal,
        HttpSink,
        Rejected,
        Request,
        RequestLimits,
        Sink,
        SinkConfig,
        Unavailable,
        check_url,
    )
    from shipper.tls import tls_trouble

_HOMES = {
    "LONGEST": "shipper.event",
    "LONGEST_ID": "shipper.event",
    "Answer": "shipper.http",
    "Archive": "shipper.archive",
    "Batch": "shipper.event",
    "BatchLimits": "shipper.sink",
    "Damaged": "shipper.archive",
    "Event": "shipper.event",
    "Fatal": "shipper.sink",
    "Found": "shipper.archive",
    "HttpClient": "shipper.http",
    "HttpSink": "shipper.sink",
    "Origin": "shipper.event",
    "Reason": "shipper.reasons",
    "Rejected": "shipper.sink",
    "Request": "shipper.sink",
    "RequestLimits": "shipper.sink",
    "Secret": "shipper.secret",
    "Sink": "shipper.sink",
    "SinkConfig": "shipper.sink",
    "Stored": "shipper.archive",
    "Unavailable": "shipper.sink",
    "check_url": "shipper.sink",
    "rename_member": "shipper.shape.members",
    "replace_member": "shipper.shape.members",
    "retry_after_secs": "shipper.retry",
    "tls_trouble": "shipper.tls",
}

__all__ = [
    "LONGEST",
    "LONGEST_ID",
    "Answer",
    "Archive",
    "Batch",
    "BatchLimits",
    "Damaged",
    "Event",
    "Fatal",
    "Found",
    "HttpClient",
    "HttpSink",
    "Origin",
    "Reason",
    "Rejected",
    "Request",
    "RequestLimits",
    "Secret",
    "Sink",
    "SinkConfig",
    "Stored",
    "Unavailable",
    "check_url",
    "rename_member",
    "replace_member",
    "retry_after_secs",
    "tls_trouble",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'shipper' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
