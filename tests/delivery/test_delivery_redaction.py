"""Lanes whose sinks redact: what arrives, and what becomes of an event that can't be redacted."""

import hmac
import json
from pathlib import Path

import pytest
from replay_case import START_MS, Scene, hours_of_events, id_at, scene
from s3_case import Bucket

from shipper.event import Event, Page
from shipper.replay.names import source_named

pytestmark = pytest.mark.usefixtures("aws")

RULES = 'redact.fields = { "user_name" = "hmac", "ip" = "drop" }\nredact.hmac_key_file = "hmac_key"\n'
NO_OBJECT = b'["nothing to name a field in"]'


def personal(raw: bytes) -> bytes:
    """The event with a person in it."""
    return raw.replace(b'"type":"s"', b'"type":"s","user_name":"ada","ip":"203.0.113.7"')


async def store_what_is_no_object(one: Scene) -> None:
    """Behind what the tenant has."""
    config = source_named(one.settings, "acme")
    handle, _ = await one.journal.source("acme", config.tenant_key)
    figures = handle.figures
    assert figures.checkpoint is not None
    assert figures.horizon is not None
    event = Event(id_at(3 * 3600), START_MS + 3 * 3_600_000, "", "", NO_OBJECT)
    await handle.append(Page([event], figures.checkpoint, figures.horizon))


async def test_only_what_may_leaves_and_what_can_t_be_judged_is_a_dead_letter(tmp_path: Path, bucket: Bucket) -> None:
    (tmp_path / "hmac_key").write_text("made-up\n")
    events = hours_of_events(2, 30)
    pseudonym = "hmac:" + hmac.digest(b"made-up", b"ada", "sha256").hex()
    async with scene(tmp_path, bucket, list(map(personal, events))) as one:
        one.settings = one.configured(more=RULES, archive=RULES)
        await one.fill()
        await store_what_is_no_object(one)
        for sink in ("siem", "archive"):
            await one.deliver(sink)
        expected = [{**json.loads(raw), "user_name": pseudonym} for raw in events]
        assert [json.loads(raw) for raw in one.siem.events] == expected
        assert sorted(map(json.loads, one.archived()), key=lambda event: str(event["log_id"])) == expected
        dead = await one.journal.dead_letters()
        assert [(letter.sink, letter.reason, letter.raw) for letter in dead] == [
            ("siem", "redaction", NO_OBJECT),
            ("archive", "redaction", NO_OBJECT),
        ]
