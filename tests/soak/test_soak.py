"""The soak's own parts: an oracle that sees nothing would make its hour worthless."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from multidict import CIMultiDict

from shipper.simulator.answer import Asked
from shipper.simulator.tenant import Tenant
from soak.ledger import ledger_problems
from soak.matrix import MOMENTS, PLACES, ROWS, cells
from soak.oracle import Held, Numbers, Verdict
from soak.scene import KINDS
from soak.tenant import FaultyTenant
from soak.traces import content_found, secrets_found
from soak.weather import Spell, Weather, drawn

ISSUED = [(f"{number:056}", b'{"n":%d}' % number) for number in range(10)]
TESTS = Path(__file__).parents[1]


def verdict(*writes: list[tuple[str, bytes]], allowed: int = 0, dead: dict[str, bytes] | None = None) -> Verdict:
    held = Held("siem", Numbers())
    for events in writes:
        held.add(events)
    return held.verdict(ISSUED, dead or {}, allowed)


def test_a_destination_that_has_everything_once_in_order_is_fine() -> None:
    found = verdict(ISSUED[:4], ISSUED[4:])
    assert found.fine
    assert (found.held, found.duplicates) == (10, 0)


@pytest.mark.parametrize(
    ("writes", "what"),
    [
        ([ISSUED[:4], ISSUED[5:]], "missing"),
        ([ISSUED, [("9" * 56, b"{}")]], "invented"),
        ([ISSUED[:9], [(ISSUED[9][0], b'{"n": 9}')]], "altered"),
        ([ISSUED, [(ISSUED[3][0], b"{}")]], "altered"),
        ([ISSUED[:3], ISSUED[4:], [ISSUED[3]]], "disordered"),
    ],
)
def test_every_kind_of_damage_is_seen(writes: list[list[tuple[str, bytes]]], what: str) -> None:
    found = verdict(*writes, allowed=5)
    assert getattr(found, what) == 1
    assert not found.fine


def test_duplicates_are_fine_up_to_what_crashes_and_lost_answers_explain() -> None:
    assert verdict(ISSUED, ISSUED[2:5], allowed=3).fine
    assert not verdict(ISSUED, ISSUED[2:5], allowed=2).fine
    held = Held("siem", Numbers())
    held.add(ISSUED)
    held.add(ISSUED[2:5], confirmed=False)
    assert held.verdict(ISSUED, {}, 0).fine


def test_a_dead_letter_counts_where_the_destination_refused_it_and_its_bytes_are_whole() -> None:
    id_, raw = ISSUED[9]
    held = Held("siem", Numbers())
    held.add(ISSUED[:9])
    assert held.verdict(ISSUED, {id_: raw}, 0).wrongly_dead == 1
    held.refuse(id_)
    assert held.verdict(ISSUED, {id_: raw}, 0).fine
    assert held.verdict(ISSUED, {id_: b"{}"}, 0).altered == 1


def test_one_seed_draws_one_weather_and_another_seed_another() -> None:
    first, again, other = (drawn(seed, "siem", KINDS["siem"], 600.0) for seed in ("1", "1", "2"))
    assert first == again != other
    assert all(before.end <= after.start for before, after in itertools.pairwise(first))
    assert first[-1].end <= 600.0


def test_a_recovery_lasts_from_the_end_of_a_fault_that_hit_until_something_gets_through() -> None:
    weather = Weather("siem", [Spell(0.0, 1e9, "503")])
    assert weather.fault() == "503"
    assert weather.hit
    weather.through()
    assert weather.recovering is not None, "the fault is not over"
    weather.blow("")
    assert weather.fault() == ""
    weather.through()
    assert weather.recovering is None
    assert 0 < weather.slowest_secs < 10


def test_a_fault_that_hits_nothing_leaves_nothing_to_recover_from() -> None:
    weather = Weather("siem")
    weather.blow("503")
    weather.blow("")
    weather.through()
    assert (weather.recovering, sum(weather.met.values())) == (None, 0)


def test_overlapping_pages_are_in_the_tenants_order_whatever_was_asked_before() -> None:
    events = [b'{"log_id":"%s"}' % f"900{n:053}".encode() for n in range(300)]
    weather = Weather("tenant")
    faulty = FaultyTenant(Tenant(events=events, plan="none"), weather)
    headers = CIMultiDict({"Host": "127.0.0.1", "Authorization": f"Bearer {faulty.tenant.issue_token()}"})

    def page(after: int) -> list[str]:
        query = {"from": f"900{after:053}", "take": "100"}
        asked = Asked("GET", "/api/v2/logs", query, headers, faulty.tenant.now())
        answer = faulty._logs(asked) or faulty.tenant.answer(asked)
        return [event["log_id"] for event in json.loads(answer.body)]

    page(0)
    page(100)  # asked ahead, by a daemon that is killed before it has stored the page before
    weather.blow("overlap")
    again = page(0)
    assert again == sorted(again)
    assert len(page(200)) == 199, "the page before it, and then the page"


def test_secrets_content_and_tracebacks_are_found_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "journal").write_bytes(b"\x00canary-secret\x00")
    (tmp_path / "log").write_text("ada.lovelace@example.com did it\nTraceback (most recent call last):\n")
    assert secrets_found(["canary-secret", "another"], [tmp_path]) == ["journal: canary-secret…"]
    found = content_found([b'{"user_name":"ada.lovelace@example.com","ip":"1"}'], [tmp_path / "log"])
    assert len(found) == 2


def test_a_ledger_with_another_event_is_seen() -> None:
    row = (0, 1, "a", "a", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb")  # sha256sum of "a"
    ledger = {"": [row], "siem": [row]}
    assert ledger_problems(ledger, ["a"], ["siem"]) == []
    assert len(ledger_problems(ledger, ["b"], ["siem"])) == 2
    assert len(ledger_problems(ledger, ["a"], ["siem", "archive"])) == 1


def test_every_fault_of_every_place_has_its_cells() -> None:
    met = {(place, KINDS[place][row % len(KINDS[place])], moment) for row, moment in cells() for place in PLACES}
    assert met == {(place, kind, moment) for place in PLACES for kind in KINDS[place] for moment in MOMENTS}
    assert len(cells()) == ROWS * len(MOMENTS)


def test_the_daemons_clock_is_as_wrong_as_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("-3600")
    program = (
        "import sys, time, pathlib; before = time.time(), time.monotonic();"
        "from soak.clock import install; install(pathlib.Path(sys.argv[1]));"
        "print(time.time() - before[0], time.time_ns() / 1e9 - before[0], time.monotonic() - before[1])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "clock")],
        env={"PYTHONPATH": str(TESTS)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    wrong, wrong_ns, monotonic = map(float, printed.stdout.split())
    assert wrong == pytest.approx(-3600, abs=30)
    assert wrong_ns == pytest.approx(-3600, abs=30)
    assert 0 <= monotonic < 30
