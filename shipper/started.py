"""The line that each start and reload leaves in the audit list: the version, and digests of what events pass through.

An auditor sees with it since when a filter or a redaction has been what it is. A digest holds no secret: those are left
out before it is made.
"""

import hashlib
import json
from importlib.metadata import version
from typing import Any

from shipper.config import Settings, masked

START, RELOAD = "start", "reload"
WARNED = ("filters", "redaction")


def line_of(what: str, settings: Settings) -> str:
    """`start version=… sinks=… filters=… redaction=…`, each digest the first 16 hex digits of a SHA-256."""
    sinks: dict[str, dict[str, Any]] = masked(settings)["sinks"]
    parts = {
        "sinks": sinks,
        "filters": _set_in(sinks, "filter"),
        "redaction": _set_in(sinks, "redact"),
    }
    digests = " ".join(f"{name}={_digest(part)}" for name, part in parts.items())
    return f"{what} version={version('identity-log-shipper')} {digests}"


def _set_in(sinks: dict[str, dict[str, Any]], section: str) -> dict[str, Any]:
    """Of the sinks that have anything in this section: a sink without changes nothing when it comes or goes."""
    return {name: sink[section] for name, sink in sinks.items() if any((sink.get(section) or {}).values())}


def changed_parts(before: str | None, now: str) -> list[str]:
    """Which of the parts that change what is delivered are others than in the line before."""
    old, new = _parts(before or now), _parts(now)
    return [part for part in WARNED if old.get(part) != new[part]]


def _parts(line: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


def _digest(part: Any) -> str:
    return hashlib.sha256(json.dumps(part, sort_keys=True, default=str).encode()).hexdigest()[:16]
