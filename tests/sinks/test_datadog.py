import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from datadog_api_client import ApiClient, Configuration
from datadog_api_client.v2.api.logs_api import LogsApi
from datadog_api_client.v2.model.content_encoding import ContentEncoding
from datadog_case import DAY_MS, entries, make_sink
from golden_batch import golden_batch
from pydantic import ValidationError

from shipper import Answer, Batch, Event, Rejected, Secret, Unavailable
from shipper.shape.formats import Format, lines
from shipper.testing import (
    Destination,
    Received,
    Reply,
    SinkContract,
    make_answer,
    make_batch,
    make_event,
    make_events,
    odd_events,
)
from sinks.datadog import Datadog
from sinks.datadog_site import INTAKE, address_of

OK = Reply(202, b"{}", {"Content-Type": "application/json"})


class Entry(msgspec.Struct):
    log_id: msgspec.Raw
    data: msgspec.Raw


class TestContract(SinkContract):
    sink_type = Datadog
    secret = "api_key"
    success = OK
    status_is_enough = True

    def settings(self, url: str) -> dict[str, Any]:
        return {"type": "datadog", "url": url}

    def arrived(self, request: Received) -> Sequence[bytes]:
        found = msgspec.json.decode(request.body, type=list[Entry])
        return [b'{"log_id":%b,"data":%b}' % (bytes(entry.log_id), bytes(entry.data)) for entry in found]


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    return make_answer(Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()}))


def judged(status: int, body: bytes = b"", **headers: str) -> Unavailable | Rejected:
    with pytest.raises((Unavailable, Rejected)) as caught:
        make_sink().judge(make_batch(), answer(status, body, **headers))
    assert isinstance(caught.value, Unavailable | Rejected)
    return caught.value


# What is written


def test_posts_gzip_to_the_sites_intake_with_the_key() -> None:
    request = make_sink(site="datadoghq.eu").request(make_batch())
    assert (request.method, request.url) == ("POST", "https://http-intake.logs.datadoghq.eu/api/v2/logs")
    assert request.headers == {
        "DD-API-KEY": "made-up-key",
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
    }
    assert gzip.decompress(request.body) == make_sink().body(make_batch())


def test_an_address_of_ones_own_takes_the_place_of_the_sites() -> None:
    assert (
        make_sink(url="https://logs.example:8282/").request(make_batch()).url == "https://logs.example:8282/api/v2/logs"
    )


def test_the_same_batch_gives_the_same_bytes() -> None:
    body = make_sink().request(make_batch()).body
    assert body == make_sink().request(make_batch()).body
    assert body[4:8] == bytes(4), "gzip's time of the file (RFC 1952) tells one attempt from another"


@pytest.mark.parametrize(("file", "later"), [("datadog.txt", 0), ("datadog_late.txt", 7 * DAY_MS)])
def test_body_equals_the_golden_file(golden: Path, file: str, later: int) -> None:
    batch = golden_batch()
    body = make_sink(tags=["env:prod"], service="identity").body(msgspec.structs.replace(batch, now=batch.now + later))
    assert body == (golden / file).read_bytes()


def test_an_entry_has_what_datadogs_auth0_pipeline_and_anyone_elses_look_for() -> None:
    [entry] = entries(make_sink(tags=["env:prod", "team:iam"]).body(make_batch([make_event(5)])))
    assert entry == {
        "ddsource": "auth0",
        "ddtags": "tenant:acme,env:prod,team:iam",
        "hostname": "acme.us.auth0.com",
        "service": "auth0",
        "timestamp": 1_767_225_605_123,
        "log_id": make_event(5).id,
        "data": {"tenant_name": "acme", **json.loads(make_event(5).raw)},
    }


def test_the_raw_format_keeps_the_event_below_data_where_it_collides_with_nothing() -> None:
    event = make_event(5, hostname="acme.example", message="hello")
    body = make_sink(format="raw").body(make_batch([event]))
    assert body.endswith(b',"data":%b}]' % event.raw)
    [entry] = entries(body)
    assert set(entry) == {"ddsource", "ddtags", "hostname", "service", "timestamp", "data"}
    assert entry["hostname"] == "acme.us.auth0.com"


@pytest.mark.parametrize("format_", ["ecs", "ocsf"])
def test_other_schemas_stay_below_their_own_name(format_: Format) -> None:
    """Datadog reserves `message` and `@timestamp` on the outermost level, and has OCSF below `ocsf` itself."""
    [entry] = entries(make_sink(format=format_).body(make_batch([make_event(5)])))
    assert set(entry) == {"ddsource", "ddtags", "hostname", "service", "timestamp", format_}
    assert entry[format_] == json.loads(lines(format_, [make_event(5)], make_batch(1).source)[0])


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2026-01-02T03:04:05.678Z", 1_767_323_045_678),
        ("2026-01-02T05:04:05.678+02:00", 1_767_323_045_678),
        ("2026-01-02T03:04:05.678901Z", 1_767_323_045_678),
        ("1970-01-01T00:00:00Z", 0),
        ("0001-01-01T00:00:00.000Z", 1_000_001),
        ("2026-01-02T03:04:05.678", 1_000_001),
        ("yesterday", 1_000_001),
        ("", 1_000_001),
    ],
)
def test_the_time_is_the_date_else_the_events_time(date: str, expected: int) -> None:
    assert Event("1", 1_000_001, date, "s", b"{}").date_ms == expected


