"""The rules in deploy/prometheus: Prometheus' own tools, the golden file of metrics, and the runbook they lead to."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest
from promql_case import wrong_names
from tool_case import run, tool

from shipper.metrics import Metrics
from shipper.reasons import REASONS

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RUNBOOK = (ROOT / "deploy" / "README.md").read_text()
TESTS = sorted((Path(__file__).parent / "rules").glob("*_test.yml"))


def rules(file: str) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load((PROMETHEUS / file).read_text())["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules("alerts.yml")}
RECORDED = frozenset(rule["record"] for rule in rules("recording.yml"))


def anchors(level: str) -> list[str]:
    """The headings of one level, as their pages make links of them."""
    headings = re.findall(rf"^{level} (.*)$", RUNBOOK, re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_prometheus_accepts_the_rules_and_the_example() -> None:
    run(tool("promtool"), "check", "config", str(PROMETHEUS / "scrape.yml"))
    loaded = yaml.safe_load((PROMETHEUS / "scrape.yml").read_text())["rule_files"]
    assert {*loaded} == {path.name for path in PROMETHEUS.glob("*.yml")} - {"scrape.yml"}


@pytest.mark.parametrize("file", TESTS, ids=lambda path: path.stem)
def test_the_rules_do_what_their_tests_say(file: Path) -> None:
    run(tool("promtool"), "test", "rules", str(file))


def test_every_alert_is_seen_to_fire_and_to_stay_silent() -> None:
    cases = [
        case
        for file in TESTS
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test.get("alert_rule_test", [])
    ]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == set(ALERTS)
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == set(ALERTS)


@pytest.mark.parametrize(
    "rule", [*ALERTS.values(), *rules("recording.yml")], ids=lambda r: r.get("alert", r.get("record"))
)
def test_a_rule_names_metrics_labels_and_values_that_exist(rule: dict[str, Any]) -> None:
    templates = " ".join(rule.get("annotations", {}).values())
    in_templates = " ".join(re.findall(r"printf `([^`]*)`", templates)).replace("%q", '"$x"')
    assert wrong_names(rule["expr"], RECORDED, frozenset(REASONS)) == []
    assert wrong_names(in_templates, RECORDED, frozenset(REASONS)) == []


def test_what_no_daemon_shows_is_noticed() -> None:
    for slip in (
        "rate(shipper_wites_total[5m])",
        'shipper_writes_total{outcome="deliverd"}',
        'shipper_lag_seconds{tenant="acme"}',
        "sum by (tenant) (shipper_lag_seconds)",
        'shipper_write_failures_total{reason=~"auth|authentication"}',
        "lane:shipper_late:ratio7d",
        "process_uptime_seconds",
    ):
        assert len(wrong_names(slip, RECORDED, frozenset(REASONS))) == 1, slip


@pytest.mark.parametrize("alert", ALERTS.values(), ids=ALERTS.keys())
def test_an_alert_says_how_bad_it_is_and_leads_to_its_section_of_the_runbook(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning")
    said = alert["annotations"]
    assert said.keys() == {"summary", "description", "runbook_url"}
    assert said["summary"].endswith(".")
    assert said["description"].strip().endswith(".")
    assert said["runbook_url"] == f"deploy/README.md#{alert['alert'].lower()}"
    assert alert["alert"].lower() in anchors("###")


def test_the_runbook_has_a_section_for_each_alert_and_each_reason_and_none_besides() -> None:
    by_chapter = {part.split("\n", 1)[0]: part for part in RUNBOOK.split("\n## ")}
    for chapter, names, parts in (
        ("Alerts", list(ALERTS), ("**Means**", "**Look**", "**Do**")),
        ("Reasons", list(REASONS), ("**Do**",)),
    ):
        sections = by_chapter[chapter].split("\n### ")[1:]
        assert sorted(section.split("\n", 1)[0] for section in sections) == sorted(names)
        for section in sections:
            lowered = section.lower()
            assert [part for part in parts if part.lower() not in lowered] == [], section


def test_the_runbooks_alerts_are_listed_by_how_bad_they_are() -> None:
    rows = re.findall(r"^\| ([^|]*) \| ([^|]*)\|$", RUNBOOK, re.MULTILINE)
    for column, severity in enumerate(("critical", "warning")):
        listed = {name for row in rows for name in re.findall(r"\[(Shipper\w+)\]", row[column])}
        assert listed == {name for name, rule in ALERTS.items() if rule["labels"]["severity"] == severity}


def test_links_within_the_runbook_lead_to_its_headings() -> None:
    known = {*anchors("##"), *anchors("###")}
    assert [link for link in re.findall(r"\]\(#([^)]*)\)", RUNBOOK) if link not in known] == []
    contents = RUNBOOK.split("\n## ")[0]
    assert [anchor for anchor in anchors("##") if f"(#{anchor})" not in contents] == []


def test_prometheus_finds_nothing_wrong_with_the_names_of_the_metrics() -> None:
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"],
        input=generate_latest(Metrics().registry),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
