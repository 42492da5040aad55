"""A page that can't be split into events: asked for in ever smaller parts, and stepped over by a person only."""

import re
from dataclasses import replace
from pathlib import Path

from source_case import (
    altered,
    always,
    event,
    events,
    log_id,
    rigged,
    takes,
)

from shipper.simulator.answer import Answer, Asked
from shipper.sources.chain import Checkpoint
from shipper.sources.start import EARLIEST


def broken(count: int, *places: int) -> list[bytes]:
    made = events(count)
    for place in places:
        made[place] = made[place].replace(b'"type":"s"', b'"type":tru')
    return made


async def test_an_event_that_is_no_json_holds_the_source_with_its_neighbours_stored_and_can_be_stepped_over(
    tmp_path: Path,
) -> None:
    given = broken(250, 130)
    async with rigged(tmp_path, tenant={"events": given}) as rig:
        await rig.source.run(once=True)
        assert (rig.source.health.state, rig.source.health.reason) == ("held", "undecodable")
        assert await rig.stored() == given[:130]
        before, broken_id = log_id(-121, 129), log_id(-120, 130)
        assert f"from={before} " in rig.source.health.note
        command = re.search(r"`shipper checkpoint set acme (\S+) --yes`", rig.source.health.note)
        assert command is not None
        assert command[1] == broken_id
        assert rig.position == before
        # The second page is fetched again as it was, then in halves; what could be read of it was stored.
        asked = [one for one in rig.asked if one.query["from"] == log_id(-151, 99)]
        assert takes(asked) == [100, 100, 50, 25]
        assert takes(rig.asked)[-1] == 1
        # As the command does.
        await rig.journal.set_checkpoint("acme", Checkpoint(command[1]).encode(), "stepped over", "a person")
        await rig.restart()
        assert await rig.drained() == given[:130] + given[131:]
        assert takes(rig.asked)[-1] == 100


async def test_a_page_that_was_only_damaged_on_its_way_is_asked_for_whole_again(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(250)}) as rig:
        rig.tenant.script.append(altered(rig.tenant, lambda _, a: replace(a, body=a.body[: len(a.body) // 2])))
        assert await rig.drained() == rig.issued()
        assert set(takes(rig.asked)) == {100}


async def test_events_that_are_no_json_are_stepped_over_one_by_one(tmp_path: Path) -> None:
    given = broken(230, 0, 1, 99, 100, 229)
    async with rigged(tmp_path, tenant={"events": given}) as rig:
        stepped = []
        for _ in range(9):
            await rig.source.run(once=True)
            if rig.source.health.state == "running":
                break
            command = re.search(r"checkpoint set acme (\S+) --yes", rig.source.health.note)
            assert command is not None
            stepped.append(command[1])
            await rig.journal.set_checkpoint("acme", Checkpoint(command[1]).encode(), "stepped over", "a person")
            await rig.restart()
        assert stepped == [log_id(n - 230, n) for n in (0, 1, 99, 100, 229)]
        assert await rig.stored() == [raw for n, raw in enumerate(given) if n not in (0, 1, 99, 100, 229)]


async def test_nesting_without_end_holds_the_source_too(tmp_path: Path) -> None:
    deep = event(-5, 1, more=b',"details":' + b"[" * 200_000 + b"]" * 200_000)
    async with rigged(tmp_path, tenant={"events": [event(-9), deep, event(-1)]}) as rig:
        await rig.source.run(once=True)
        assert rig.source.health.reason == "undecodable"
        assert await rig.stored() == [event(-9)]


async def test_behind_an_opaque_link_an_unreadable_page_is_asked_for_by_position(tmp_path: Path) -> None:
    given = broken(120, 110)
    async with rigged(tmp_path, tenant={"events": given}) as rig:

        def opaque(asked: Asked) -> Answer:
            position = {"c": log_id(-21, 99)}.get(asked.query.get("cursor", ""), asked.query.get("from", ""))
            answer = rig.tenant.answer(replace(asked, query={"take": "100", **asked.query, "from": position}))
            if asked.query.get("from") == EARLIEST:
                return replace(answer, headers={**answer.headers, "Link": "</api/v2/logs?cursor=c>; rel=next"})
            return answer

        always(rig.tenant, opaque)
        await rig.source.run(once=True)
        assert rig.source.health.reason == "undecodable"
        assert await rig.stored() == given[:110]
        assert f"from={log_id(-11, 109)} " in rig.source.health.note


async def test_after_a_smaller_page_that_could_be_read_the_next_ones_grow_again(tmp_path: Path) -> None:
    async with rigged(tmp_path, tenant={"events": events(400), "gzip": False}) as rig:

        def damage(asked: Asked) -> Answer | None:
            if asked.query["from"] != EARLIEST or asked.query["take"] == "25":
                return None
            answer = rig.tenant.answer(asked)
            return replace(answer, body=answer.body[: len(answer.body) // 2])

        always(rig.tenant, damage)
        assert await rig.drained() == rig.issued()
        ids = ["", *rig.tenant.ids()]
        of = {place: takes(one for one in rig.asked if one.query["from"] == ids[place]) for place in (25, 75, 175)}
        assert takes(one for one in rig.asked if one.query["from"] == EARLIEST) == [100, 100, 50, 25]
        assert of == {25: [50], 75: [100], 175: [100]}
        assert rig.sleeps.secs == [1.0, 2.0, 2.0]
