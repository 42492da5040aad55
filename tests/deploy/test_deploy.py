"""What lies in deploy/, checked by the tools of those who will run it."""

import re
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import yaml
from tool_case import run, tool

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
METRICS = {line.split()[0] for line in (ROOT / "tests/app/golden/metrics.txt").read_text().splitlines()}


# -- Kubernetes --------------------------------------------------------------------------------------------------------


def rendered() -> list[dict[str, Any]]:
    text = run(tool("kubectl"), "kustomize", str(DEPLOY / "kubernetes/base"))
    return list(yaml.safe_load_all(text))


def test_the_base_renders_to_objects_that_kubernetes_knows(tmp_path: Path) -> None:
    objects = rendered()
    assert sorted(one["kind"] for one in objects) == ["ConfigMap", "ServiceAccount", "StatefulSet"]
    for index, one in enumerate(objects):
        (tmp_path / f"{index}.yaml").write_text(yaml.safe_dump(one))
        run(tool("kubernetes-validate"), "--strict", str(tmp_path / f"{index}.yaml"))


def test_the_rendered_configuration_passes_check_offline(tmp_path: Path) -> None:
    config = next(one for one in rendered() if one["kind"] == "ConfigMap")["data"]["config.toml"]
    mounted = "/run/secrets/shipper"
    names = re.findall(rf"{mounted}/(\S+)\"", config)
    assert names
    for name in names:
        (tmp_path / name).write_text("made-up")
    (tmp_path / "config.toml").write_text(config.replace(mounted, str(tmp_path)))
    said = run(sys.executable, "-m", "shipper", "check", "--offline", "--config", str(tmp_path / "config.toml"))
    assert "1 sources, 1 sinks" in said
    assert tomllib.loads(config)["admin"]["listen"].startswith("0.0.0.0:")


# -- Prometheus --------------------------------------------------------------------------------------------------------


def test_prometheus_accepts_the_rules_and_the_example() -> None:
    run(tool("promtool"), "check", "rules", str(DEPLOY / "prometheus/alerts.yml"))
    run(tool("promtool"), "check", "config", str(DEPLOY / "prometheus/scrape.yml"))


def test_the_rules_name_metrics_that_exist() -> None:
    text = (DEPLOY / "prometheus/alerts.yml").read_text()
    assert set(re.findall(r"\bshipper_[a-z_]+\b", text)) <= METRICS


def test_every_alert_stands_in_the_runbook() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())
    alerts = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    runbook = (DEPLOY / "README.md").read_text()
    assert len(alerts) == 3
    assert [alert for alert in alerts if f"| {alert} |" not in runbook] == []


def test_an_alert_fires_for_what_it_means_and_stays_silent_for_a_quiet_tenant(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "prometheus/alerts.yml", tmp_path)
    shutil.copy(Path(__file__).parent / "alerts_test.yml", tmp_path)
    run(tool("promtool"), "test", "rules", str(tmp_path / "alerts_test.yml"))
