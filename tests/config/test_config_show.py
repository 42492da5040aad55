"""`shipper config show`: what is in force, as TOML, masked."""

import tomllib
from pathlib import Path

from config_case import SINK, SOURCE, WORKING, Case

from shipper.config import masked, to_toml


def test_what_is_shown_parses_again_to_the_same(tmp_path: Path) -> None:
    case = Case(tmp_path)
    text = (
        WORKING
        + 'tags = ["a\\"b", "c\\\\d", "e\\u007f\\u0085\\u202e", "\\U0001F600"]\n[sinks.siem.deep]\nlabel = "x\\ny"\n'
    )
    tree = masked(case.load(text))
    assert tomllib.loads(to_toml(tree)) == tree
    assert tree["sinks"]["siem"]["tags"] == ['a"b', "c\\d", "e\x7f\x85\u202e", "\U0001f600"]
    assert all(line.isprintable() for line in to_toml(tree).splitlines())


def test_defaults_and_overrides_are_shown_as_they_are_in_force(tmp_path: Path) -> None:
    tree = masked(Case(tmp_path).load(WORKING, {"SHIPPER_LOG__LEVEL": "debug"}))
    assert tree["log"] == {"level": "debug", "format": "auto"}
    assert tree["journal"]["keep_days"] == 3.0
    assert tree["sinks"]["siem"]["batch"] == {"max_events": 7, "max_bytes": 1_000_000, "timeout_secs": 9.0}
    assert "count" not in tree["sinks"]["siem"]


def test_a_secret_shows_stars_or_the_file_that_it_is_in(tmp_path: Path) -> None:
    case = Case(tmp_path)
    path = case.write("siem.token", "hush-hush")
    text = SOURCE + SINK.replace('token = "hush"', 'token_file = "siem.token"')
    tree = masked(case.load(text))
    assert tree["sinks"]["siem"]["token"] == f"from file {path}"
    assert tree["sources"]["acme"]["client_secret"] == "**********"
    assert "hush" not in to_toml(tree)


def test_a_proxys_password_is_masked_and_its_address_is_not(tmp_path: Path) -> None:
    tree = masked(Case(tmp_path).load(WORKING + 'proxy = "http://user:pa:ss@word@proxy.example:3128"\n'))
    assert tree["sinks"]["siem"]["proxy"] == "http://**********@proxy.example:3128"
