"""Commands of deploy/README.md for Kubernetes, carried out as far as no cluster is needed."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from kubernetes_case import KUBERNETES, OVERLAYS, ROOT, Rendered, kustomized
from tool_case import run, tool

RUNBOOK = (ROOT / "deploy/README.md").read_text()


def typed(start: str) -> str:
    """The only command that begins like this, on one line."""
    [found] = re.findall(rf"(?m)^\$ ({re.escape(start)}.*)$", RUNBOOK.replace("\\\n", " "))
    return str(found)


def test_the_runbooks_helm_command_is_one_that_helm_takes(tmp_path: Path) -> None:
    command = typed("helm upgrade --install ").replace("upgrade --install", "template")
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    shutil.copy(KUBERNETES / "base/config.toml", tmp_path)
    tool("helm")
    rendered = Rendered(run("sh", "-ec", f"cd {tmp_path}; {command}"))
    assert rendered.container["image"].startswith("registry.example/shipper:")
    assert rendered.claim["accessModes"] == ["ReadWriteOncePod"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_runbooks_copy_of_an_overlay_renders_and_is_stopped_by_the_runbooks_command(
    overlay: str, tmp_path: Path
) -> None:
    shutil.copytree(KUBERNETES, tmp_path / "deploy/kubernetes")
    copy = typed("cp -r deploy/kubernetes/overlays/").replace("one-tenant-to-splunk", overlay)
    stop = typed("sed -i 's|^components:")
    run("sh", "-ec", f"cd {tmp_path}; {copy}; {stop}")
    rendered = Rendered(run(tool("kubectl"), "kustomize", str(tmp_path / "deploy/kubernetes/overlays/mine")))
    assert rendered.container["command"] == kustomized("components/stopped").container["command"]
    assert rendered.config == kustomized(f"overlays/{overlay}").config


def test_the_runbooks_loop_makes_the_operators_objects_of_the_rules() -> None:
    [loop] = re.findall(r"(?ms)^\$ (for rules in .*?done)$", RUNBOOK)
    loop = loop.replace("kubectl apply -f -", "{ cat; echo ---; }")
    made = [one for one in yaml.safe_load_all(run("sh", "-ec", f"cd {ROOT}; {loop}")) if one]
    assert [(one["apiVersion"], one["kind"]) for one in made] == [("monitoring.coreos.com/v1", "PrometheusRule")] * 2
    for one in made:
        name = one["metadata"]["name"].removeprefix("shipper-")
        assert one["spec"] == yaml.safe_load((ROOT / f"deploy/prometheus/{name}.yml").read_text())
