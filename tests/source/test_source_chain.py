"""The whole chain: every event once, in the tenant's order, byte for byte, wherever its pages lead."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from source_case import (
    START,
    Clock,
    Rig,
    altered,
    event,
    events,
    journal_at,
    log_id,
    reading,
    rigged,
    with_links,
)

from shipper.simulator.answer import Answer, Asked, json_answer
from shipper.simulator.server import serve
from shipper.simulator.tenant import Tenant
from shipper.sources.start import EARLIEST

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"
RECORDED = ["api_raw_ruby_auth0_MIT", "api_raw_alertlogic_MIT", "auth0_docs_v2_MIT", "synth_from_schemas_Apache-2.0"]


@pytest.mark.parametrize("gzip", [True, False])
async def test_the_whole_chain_arrives_byte_for_byte(tmp_path: Path, gzip: bool) -> None:
    async with rigged(tmp_path, tenant={"count": 1_234, "gzip": gzip}) as rig:
        assert await rig.drained() == rig.issued()
        assert rig.sleeps.secs == []
        assert rig.count("shipper_source_requests_total", code="200") == 14
        assert [event.id for event in await rig.events()] == list(rig.tenant.ids())


@pytest.mark.parametrize("name", RECORDED)
async def test_recorded_events_arrive_byte_for_byte(tmp_path: Path, name: str) -> None:
    path = SAMPLES / f"{name}.json"
    if not path.exists():
        pytest.skip("the recorded samples are not beside this checkout")
    async with rigged(tmp_path, tenant={"events_file": str(path)}) as rig:
        # The documentation's examples have one made-up id, which sorts before every position.
        wanted = [raw for id_, raw in rig.tenant.issued() if id_ != "123456789"]
        assert await rig.drained() == wanted
        assert len(wanted) >= len(json.loads(path.read_bytes())) - 1


async def test_odd_events_made_by_hand_arrive_byte_for_byte(tmp_path: Path) -> None:
    path = SAMPLES / "edge_cases_handmade.json"
    if not path.exists():
        pytest.skip("the recorded samples are not beside this checkout")
    found = json.loads(path.read_bytes())
    given = [json.dumps(case["event"], separators=(",", ":")).encode() for case in found]
    async with rigged(tmp_path, tenant={"events": given}) as rig:
        assert sorted(await rig.drained()) == sorted(given)


ODD = [
    rb',"user_name":"cut \ud83d"', b',"risk":NaN,"low":-Infinity', b',"ua":"\x00\x01\x1f"', b',"ua":"\xff\xfe"',
    b',"n":' + b"9" * 5000, b',"a":9223372036854775808,"f":1.10,"e":1E5', b',"scope":["a",null]', b',"scope":"a b"',
    b',"details":"text"', b',"details":{"body":"' + b"x" * 45_000 + b'"}', b',"new_field":[[[{}]]]',
]  # fmt: skip


async def test_odd_events_pass_between_their_neighbours(tmp_path: Path) -> None:
    given = [event(n, n, more=ODD[n % len(ODD)] if n % 3 else b"") for n in range(120)]
    given += [b'{"_id":"5f1e5a2b9d1c4e0017a0b1c2","type":"s"}', b'{"_id":"5f1e5a2b9d1c4e0017a0b1c3"}']
    given += [b'{"type":"without id"}', b'"no object"', b"17", b"null", b"[]"]
    async with rigged(tmp_path, tenant={"events": given}) as rig:
        assert await rig.drained() == rig.issued()
        assert sorted(rig.issued()) == sorted(given)
        assert rig.sleeps.secs == []
        assert rig.count("shipper_odd_pages_total") >= 1
        assert rig.handle.figures.stored == len(given)


async def test_a_page_that_is_read_fast_is_not_counted_as_odd(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"count": 300}) as rig:
        await rig.drained()
        assert rig.count("shipper_odd_pages_total") == 0


async def test_it_goes_on_where_it_stood_and_asks_for_nothing_twice(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(250)}) as rig:
        await rig.drained()
        before = len(rig.asked)
        rig.tenant.add(event(1))
        await rig.restart()
        assert await rig.drained() == rig.issued()
        assert [one.query["from"] for one in rig.asked[before:]] == [log_id(-1, 249), log_id(1)]
        assert rig.count("shipper_events_duplicate_total") == 0


# -- the end of the chain, and what is not its end ---------------------------------------------------------------------


async def test_an_empty_page_waits_for_the_poll_interval_and_then_asks_again(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(3)}, poll_interval_secs=7.0) as rig:

        async def arrive(number: int) -> None:
            rig.tenant.add(event(number, number))

        rig.sleeps.then = arrive
        rig.sleeps.hold_at(3)
        polling = asyncio.create_task(rig.source.run())
        await rig.sleeps.held.wait()
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        assert rig.sleeps.secs == [7.0, 7.0, 7.0]
        assert await rig.stored() == rig.issued()[:5]
        assert rig.handle.figures.horizon == int((START + 14) * 1000)


async def test_a_short_page_is_not_the_end(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(250)}) as rig:

        def short(asked: Asked) -> Answer:
            return rig.tenant.answer(replace(asked, query={**asked.query, "take": "3"}))

        rig.tenant.script.extend([short] * 5)
        assert await rig.drained() == rig.issued()
        assert rig.sleeps.secs == []


async def test_events_out_of_their_ids_order_within_a_page_are_all_kept_as_served(tmp_path: Path) -> None:
    given = events(40)
    shuffled = [*given[20:], *given[:20]]
    async with rigged(tmp_path, tenant={"events": given}) as rig:
        rig.tenant.script.append(
            altered(rig.tenant, lambda _, a: replace(a, body=b"[%s]" % b",".join(shuffled), headers=plain(a)))
        )
        assert await rig.drained() == shuffled


def plain(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "Content-Encoding"}


# -- duplicates, and chains that don't lead on -------------------------------------------------------------------------


def from_(rig: Rig, position: str) -> Callable[[Asked], Answer]:
    """A scripted answer: the page behind another position than the one that was asked for."""
    return lambda asked: rig.tenant.answer(replace(asked, query={**asked.query, "from": position}))


async def test_what_a_page_repeats_is_dropped_and_counted(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(250)}) as rig:
        ids = list(rig.tenant.ids())
        rig.tenant.script.extend([lambda _: None, from_(rig, ids[59])])
        assert await rig.drained() == rig.issued()
        assert rig.count("shipper_events_duplicate_total") == 40
        assert rig.count("shipper_no_progress_total") == 0


async def test_an_event_twice_in_one_page_is_stored_once(tmp_path: Path) -> None:
    given = events(10)
    async with rigged(tmp_path, tenant={"events": given}) as rig:
        body = b"[%s]" % b",".join([*given, given[4], given[9]])
        rig.tenant.script.append(altered(rig.tenant, lambda _, a: replace(a, body=body, headers=plain(a))))
        assert await rig.drained() == given
        assert rig.count("shipper_events_duplicate_total") == 2


async def test_a_page_of_duplicates_that_leads_on_is_gone_through_without_a_rest(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(400)}) as rig:
        ids = list(rig.tenant.ids())
        rig.tenant.script.extend([lambda _: None, lambda _: None, from_(rig, EARLIEST), from_(rig, ids[99])])
        stored: list[int] = []

        async def look(_number: int) -> None:
            stored.append(rig.handle.figures.stored)

        rig.sleeps.then = look
        assert await rig.drained() == rig.issued()
        assert rig.count("shipper_events_duplicate_total") == 200
        # Only the step back was worth a rest: the second page of duplicates led on.
        assert rig.count("shipper_no_progress_total") == 1
        assert stored == [200]


async def test_a_page_of_duplicates_commits_where_it_leads(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(150)}) as rig:
        await rig.drained()
        await rig.journal.set_checkpoint("acme", rig.handle.figures.checkpoint or b"", "", "")
        last = rig.position
        rig.tenant.add(event(5))
        rig.tenant.script.append(with_links(rig.tenant, "<ORIGIN/api/v2/logs?from=opaque&take=100>; rel=next"))
        rig.tenant.script.append(from_(rig, last))
        await rig.drained()
        assert rig.position == log_id(5)
        assert (await rig.stored())[-1] == event(5)


async def test_a_page_that_leads_to_itself_is_no_progress_and_backs_off(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(150)}) as rig:
        stuck = with_links(rig.tenant, f"<ORIGIN/api/v2/logs?from={EARLIEST}&take=100>; rel=next")
        rig.tenant.script.extend([stuck, stuck, stuck])
        assert await rig.drained() == rig.issued()
        assert rig.count("shipper_no_progress_total") == 3
        assert rig.sleeps.secs == [1.0, 2.0, 4.0]
        assert rig.count("shipper_source_failures_total", reason="bad_answer") == 3
        assert rig.count("shipper_events_duplicate_total") == 300
        assert any("no progress" in note for note in rig.notes())


async def test_pages_that_lead_in_a_circle_rest_each_time_round(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(300)}) as rig:
        back = with_links(rig.tenant, f"<ORIGIN/api/v2/logs?from={EARLIEST}&take=100>; rel=next")
        for _ in range(4):
            rig.tenant.script.extend([lambda _: None, back])
        assert await rig.drained() == rig.issued()
        assert rig.count("shipper_no_progress_total") == 3
        assert len(rig.sleeps.secs) == 3


# -- Links that are missing, or lead elsewhere -------------------------------------------------------------------------

FOREIGN = [
    [],
    ['<https://evil.example/api/v2/logs?from=LAST&take=100>; rel="next"'],
    ['<ORIGIN/api/v2/users?from=LAST>; rel="next"'],
    ['<ORIGIN/api/v2/logs?take=100>; rel="next"'],
    ['<ORIGIN/api/v2/logs?from=LAST>; rel="last"'],
    ["<ORIGIN/api/v2/logs?from=LAST&a=" + "x" * 5_000 + ">; rel=next"],
    ["<ORIGIN/api/v2/logs?from=LAST&a=" + "x" * 20_000 + ">; rel=next"],
    ["garbage"],
]


@pytest.mark.parametrize("links", FOREIGN, ids=range(len(FOREIGN)))
async def test_without_a_link_that_may_be_followed_the_last_log_id_is_used(tmp_path: Path, links: list[str]) -> None:
    async with rigged(tmp_path, tenant={"events": events(350)}) as rig:
        rig.tenant.script.extend([with_links(rig.tenant, *links)] * 3)
        assert await rig.drained() == rig.issued()
        assert rig.count("shipper_links_refused_total") == 3
        assert sum("Link" in str(line["event"]) for line in rig.capture.entries) == 1
        assert rig.count("shipper_events_duplicate_total") == 0
        assert rig.sleeps.secs == []


async def test_the_empty_page_needs_no_link(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": []}) as rig:
        rig.tenant.script.append(with_links(rig.tenant))
        assert await rig.drained() == []
        assert rig.count("shipper_links_refused_total") == 0


@pytest.mark.parametrize(
    "links",
    [
        ['<ORIGIN/api/v2/logs?from=LAST&take=100>; rel="prev"', '<ORIGIN/api/v2/logs?from=LAST&take=100>; rel="next"'],
        ['<https://evil.example/>; rel="first", <ORIGIN/api/v2/logs?take=50&from=LAST>; title="a,b"; rel="x next"'],
        ["</api/v2/logs?from=LAST&take=1>; rel=next"],
        ["<https://acme.us.auth0.com/api/v2/logs?from=LAST&take=100>; rel=next"],
    ],
    ids=["two lines", "two values", "relative", "the tenant's own name"],
)
async def test_a_good_link_is_followed_however_it_is_written(tmp_path: Path, links: list[str]) -> None:
    async with rigged(tmp_path, tenant={"events": events(350)}) as rig:
        rig.tenant.script.extend([with_links(rig.tenant, *links)] * 3)
        assert await rig.drained() == rig.issued()
        assert rig.count("shipper_links_refused_total") == 0


async def test_an_opaque_link_is_followed_as_it_is(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(350)}) as rig:
        positions = {"": EARLIEST}

        def opaque(asked: Asked) -> Answer:
            position = positions.get(asked.query.get("cursor", ""), asked.query.get("from", ""))
            answer = rig.tenant.answer(replace(asked, query={"from": position, "take": "100"}))
            last = answer.headers["Link"].split("from=")[1].split("&")[0]
            # As the real tenant does, the empty page leads to itself.
            cursor = next((name for name, of in positions.items() if name and of == last), f"c{len(positions)}")
            positions[cursor] = last
            return replace(answer, headers={**answer.headers, "Link": f"</api/v2/logs?cursor={cursor}>; rel=next"})

        rig.tenant.script.extend([opaque] * 20)
        assert await rig.drained() == rig.issued()
        assert [one.query.get("cursor") for one in rig.asked] == [None, "c1", "c2", "c3", "c4"]
        # The command that shows the checkpoint, and whatever can't use the link, need a position, too.
        assert rig.position == log_id(-1, 349)


# -- several sources ---------------------------------------------------------------------------------------------------


async def test_several_sources_read_side_by_side_each_with_its_own_token_limits_and_checkpoint(tmp_path: Path) -> None:
    clock = Clock()

    def tenant(name: str, **options: Any) -> Tenant:
        return Tenant(domain=f"{name}.us.auth0.com", clock=clock.wall, **options)

    async with (
        serve(tenant("one", count=900, plan="essentials")) as one,
        serve(tenant("two", count=700, plan="none", seed=2)) as two,
        serve(tenant("three", count=100, plan="none", seed=3)) as three,
        journal_at(tmp_path) as journal,
        reading(journal, one, clock, name="one") as first,
        reading(journal, two, clock, name="two") as second,
        reading(journal, three, clock, name="three") as third,
    ):
        three.tenant.script.extend([json_answer(503, {})] * 1_000)
        third.sleeps.hold_at(2)
        failing = asyncio.create_task(third.source.run())
        await asyncio.gather(first.source.run(once=True), second.source.run(once=True), third.sleeps.held.wait())
        failing.cancel()
        await asyncio.gather(failing, return_exceptions=True)
        for rig in (first, second):
            assert await rig.stored() == rig.issued()
            assert rig.token_requests == 1
            assert rig.count("shipper_source_requests_total", code="401") == 0
        assert await third.stored() == []
        # Only the one with the small bucket had to rest.
        assert first.sleeps.secs
        assert second.sleeps.secs == []
        assert first.position != second.position
