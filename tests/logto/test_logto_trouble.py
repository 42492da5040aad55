"""What can go wrong with a Logto tenant, and that nothing is passed over meanwhile."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from logto_case import MARGIN, NOW, LogtoRig, event, events, id_of, logto_rigged
from source_case import altered, always

from shipper.simulator.answer import Answer, Asked, error

RELEASES = pytest.mark.parametrize("knows_times", [True, False], ids=["by-time", "by-pages"])
DAY = 86_400_000


# -- events that can't be read -----------------------------------------------------------------------------------------


def broken(rig: LogtoRig, raw: bytes) -> Callable[[Asked, Answer], Answer]:
    """This event's JSON is cut off, in whichever page it comes."""
    return lambda _, answer: replace(answer, body=answer.body.replace(raw, raw[:-20]))


@RELEASES
async def test_an_event_that_can_not_be_read_holds_the_source_right_before_it(
    in_memory_path: Path, knows_times: bool
) -> None:
    made = events(300)
    async with logto_rigged(in_memory_path, tenant={"events": made, "knows_times": knows_times}) as rig:
        always(rig.tenant, altered(rig.tenant, broken(rig, made[220])))
        rig.sleeps.hold_at(80)

        reading = asyncio.create_task(rig.source.run())
        await rig.sleeps.held.wait()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        stored = await rig.stored()
        assert stored == made[: len(stored)]
        # By pages, the last ones before it are not known to be all of their time.
        assert 220 >= len(stored) >= (220 if knows_times else 217)
        health = rig.source.health
        assert (health.state, health.reason) == ("held", "undecodable")
        assert "shipper checkpoint set acme" in health.note
        rig.tenant.script.clear()
        rig.sleeps.hold_at(1 << 30)
        await rig.restart()
        assert await rig.drained() == made


async def test_the_note_names_a_place_that_steps_over_that_event_alone(in_memory_path: Path) -> None:
    from shipper.sources.logto_window import TimePlaces

    made = events(120)
    async with logto_rigged(in_memory_path, tenant={"events": made}) as rig:
        always(rig.tenant, altered(rig.tenant, broken(rig, made[60])))
        await rig.source.run(once=True)
        place = TimePlaces().at(rig.source.health.note.split()[-2])
        await rig.source.close()
        await rig.journal.set_checkpoint(rig.name, place.checkpoint, "test", "test", place.since_ms)
        await rig.restart()
        assert await rig.drained() == made[:60] + made[61:]


async def test_rows_that_lack_what_all_have_are_stored_in_their_places(in_memory_path: Path) -> None:
    made = events(6)
    odd = [json.loads(raw) for raw in made]
    del odd[2]["id"]
    del odd[3]["key"]
    odd[4]["payload"] = None
    raws = [json.dumps(one, separators=(",", ":")).encode() for one in odd]
    async with logto_rigged(in_memory_path, tenant={"events": raws}) as rig:
        assert await rig.drained() == raws
        stored = await rig.events()
        assert stored[2].id.startswith("sha256-")
        assert [one.type for one in stored] == ["Interaction.SignIn.Submit"] * 3 + [""] + [
            "Interaction.SignIn.Submit"
        ] * 2
        assert [one.time for one in stored] == [json.loads(raw)["createdAt"] for raw in made]


# -- answers that do not add up ----------------------------------------------------------------------------------------


async def test_a_window_whose_pages_never_add_up_is_not_stored(in_memory_path: Path) -> None:
    made = events(250)
    lacking = id_of(made[100]).encode()

    def hides(_: Asked, answer: Answer) -> Answer:
        rows = json.loads(answer.body)
        kept = [row for row in rows if row["id"].encode() != lacking]
        return replace(answer, body=json.dumps(kept).encode())

    async with logto_rigged(in_memory_path, tenant={"events": made}) as rig:
        always(rig.tenant, altered(rig.tenant, hides))
        await rig.source.run(once=True)
        assert await rig.stored() == []
        assert (rig.source.health.state, rig.source.health.reason) == ("waiting", "bad_answer")
        assert "add up" in rig.source.health.note
        rig.tenant.script.clear()
        assert await rig.drained() == made