def test_a_body_cut_by_the_overhead_stays_below_the_limit_even_with_the_longest_names() -> None:
    sink = make_sink(tags=["t" * 200] * 5, service="s" * 100)
    late = Event("sha256-" + "f" * 64, -62_135_596_800_000, "", "s", b'{"date":1}')
    batch = make_batch([late] * 10, source="a" * 63)
    origin = msgspec.structs.replace(batch.source, host="h" * 253, type="t" * 30)
    body = sink.body(msgspec.structs.replace(batch, source=origin))
    assert b"late:true" in body
    assert len(body) <= sum(len(event.raw) + sink.overhead for event in batch.events)


def test_arrives_as_from_datadogs_own_client() -> None:
    """The same events, handed to `LogsApi.submit_log` as plain data, give the same request."""
    events = [make_event(1), *odd_events(), make_event(2, name="Jürgen 🦉", deep={"a": [1, 1.5, None]})]
    batch = make_batch(events)
    same = [
        {
            "ddsource": "auth0",
            "ddtags": "tenant:acme,env:prod",
            "hostname": "acme.us.auth0.com",
            "service": "auth0",
            "timestamp": event.time,
            "log_id": event.id,
            "data": {"tenant_name": "acme"} | json.loads(event.raw),
        }
        for event in events
    ]

    async def write(url: str) -> None:
        sink = make_sink(url=url, tags=["env:prod"], proxy="none")
        await sink.open()
        await sink.write(batch)
        await sink.close()

    with Destination(default=OK) as destination:
        asyncio.run(write(destination.url))
        # Its models would turn whole numbers of any length and unknown members into other ones.
        settings = Configuration(host=destination.url, api_key={"apiKeyAuth": "made-up-key"}, check_input_type=False)
        with ApiClient(settings) as client:
            LogsApi(client).submit_log(same, content_encoding=ContentEncoding.GZIP)  # type: ignore[arg-type]
        ours, theirs = destination.requests
    assert json.loads(ours.body) == json.loads(theirs.body)
    assert (ours.method, ours.path) == (theirs.method, theirs.path)
    for name in ("DD-API-KEY", "Content-Type", "Content-Encoding"):
        assert ours.headers[name] == theirs.headers[name]


# Settings


class AskedHost(ApiClient):
    """Remembers where a request would go."""

    def call_api(self, *arguments: Any, **options: Any) -> Any:
        self.host = options["host"]


def test_each_sites_intake_is_where_datadogs_own_client_would_write() -> None:
    sites = Configuration().get_host_settings()[0]["variables"]["site"]["enum_values"]
    assert "datadoghq.com" in sites
    for site in sites:
        settings = Configuration()
        settings.server_variables["site"] = site
        with AskedHost(settings) as client:
            LogsApi(client).submit_log([])  # type: ignore[arg-type]
            assert address_of(site, INTAKE) == client.host


def test_the_environment_of_datadogs_agent_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DD_SITE", "datadoghq.eu")
    monkeypatch.setenv("DD_API_KEY", "another")
    request = make_sink().request(make_batch())
    assert request.url == "https://http-intake.logs.datadoghq.com/api/v2/logs"
    assert request.headers["DD-API-KEY"] == "made-up-key"


@pytest.mark.parametrize(
    ("site", "nearest"),
    [("https://app.datadoghq.eu", "datadoghq.eu"), ("US5.datadoghq.com", "us5.datadoghq.com"), ("eu", "")],
)
def test_an_unknown_site_is_refused_with_the_nearest(site: str, nearest: str) -> None:
    with pytest.raises(ValidationError, match=f"did you mean {nearest}" if nearest else "set url"):
        make_sink(site=site)


