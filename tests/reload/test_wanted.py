"""What a change of the configuration ends and begins, by values."""

from pathlib import Path
from typing import Any

import pytest
from wanted_case import ACME, BETA, NEW, SIEM, settings

from shipper.wanted import Change, Parts, Wanted, change, needs_restart, wanted

BEFORE: dict[str, dict[str, Any]] = {
    "acme": ACME,
    "siem": SIEM,
    "old": {"url": "https://old.example", "from_sources": ["acme"]},
}
NOTHING = Parts()
ALL = Parts(
    ("acme",),
    (
        "siem",
        "old",
    ),
    (
        ("acme", "siem"),
        ("acme", "old"),
    ),
)
BETA_IN = {**BEFORE, "beta": BETA}


@pytest.mark.parametrize(
    ("changed", "ends", "begins"),
    [
        ({}, NOTHING, NOTHING),
        ({"old": None}, Parts((), ("old",), (("acme", "old"),)), NOTHING),
        ({"old": {**BEFORE["old"], "enabled": False}}, Parts((), ("old",), (("acme", "old"),)), NOTHING),
        ({"new": NEW}, NOTHING, Parts((), ("new",), (("acme", "new"),))),
        (
            {"siem": {**SIEM, "index": "other"}},
            Parts((), ("siem",), (("acme", "siem"),)),
            Parts((), ("siem",), (("acme", "siem"),)),
        ),
        (
            {"siem": {"type": "stdout"}},
            Parts((), ("siem",), (("acme", "siem"),)),
            Parts((), ("siem",), (("acme", "siem"),)),
        ),
        ({"siem": {**SIEM, "start": "latest"}}, NOTHING, NOTHING),
        ({"beta": BETA}, NOTHING, Parts(("beta",), (), (("beta", "siem"),))),
        (
            {"beta": BETA, "old": {**BEFORE["old"], "from_sources": ["acme", "beta"]}},
            NOTHING,
            Parts(
                ("beta",),
                (),
                (
                    ("beta", "siem"),
                    ("beta", "old"),
                ),
            ),
        ),
        (
            {"beta": BETA, "siem": {**SIEM, "from_sources": ["beta"]}},
            Parts((), (), (("acme", "siem"),)),
            Parts(("beta",), (), (("beta", "siem"),)),
        ),
        ({"acme": {**ACME, "poll_interval_secs": 9.0}}, Parts(("acme",)), Parts(("acme",))),
        ({"acme": {**ACME, "client_secret": "rotated"}}, Parts(("acme",)), Parts(("acme",))),
        ({"acme": BETA}, Parts(("acme",), (), ALL.lanes), Parts(("acme",), (), ALL.lanes)),
        (
            {"acme": None, "label": ACME, "old": {**BEFORE["old"], "from_sources": ["label"]}},
            Parts(("acme",), (), ALL.lanes),
            Parts(
                ("label",),
                (),
                (
                    ("label", "siem"),
                    ("label", "old"),
                ),
            ),
        ),
    ],
    ids=[
        "the same",
        "a sink goes",
        "a sink is disabled",
        "a sink comes",
        "a sink is changed",
        "a sink becomes another kind",
        "a start that is over",
        "a source comes",
        "and a sink takes it, too",
        "a sink takes another source",
        "a source is changed",
        "its secret",
        "another tenant under its name",
        "another name for it",
    ],
)
def test_only_what_differs_ends_and_begins(tmp_path: Path, changed: dict[str, Any], ends: Parts, begins: Parts) -> None:
    after = {name: values for name, values in {**BEFORE, **changed}.items() if values is not None}
    found = change(wanted(settings(tmp_path, BEFORE)), wanted(settings(tmp_path, after)))
    assert found == Change(ends, begins)


def test_a_start_and_an_end_are_changes_from_and_to_nothing(tmp_path: Path) -> None:
    everything = wanted(settings(tmp_path, BEFORE))
    assert change(Wanted(), everything) == Change(NOTHING, ALL)
    assert change(everything, Wanted()) == Change(ALL, NOTHING)


def test_a_rotated_secret_file_is_no_change_since_whoever_uses_it_reads_it_anew(tmp_path: Path) -> None:
    tables: dict[str, dict[str, Any]] = {**BEFORE, "siem": {**SIEM, "token_file": "token"}}
    (tmp_path / "token").write_text("first")
    before = wanted(settings(tmp_path, tables))
    (tmp_path / "token").write_text("second")
    assert change(before, wanted(settings(tmp_path, tables))) == Change(NOTHING, NOTHING)
    (tmp_path / "other").write_text("second")
    tables["siem"]["token_file"] = "other"
    assert change(before, wanted(settings(tmp_path, tables))).ends.sinks == ("siem",)


def test_a_change_is_told_in_names(tmp_path: Path) -> None:
    after: dict[str, dict[str, Any]] = {
        "acme": ACME,
        "siem": {**SIEM, "index": "x"},
        "new": {**NEW, "from_sources": ["acme"]},
    }
    found = change(wanted(settings(tmp_path, BEFORE)), wanted(settings(tmp_path, after)))
    assert found.told == {
        "added": ["sinks.new", "acme → new"],
        "removed": ["sinks.old", "acme → old"],
        "changed": ["sinks.siem", "acme → siem"],
    }
    assert change(wanted(settings(tmp_path, BEFORE)), wanted(settings(tmp_path, BEFORE))).told == {}


def test_what_a_reload_can_not_change_is_named(tmp_path: Path) -> None:
    before = settings(tmp_path, BEFORE)
    assert needs_restart(before, settings(tmp_path, BETA_IN, 'shutdown_secs = 3\nlog.level = "debug"')) == []
    head = 'state_dir = "/elsewhere"\nadmin.listen = ""\njournal.keep_days = 9\njournal.max_bytes = 2_000_000'
    named = ["state_dir", "journal.max_bytes", "journal.keep_days", "admin.listen"]
    assert needs_restart(before, settings(tmp_path, BEFORE, head)) == named