async def test_an_event_committed_far_behind_its_margin_between_two_pages_has_the_window_read_again(
    in_memory_path: Path,
) -> None:
    made, late = events(250), event(NOW - MARGIN - 50_500, 999)
    async with logto_rigged(in_memory_path, tenant={"events": made}) as rig:

        def commits(asked: Asked) -> Answer | None:
            if asked.query["page"] == "2":
                rig.tenant.add(late)
                rig.tenant.script.clear()
            return None

        # The second page begins with the first one's last event: as many as before, but not that one.
        always(rig.tenant, commits)
        assert await rig.drained() == [*made[:-51], late, *made[-51:]]


def numbered(text: str) -> Callable[[Asked, Answer], Answer]:
    return lambda _, answer: replace(answer, headers={"Total-Number": text})


async def test_an_answer_without_a_number_is_none_of_logtos(in_memory_path: Path) -> None:
    async with logto_rigged(in_memory_path, tenant={"events": events(5)}) as rig:
        for number in ("", "many", "-1", "9" * 20):
            rig.tenant.script.append(altered(rig.tenant, numbered(number)))
        assert await rig.drained() == events(5)
        assert sum("Total-Number" in note for note in rig.notes()) >= 1
        assert rig.count("shipper_source_failures_total", reason="bad_answer") >= 3


async def test_a_list_that_is_another_one_each_time_is_given_a_rest(in_memory_path: Path) -> None:
    made = events(2_000, step_ms=7)

    def elsewhere(asked: Asked, answer: Answer) -> Answer:
        # All rows are newer than anything that is known, however far back it is asked for.
        rows = [json.loads(event(NOW - MARGIN - number, number)) for number in range(int(asked.query["page_size"]))]
        return replace(answer, body=json.dumps(rows).encode(), headers={**answer.headers, "Total-Number": "2000"})

    async with logto_rigged(in_memory_path, tenant={"events": made, "knows_times": False}) as rig:
        await rig.drained()
        rig.tenant.add(event(NOW, 9_999))
        rig.clock.secs += 30
        always(rig.tenant, altered(rig.tenant, elsewhere))
        await rig.source.run(once=True)
        assert any("lead nowhere" in note for note in rig.notes())
        assert rig.count("shipper_no_progress_total") >= 1
        rig.tenant.script.clear()
        assert await rig.drained() == [*made, event(NOW, 9_999)]


