"""The daemon closes days in an archive with digests, and tells what it was started with."""

import json
from pathlib import Path
from typing import Any

import pytest
from daemon_case import SECRETS, TenantThread
from s3_case import Bucket
from test_lost_state import archiving

from shipper.config import load
from shipper.simulator.tenant import Tenant
from shipper.sources.start import synthetic_id
from shipper.started import changed_parts, line_of

CLIENT: dict[str, Any] = {"client_id": "canary-client", "client_secret": SECRETS["client_secret"], "plan": "none"}
DAY_MS = 86_400_000
NEWEST_MS = 1_795_000_000_000 // DAY_MS * DAY_MS


def event_of_day(day: int, number: int) -> bytes:
    """An event so many days before the newest day."""
    log_id = synthetic_id(NEWEST_MS - day * DAY_MS + number * 60_000)
    return json.dumps({"log_id": log_id, "date": "", "type": "s"}).encode()


def digests(bucket: Bucket) -> list[dict[str, Any]]:
    """Those of the archive, oldest first."""
    keys = sorted(bucket.keys())
    return [json.loads(bucket.get(key)["Body"]) for key in keys if "_digest/" in key]


@pytest.mark.usefixtures("aws")
def test_a_day_that_is_over_is_closed_with_a_digest(tmp_path: Path, bucket: Bucket) -> None:
    events = [event_of_day(day, number) for day in (2, 1, 0) for number in range(5)]
    with TenantThread(Tenant(events=events, retention_days=4000, **CLIENT)) as tenant:
        daemon = archiving(tmp_path, tenant, "http://127.0.0.1:9", bucket)
        daemon.start()
        daemon.until(lambda: len(digests(bucket)) >= 2, "no digest appears")
        daemon.stop()
    first, second = digests(bucket)[:2]
    assert first["events"] == second["events"] == 5
    assert second["previous"]


def test_a_changed_filter_or_redaction_is_told_at_the_next_start() -> None:
    before = "start version=1 sinks=aa filters=bb redaction=cc"
    assert changed_parts(before, "start version=2 sinks=dd filters=bb redaction=cc") == []
    assert changed_parts(before, "start version=1 sinks=aa filters=xx redaction=yy") == ["filters", "redaction"]
    assert changed_parts(None, before) == []


def test_a_rule_of_redaction_is_part_of_that_line_and_its_key_is_not(tmp_path: Path) -> None:
    def line(rules: str) -> str:
        source = '[sources.acme]\ntype = "auth0"\ndomain = "acme.us.auth0.com"\ntoken = "made-up"\n'
        sink = f'[sinks.console]\ntype = "stdout"\n[sinks.console.redact]\n{rules}\n'
        (tmp_path / "config.toml").write_text(source + sink)
        return line_of("start", load(tmp_path / "config.toml", {}))

    none, one = line(""), line('fields = { ip = "drop" }')
    assert changed_parts(none, one) == ["redaction"]
    keyed = [line(f'fields = {{ ip = "hmac" }}\nhmac_key = "{key}"') for key in ("first", "second")]
    assert changed_parts(one, keyed[0]) == ["redaction"]
    assert keyed[0] == keyed[1]
