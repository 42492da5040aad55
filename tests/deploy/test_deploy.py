"""What lies in deploy/, checked by the tools of those who will run it."""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import yaml
from tool_case import run, tool

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


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