async def test_a_server_that_can_not_count_a_long_time_is_asked_for_shorter_ones(in_memory_path: Path) -> None:
    made = [event(NOW - MARGIN - number * DAY // 8, number) for number in range(80, 0, -1)]

    def too_long(asked: Asked) -> Answer | None:
        window = int(asked.query.get("end_time", NOW)) - int(asked.query.get("start_time", "0"))
        return error(500, "Error", "canceling statement due to statement timeout") if window > 9 * DAY else None

    async with logto_rigged(in_memory_path, tenant={"events": made}) as rig:
        always(rig.tenant, too_long)
        while len(await rig.drained()) < len(made):
            assert rig.source.health.reason == "server_error"
            always(rig.tenant, too_long)
        assert await rig.stored() == made


@pytest.mark.parametrize("answer", [429, 503])
async def test_a_limit_that_lets_less_through_than_a_window_has_pages_is_got_by(
    in_memory_path: Path, answer: int
) -> None:
    made = events(2_500, step_ms=50)
    asked: list[float] = []

    async with logto_rigged(in_memory_path, tenant={"events": made}) as rig:

        def four_a_minute(_: Asked) -> Answer | None:
            asked.append(rig.clock.secs)
            if sum(at > rig.clock.secs - 60 for at in asked) <= 4:
                return None
            asked.pop()
            return Answer(answer, {}, b"{}")

        for _ in range(100):
            rig.clock.secs += 60
            always(rig.tenant, four_a_minute)
            if len(await rig.drained()) == len(made):
                break
        assert await rig.stored() == made


async def test_a_tenant_that_fails_more_often_than_not_is_read_to_its_end(in_memory_path: Path) -> None:
    made = events(1_500, step_ms=2_000)
    draw = Random(7)

    def fails_often(_: Asked) -> Answer | None:
        return error(503, "Error", "no") if draw.random() < 0.6 else None

    async with logto_rigged(in_memory_path, tenant={"events": made}) as rig:
        for _ in range(100):
            always(rig.tenant, fails_often)
            rig.clock.secs += 60
            if len(await rig.drained()) == len(made):
                break
        assert await rig.stored() == made


async def test_it_walks_the_pages_once_an_answer_shows_that_times_are_ignored(in_memory_path: Path) -> None:
    # As after a move back to an older release.
    made = events(250)
    async with logto_rigged(in_memory_path, tenant={"events": made}) as rig:
        await rig.drained()
        rig.tenant.options = replace(rig.tenant.options, knows_times=False)
        later = [event(NOW + 10 * number, 1_000 + number) for number in range(150)]
        for raw in later:
            rig.tenant.add(raw)
        rig.clock.secs += 60
        assert await rig.drained() == made + later
        assert "start_time" not in rig.asked[-1].query


# -- clocks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behind", [3_600.0, 3.2e8])
async def test_a_server_whose_clock_is_behind_its_events_is_read_by_those(in_memory_path: Path, behind: float) -> None:
    made = events(40)
    tenant = {"events": [*made, event(NOW, 99)], "skew_secs": -behind}
    async with logto_rigged(in_memory_path, tenant=tenant) as rig:
        assert await rig.drained() == made
        told = [line for line in rig.capture.entries if "behind its own events" in line["event"]]
        assert [line["behind_secs"] for line in told] == [round(behind)]


async def test_a_server_whose_clock_is_ahead_loses_nothing_that_comes_in_order(in_memory_path: Path) -> None:
    made = events(40)
    async with logto_rigged(in_memory_path, tenant={"events": made, "skew_secs": 3.2e8}) as rig:
        assert await rig.drained() == made
        for number in range(5):
            made.append(event(NOW - MARGIN + 1_000 * number, 500 + number))
            rig.tenant.add(made[-1])
            assert await rig.drained() == made


async def test_an_event_from_the_future_keeps_nobody_from_those_of_now(in_memory_path: Path) -> None:
    made, future = events(40), event(NOW + 30 * DAY, 99)
    async with logto_rigged(in_memory_path, tenant={"events": [*made, future]}) as rig:
        assert await rig.drained() == made
        made.append(event(NOW, 100))
        rig.tenant.add(made[-1])
        rig.clock.secs += 3_700
        assert await rig.drained() == made


# -- retention ---------------------------------------------------------------------------------------------------------


async def test_away_for_longer_than_the_retention_is_a_gap_where_nothing_known_comes_back(in_memory_path: Path) -> None:
    async with logto_rigged(in_memory_path, tenant={"events": events(20), "retention_days": 3.0}) as rig:
        await rig.drained()
        rig.clock.secs += 5 * 86_400
        edge = NOW + 2 * DAY
        rig.tenant.add(event(edge - DAY, 50))
        rig.tenant.add(event(edge + 60_000, 51))
        await rig.restart()
        assert (await rig.drained())[20:] == [event(edge + 60_000, 51)]
        assert rig.handle.figures.gaps == 1
        assert rig.handle.figures.last_gap == (NOW - MARGIN, edge, False)
        assert [line["reason"] for line in rig.capture.entries if line["event"].startswith("gap")] == ["retention"]


async def test_a_tenant_that_still_has_what_is_known_has_no_gap(in_memory_path: Path) -> None:
    async with logto_rigged(in_memory_path, tenant={"events": events(20)}) as rig:
        await rig.drained()
        rig.clock.secs += 5 * 86_400
        rig.tenant.add(event(NOW + DAY, 50))
        await rig.restart()
        assert (await rig.drained())[20:] == [event(NOW + DAY, 50)]
        assert rig.handle.figures.gaps == 0
        assert any("retention_days" in line["event"] for line in rig.capture.entries)


# -- the journal -------------------------------------------------------------------------------------------------------


async def test_a_full_journal_pauses_reading_and_a_run_that_shall_end_ends(in_memory_path: Path) -> None:
    noise = Random(1)
    padding = [b',"pad":"%s"' % noise.randbytes(900).hex().encode() for _ in range(900)]
    big = [event(NOW - MARGIN - number, number, more=padding[number - 1]) for number in range(900, 0, -1)]
    async with logto_rigged(in_memory_path, tenant={"events": big}, journal={"max_bytes": 400_000}) as rig:
        await rig.drained()
        figures = rig.handle.figures
        assert figures.paused == "journal_full"
        asked = len(rig.asked)
        rig.tenant.add(event(NOW, 5_000))
        rig.clock.secs += 60

        reading = asyncio.create_task(rig.source.run())
        await asyncio.sleep(0.05)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert len(rig.asked) == asked
        assert rig.source.health.state == "paused"