def test_the_client_package_is_imported_only_where_it_is_used() -> None:
    script = """
import asyncio, sys
from shipper.shape.formats import Format, lines
from sinks.datadog import Datadog

async def opened(**settings):
    sink = Datadog(Datadog.Config(api_key="k", **settings))
    await sink.open()
    await sink.close()
    return "datadog_api_client" in sys.modules

assert not asyncio.run(opened(url="http://127.0.0.1:1"))
assert asyncio.run(opened()), "the first write would hold up the event loop"
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize("tag", ["", "a,b", " a", "a\n", "env:prod,"])
def test_a_tag_that_would_become_others_is_refused(tag: str) -> None:
    with pytest.raises(ValidationError, match="commas"):
        make_sink(tags=[tag])


@pytest.mark.parametrize("url", ["http://logs.example", "logs.example", "https://me:pw@logs.example"])
def test_refuses_an_address_that_the_key_must_not_go_to(url: str) -> None:
    with pytest.raises(ValidationError, match="url"):
        make_sink(url=url)


@pytest.mark.parametrize("batch", [{"max_events": 1001}, {"max_bytes": 5_000_000}])
def test_a_batch_is_never_more_than_datadog_takes(batch: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="batch"):
        make_sink(batch=batch)


# What the answer means: Datadog's statuses, row by row


@pytest.mark.parametrize(("status", "body"), [(202, b"{}"), (202, b""), (200, b"{}"), (200, b""), (204, b"")])
def test_any_2xx_is_delivered(status: int, body: bytes) -> None:
    make_sink().judge(make_batch(), answer(status, body))


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"{", b"[]", b"\xff", b"[" * 60_000])
def test_a_200_with_a_strangers_page_is_a_bad_answer(body: bytes) -> None:
    outcome = judged(200, body)
    assert isinstance(outcome, Unavailable)
    assert outcome.reason == "bad_answer"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (301, "redirected"),
        (307, "redirected"),
        (401, "auth"),
        (403, "auth"),
        (404, "not_found"),
        (405, "not_found"),
        (407, "auth"),
        (408, "server_error"),
        (409, "refused"),
        (410, "not_found"),
        (411, "refused"),
        (415, "refused"),
        (422, "refused"),
        (429, "throttled"),
        (500, "server_error"),
        (502, "server_error"),
        (503, "server_error"),
        (504, "server_error"),
    ],
)
def test_a_status_that_is_no_verdict_on_an_event_gives_nothing_up(status: int, reason: str) -> None:
    outcome = judged(status, b'{"errors":["words of theirs"]}')
    assert isinstance(outcome, Unavailable)
    assert (outcome.reason, outcome.only) == (reason, None)
    assert str(status) in outcome.note


@pytest.mark.parametrize(("status", "reason"), [(400, "refused"), (413, "too_large")])
def test_a_refused_batch_is_halved_and_the_words_are_kept(status: int, reason: str) -> None:
    outcome = judged(status, b'{"errors":["words of theirs"]}')
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.only, outcome.own) == (reason, None, False)
    assert "words of theirs" in outcome.detail
    assert "words of theirs" not in f"{outcome} {outcome!r} {outcome.note}"


@pytest.mark.parametrize("status", [408, 429, 500, 503])
@pytest.mark.parametrize(
    ("headers", "secs"),
    [
        ({"X_Ratelimit_Reset": "7"}, 7),
        ({"X_Ratelimit_Reset": "7", "Retry_After": "3"}, 7),
        ({"X_Ratelimit_Reset": "0", "Retry_After": "3"}, 3),
        ({"X_Ratelimit_Reset": "0"}, None),
        ({"X_Ratelimit_Reset": "-5"}, None),
        ({"X_Ratelimit_Reset": "soon"}, None),
        ({"X_Ratelimit_Reset": "99999999"}, 300),
        ({}, None),
    ],
)
def test_waits_until_the_rate_limit_is_reset_else_by_plain_backoff(
    status: int, headers: dict[str, str], secs: float | None
) -> None:
    outcome = judged(status, b"", **headers)
    assert isinstance(outcome, Unavailable)
    assert outcome.retry_after == secs


async def test_a_key_file_that_cannot_be_read_holds_the_lane(tmp_path: Path) -> None:
    sink = make_sink(api_key=Secret(path=tmp_path / "missing"), url="http://127.0.0.1:9")
    await sink.open()
    for attempt in (sink.probe(), sink.write(make_batch())):
        with pytest.raises(Unavailable, match="can't be read") as caught:
            await attempt
        assert caught.value.reason == "auth"
    await sink.close()


async def test_an_entry_that_datadog_refuses_is_alone_after_some_halves() -> None:
    bad = make_events(5)[3]

    def refuse(received: Received) -> Reply:
        return Reply(400) if bad.id.encode() in received.body else OK

    async def culprits(sink: Datadog, batch: Batch) -> list[Event]:
        try:
            await sink.write(batch)
        except Rejected:
            if len(batch.events) == 1:
                return list(batch.events)
            middle = len(batch.events) // 2
            halves = batch.events[:middle], batch.events[middle:]
            return [e for half in halves for e in await culprits(sink, msgspec.structs.replace(batch, events=half))]
        return []

    with Destination(default=refuse) as destination:
        sink = make_sink(url=destination.url)
        await sink.open()
        assert await culprits(sink, make_batch(make_events(5))) == [bad]
        await sink.close()
