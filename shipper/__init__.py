"""The door for plugins: everything that a sink needs, and nothing else.

Names are loaded when they are first used, so that `shipper --help` does not wait for an HTTP library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shipper.event import Batch, Event, Origin
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

_HOMES = {
    "Answer": "shipper.http",
    "Batch": "shipper.event",
    "BatchLimits": "shipper.sink",
    "Event": "shipper.event",
    "Fatal": "shipper.sink",
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
    "Unavailable": "shipper.sink",
    "check_url": "shipper.sink",
    "rename_member": "shipper.shape.members",
    "replace_member": "shipper.shape.members",
    "retry_after_secs": "shipper.retry",
}

__all__ = [
    "Answer",
    "Batch",
    "BatchLimits",
    "Event",
    "Fatal",
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
    "Unavailable",
    "check_url",
    "rename_member",
    "replace_member",
    "retry_after_secs",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'shipper' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
