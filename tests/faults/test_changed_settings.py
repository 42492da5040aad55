"""What changes around a lane that has a backlog: its sink's name (L13), its credentials and authorities (L11).

Over real processes: `tests/app/test_operator.py` (a disabled sink, `forget`, `rename`, a changed secret file). A state
directory of another owner or mode, L11: `tests/journal/test_journal_opening.py` (`test_a_directory_that_may_not_be_
written_is_refused`, `test_directory_and_files_are_private_under_any_umask`). A half replaced secret file:
`tests/test_sink.py` (`test_while_a_file_is_replaced_the_old_secret_stays`).
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lane_under_fault_case import LaneUnderFault, assert_told, issued, lane_for, repeats
from place_case import CANARY, KEEPERS, DatadogKeeper, Keeper, Place, SplunkKeeper, quoted
from sink_faults_case import HTTP_SINKS
from tls_case import make_certificates

from shipper import Secret
from shipper.journal.sqlite import SqliteJournal
from shipper.scripted import Received, Reply

EVENTS, BATCH = 12, 4


# -- a sink leaves, comes, comes back, gets another name (L13) ---------------------------------------------------------


async def one_batch_delivered(place: Place, state_dir: Path) -> None:
    """A process with one sink, which ends after its first batch of three; the journal keeps delivered events no longer
    than it must."""
    async with lane_for(place.keeper.sink(place.url), state_dir) as lane:
        await lane.store(issued(EVENTS)[:BATCH])
        await lane.deliver()
        await lane.store(issued(EVENTS)[BATCH:])


async def other_sink_delivers(state_dir: Path, sink: str, start: str = "earliest") -> list[bytes]:
    """A process with another sink only, which trims whatever it may."""
    with Place(SplunkKeeper()) as place:
        async with lane_for(place.keeper.sink(place.url), state_dir, sink, start) as lane:
            await lane.deliver()
            await lane.journal.trim()
            assert lane.lane.figures.lag == 0
        return [raw for write in place.keeper.taken for raw in write]


async def test_a_sink_that_left_with_a_backlog_gets_all_of_it_when_it_comes_back(tmp_path: Path) -> None:
    with Place(SplunkKeeper()) as place:
        await one_batch_delivered(place, tmp_path)
        await other_sink_delivers(tmp_path, "archive")
        async with lane_for(place.keeper.sink(place.url), tmp_path) as lane:
            assert lane.lane.figures.lag == EVENTS - BATCH
            await lane.deliver()
            await lane.assert_nothing_lost(issued(EVENTS), place.keeper.taken)
            assert repeats(place.keeper.taken) == 0


async def test_a_sink_that_left_does_not_hold_up_the_others(tmp_path: Path) -> None:
    with Place(SplunkKeeper()) as place:
        await one_batch_delivered(place, tmp_path)
        assert await other_sink_delivers(tmp_path, "archive") == [event.raw for event in issued(EVENTS)]


@pytest.mark.parametrize(("start", "first"), [("earliest", 0), ("latest", EVENTS)])
async def test_a_sink_that_is_added_begins_where_its_start_says(tmp_path: Path, start: str, first: int) -> None:
    with Place(SplunkKeeper()) as place:
        await one_batch_delivered(place, tmp_path)
        assert await other_sink_delivers(tmp_path, "new", start) == [event.raw for event in issued(EVENTS)[first:]]


async def test_a_sink_that_was_renamed_goes_on_where_it_stood(tmp_path: Path) -> None:
    with Place(SplunkKeeper()) as place:
        await one_batch_delivered(place, tmp_path)
        journal = await SqliteJournal.open(tmp_path, max_bytes=1 << 30)
        await journal.rename("siem", "splunk", "someone")
        await journal.close()
        async with lane_for(place.keeper.sink(place.url), tmp_path, "splunk") as lane:
            await lane.deliver()
            await lane.assert_nothing_lost(issued(EVENTS), place.keeper.taken)
            assert repeats(place.keeper.taken) == 0
            assert list(lane.journal.figures.sources["acme"].lanes) == ["splunk"]


async def test_a_new_name_without_rename_begins_anew_and_the_old_place_is_kept(tmp_path: Path) -> None:
    with Place(SplunkKeeper()) as place:
        await one_batch_delivered(place, tmp_path)
        assert len(await other_sink_delivers(tmp_path, "splunk")) == EVENTS
        async with lane_for(place.keeper.sink(place.url), tmp_path) as lane:
            assert lane.lane.figures.lag == EVENTS - BATCH


# -- a secret or an authority is replaced while the lane is held (L11) -------------------------------------------------


def knows(keeper: Keeper, secret: str) -> Callable[[Received], Reply]:
    """Takes what comes with this secret, and nothing else."""

    def answer(received: Received) -> Reply:
        return keeper.take(received) if secret in quoted(received) else Reply(403, keeper.error(received, 403)[0])

    return answer


@pytest.mark.parametrize(("keeper", "setting"), [(SplunkKeeper(), "token"), (DatadogKeeper(), "api_key")])
async def test_a_secret_that_was_replaced_ends_the_hold_with_the_next_write(
    tmp_path: Path, keeper: Keeper, setting: str
) -> None:
    file = tmp_path / "secret"
    file.write_text(CANARY)
    with Place(keeper) as place:
        place.behave(knows(keeper, "the-next-secret"))
        sink = keeper.sink(place.url, **{setting: Secret(path=file)})
        async with lane_for(sink, tmp_path / "state") as lane:
            await lane.store(issued(EVENTS))
            await held_until(lane, "auth", lambda: file.write_text("the-next-secret"))
            await lane.assert_nothing_lost(issued(EVENTS), place.keeper.taken)
        lane.assert_no_leak("")


@pytest.mark.parametrize("kind", HTTP_SINKS)
async def test_an_authority_that_was_replaced_ends_the_hold_with_the_next_write(
    tmp_path: Path, kind: str, aws: Callable[..., None]
) -> None:
    aws(("made-up-access-key", CANARY))
    for name in ("before", "now"):
        (tmp_path / name).mkdir()
        make_certificates(tmp_path / name)
    trusted = tmp_path / "ca.pem"
    shutil.copy(tmp_path / "before" / "authority.pem", trusted)
    with Place(KEEPERS[kind](), certificates=tmp_path / "now") as place:
        sink = place.keeper.sink(place.url, tls={"ca_file": trusted})
        async with lane_for(sink, tmp_path / "state") as lane:
            await lane.store(issued(EVENTS))
            await held_until(lane, "tls", lambda: shutil.copy(tmp_path / "now" / "authority.pem", trusted))
            await lane.assert_nothing_lost(issued(EVENTS), place.keeper.taken)


async def held_until(lane: LaneUnderFault, reason: str, mend: Callable[[], Any]) -> None:
    """Two writes fail; what is mended then counts at the latest with the second write behind it."""
    lane.heal, lane.heal_after = mend, 2
    await lane.deliver()
    assert lane.failures_by_reason().keys() == {reason}
    assert lane.failures() - lane.failed_until_healed <= 1
    assert_told(lane.lines("held")[0], reason, "")
    assert lane.lane.figures.delivered == EVENTS
