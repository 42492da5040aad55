"""The made events: each of a million from its number alone, and like those that were recorded."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shipper.simulator.event_types import EVENT_TYPES
from shipper.simulator.generated import MAX_DELAY_SECS, Generated
from shipper.simulator.options import Options

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
SHARED = Path(__file__).resolve().parents[3] / "shared"


def made(**changes: Any) -> Generated:
    return Generated(Options(**{"count": 10_000, **changes}), NOW)


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    supply = made()
    return [json.loads(supply.raw(index)) for index in range(10_000)]


def id_time(log_id: str) -> float:
    return datetime.strptime(log_id[3:23], "%Y%m%d%H%M%S%f").replace(tzinfo=UTC).timestamp()


def test_ids_have_56_digits_and_rise() -> None:
    supply = made()
    ids = [supply.position(index) for index in range(10_000)]
    assert all(re.fullmatch(r"900\d{53}", log_id) for log_id in ids)
    assert ids == sorted(set(ids))


def test_several_events_share_one_microsecond_so_that_an_ids_time_is_no_key(events: list[dict[str, Any]]) -> None:
    times = [event["log_id"][:23] for event in events]
    assert len(set(times)) < len(times) * 0.95


def test_each_date_lies_before_its_indexing_by_at_most_the_recorded_delay(events: list[dict[str, Any]]) -> None:
    delays = [id_time(event["log_id"]) - datetime.fromisoformat(event["date"]).timestamp() for event in events]
    assert min(delays) >= 0.01
    assert max(delays) <= MAX_DELAY_SECS + 0.001


def test_dates_are_out_of_id_order(events: list[dict[str, Any]]) -> None:
    highest, behind = "", 0
    for event in events:
        behind += event["date"] < highest
        highest = max(highest, event["date"])
    assert behind > 1_000


def test_every_type_appears(events: list[dict[str, Any]]) -> None:
    assert {event["type"] for event in events} == set(EVENT_TYPES)


def test_the_types_are_those_that_were_published() -> None:
    published = SHARED / "data" / "auth0_log_types.json"
    if not published.exists():
        pytest.skip("the collected reference data is not beside this checkout")
    assert set(EVENT_TYPES) == {entry["code"] for entry in json.loads(published.read_bytes())}


ORDER = """
date type description connection connection_id client_id client_name ip user_agent details hostname user_id user_name
audience scope strategy strategy_type organization_id organization_name auth0_client security_context location_info
$event_schema environment_name log_id tenant_name _id isMobile
"""


def test_keys_come_in_the_recorded_order(events: list[dict[str, Any]]) -> None:
    order = ORDER.split()
    for event in events:
        assert list(event) == [key for key in order if key in event]
        assert event["_id"] == event["log_id"]


def test_fields_change_their_type_as_they_do_in_recordings(events: list[dict[str, Any]]) -> None:
    kinds = defaultdict(set)
    for event in events:
        for key in ("scope", "auth0_client", "details", "description", "client_id"):
            kinds[key].add(type(event[key]) if key in event else None)
    assert kinds["scope"] >= {str, list, None}
    assert kinds["auth0_client"] >= {dict, list, None}
    assert kinds["details"] >= {dict, str, None}
    assert kinds["description"] >= {str, type(None)}
    assert kinds["client_id"] >= {str, type(None), None}


def test_a_login_its_exchange_and_its_logout_share_user_address_client_and_session(
    events: list[dict[str, Any]],
) -> None:
    sessions: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        if event["type"] in {"s", "seacft", "slo"}:
            sessions[event["details"]["session_id"]].append(event)
    whole = [steps for steps in sessions.values() if [step["type"] for step in steps] == ["s", "seacft", "slo"]]
    assert len(whole) > 100
    for steps in whole:
        for key in ("user_id", "user_name", "ip", "user_agent", "client_id", "connection_id", "isMobile"):
            assert len({step[key] for step in steps}) == 1


def test_only_documentation_addresses_and_example_domains_occur(events: list[dict[str, Any]]) -> None:
    documentation = re.compile(r"(192\.0\.2|198\.51\.100|203\.0\.113)\.\d{1,3}|2001:db8:[0-9a-f:]+")
    for event in events:
        assert documentation.fullmatch(event.get("ip", "192.0.2.1"))
        assert re.fullmatch(r"user\d+@example\.com", event.get("user_name", "user1@example.com"))


def test_sizes_are_realistic_and_text_is_not_only_english() -> None:
    supply = made()
    raw = [supply.raw(index) for index in range(5_000)]
    assert 1_500 <= sum(map(len, raw)) / len(raw) <= 1_900
    calls = [len(event) for event in raw if b'"type":"sapi"' in event]
    assert min(calls) < 1_200
    assert max(calls) > 4_000
    assert not b"".join(raw).isascii()
    assert all(b"\n" not in event and b'": ' not in event for event in raw)


def test_the_same_seed_makes_the_same_events_in_any_order_of_asking() -> None:
    forwards, backwards = made(), made()
    assert [forwards.raw(i) for i in range(300)] == [backwards.raw(i) for i in reversed(range(300))][::-1]
    assert made(seed=2).raw(7) != forwards.raw(7)


def test_a_million_events_are_ready_at_once_and_a_page_from_their_middle_is_small() -> None:
    tracemalloc.start()
    supply = made(count=1_000_000)
    middle = supply.after(supply.position(654_321), 1_000_000)
    page = supply.join(middle, middle + 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert middle == 654_322
    assert len(json.loads(page)) == 100
    assert peak < 20_000_000


def test_a_position_that_no_event_has_is_compared() -> None:
    supply = made()
    assert supply.after("900" + "20260101000000" + "0" * 39, 10_000) == 0
    assert supply.after("900" + "20270101000000" + "0" * 39, 10_000) == 10_000
    between = supply.position(41)[:-19] + "9" * 19
    assert supply.after(between, 10_000) in {42, 43}


def test_events_arrive_over_time_at_the_rate_until_there_are_count_of_them() -> None:
    supply = made(count=1_000, backlog=100, rate=50.0)
    assert supply.shown(NOW) in {100, 101}
    assert 595 <= supply.shown(NOW + 10) <= 605
    assert supply.shown(NOW + 1_000) == 1_000
    assert id_time(supply.position(supply.shown(NOW + 10) - 1)) <= NOW + 10


def test_without_an_end_events_go_on_arriving() -> None:
    supply = made(count=0, rate=10.0)
    assert supply.shown(NOW - 1) == 0
    assert 999_990 <= supply.shown(NOW + 100_000) <= 1_000_010
