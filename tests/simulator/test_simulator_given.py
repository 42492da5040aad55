"""Events from a file or a test: their bytes, their order, their positions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shipper.simulator.given import Given, read_events


def held(*events: bytes, backlog: int = 0, rate: float = 0.0) -> Given:
    return Given(events, backlog=backlog, rate=rate, started=1_000.0)


def test_a_compact_file_is_kept_byte_for_byte(tmp_path: Path) -> None:
    events = [
        b'{"b":1.10,"a":"\\u00e9 \xc3\xa9 \\/","big":12345678901234567890,"log_id":"900"}',
        b'{"cut":"\\ud83d","nan":NaN,"raw":"\xff\xfe"}',
        b'"no object"',
        b"{}",
    ]
    file = tmp_path / "events.json"
    file.write_bytes(b"[" + b",".join(events) + b"]")
    assert read_events(file) == events
    file.write_bytes(b"\n".join(events) + b"\n\n")
    assert read_events(file) == events


def test_a_pretty_file_loses_only_the_space_between_tokens(tmp_path: Path) -> None:
    file = tmp_path / "events.json"
    file.write_bytes(b'[\n  {\n    "a" : [ 1.0 , 2 ],\n    "b": "x  \\" y: {"\n  },\r\n  {}\n]\n')
    assert read_events(file) == [b'{"a":[1.0,2],"b":"x  \\" y: {"}', b"{}"]


def test_a_broken_file_is_refused_with_the_place_and_without_its_content(tmp_path: Path) -> None:
    file = tmp_path / "events.json"
    file.write_bytes(b'[{"secret":"alpha"},{"secret":beta}]')
    with pytest.raises(ValueError, match="event 2") as refused:
        read_events(file)
    assert "beta" not in str(refused.value)


def test_events_are_served_by_log_id_then_those_with_only_an_id_then_those_without() -> None:
    supply = held(
        b'{"nothing":1}',
        b'{"_id":"5f0000000000000000000001"}',
        b'{"_id":"9002","log_id":"9002"}',
        b'{"log_id":"9001"}',
        b"[1]",
    )
    assert supply.join(0, 5) == (
        b'[{"log_id":"9001"},{"_id":"9002","log_id":"9002"},{"_id":"5f0000000000000000000001"},{"nothing":1},[1]]'
    )


def test_the_chain_of_positions_leads_through_events_of_every_sort_exactly_once() -> None:
    supply = held(b"{}", b'{"_id":"5f0000000000000000000001"}', b'{"log_id":"9001"}', b'{"log_id":"9002"}', b"1")
    shown = supply.shown(0.0)
    walked, at = [], 0
    while at < shown:
        walked.append(supply.raw(at))
        at = supply.after(supply.position(at), shown)
    assert walked == [supply.raw(index) for index in range(5)]


def test_bytes_that_are_not_json_keep_the_id_that_can_be_found_in_them() -> None:
    supply = held(b'{"log_id":"9002","x":}', b'{"log_id":"9001"')
    assert [supply.position(index) for index in range(2)] == ["9001", "9002"]


def test_an_added_event_takes_the_place_of_its_id() -> None:
    supply = held(b'{"log_id":"9001"}', b'{"log_id":"9003"}')
    supply.add(b'{"log_id":"9002"}')
    assert [supply.position(index) for index in range(supply.shown(0.0))] == ["9001", "9002", "9003"]


def test_with_a_rate_given_events_appear_one_by_one() -> None:
    supply = held(*(json.dumps({"log_id": f"900{n}"}).encode() for n in range(9)), backlog=2, rate=2.0)
    assert [supply.shown(1_000.0 + secs) for secs in (-5, 0, 1, 2, 60)] == [2, 2, 4, 6, 9]
