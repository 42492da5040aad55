"""A Datadog sink with made-up settings, and what stands in its bodies."""

import gzip
import json
from typing import Any

import msgspec

from shipper import Batch, Request
from shipper.testing import make_batch, make_events
from sinks.datadog import OLDEST_MS, Datadog

DAY_MS = 86_400_000


def make_sink(**settings: Any) -> Datadog:
    return Datadog(Datadog.Config(**{"api_key": "made-up-key", **settings}))


def entries(body: bytes | Request) -> list[dict[str, Any]]:
    """The entries of a body, or of a compressed request."""
    parsed = json.loads(gzip.decompress(body.body) if isinstance(body, Request) else body)
    assert isinstance(parsed, list)
    return parsed


def aged(count: int, days: float = 7, **members: Any) -> Batch:
    """A batch of made-up events that is written so many days after the last of them."""
    events = make_events(count)
    return msgspec.structs.replace(make_batch(events), now=events[-1].time + int(days * DAY_MS))


def just_within(batch: Batch) -> Batch:
    """The batch as it is written when its first event is exactly as old as Datadog may see it."""
    return msgspec.structs.replace(batch, now=batch.events[0].time + OLDEST_MS)
