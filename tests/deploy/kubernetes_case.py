"""What kubectl and helm make of deploy/kubernetes, as Python objects, and the ways in which users put it together."""

import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from tool_case import run, tool

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
CHART = KUBERNETES / "chart"
OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())
COMPONENTS = sorted(path.name for path in (KUBERNETES / "components").iterdir())
DIRECTORIES = ["base", *(f"overlays/{name}" for name in OVERLAYS), *(f"components/{name}" for name in COMPONENTS)]
VALUES: Mapping[str, Mapping[str, Any]] = {
    "base": {},
    "components/pod-monitor": {"podMonitor": {"enabled": True}},
    "components/read-write-once-pod": {"persistence": {"accessMode": "ReadWriteOncePod"}},
    "components/stopped": {"stopped": True},
    "overlays/one-tenant-to-splunk": {
        "image": {"repository": "registry.example/shipper"},
        "persistence": {"accessMode": "ReadWriteOncePod"},
        "networkPolicy": {"egressPorts": [443, 8088]},
    },
    "overlays/many-tenants-to-s3-and-datadog": {
        "image": {"repository": "registry.example/shipper"},
        "persistence": {"accessMode": "ReadWriteOncePod", "size": "100Gi"},
        "podMonitor": {"enabled": True},
        "resources": {"requests": {"cpu": "200m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/shipper"}},
    },
}
"""What makes of the chart what each directory is."""

Object = dict[str, Any]


class Rendered:
    """All objects of one rendering, by kind."""

    def __init__(self, text: str) -> None:
        self.objects: list[Object] = [one for one in yaml.safe_load_all(text) if one]
        self.kinds = {one["kind"]: one for one in self.objects}
        assert len(self.kinds) == len(self.objects)

    @property
    def config(self) -> str:
        """The configuration file's text."""
        data: dict[str, str] = self.kinds["ConfigMap"]["data"]
        assert list(data) == ["config.toml"]
        return data["config.toml"]

    @property
    def template(self) -> Object:
        """The pod's template."""
        found: Object = self.kinds["StatefulSet"]["spec"]["template"]
        return found

    @property
    def pod(self) -> Object:
        """The pod's spec."""
        found: Object = self.template["spec"]
        return found

    @property
    def container(self) -> Object:
        """The only container."""
        [found] = self.pod["containers"]
        assert isinstance(found, dict)
        return found

    @property
    def claim(self) -> Object:
        """The spec of the journal's volume claim."""
        [found] = self.kinds["StatefulSet"]["spec"]["volumeClaimTemplates"]
        spec: Object = found["spec"]
        return spec

    def mounted_at(self, volume: str) -> str:
        """Where a volume stands in the container."""
        [path] = [mount["mountPath"] for mount in self.container["volumeMounts"] if mount["name"] == volume]
        return str(path)


@cache
def kustomized(directory: str) -> Rendered:
    """base, overlays/NAME, or base with components/NAME."""
    if not directory.startswith("components/"):
        return Rendered(run(tool("kubectl"), "kustomize", str(KUBERNETES / directory)))
    with tempfile.TemporaryDirectory() as place:
        copy = shutil.copytree(KUBERNETES, Path(place) / "kubernetes")
        tried = copy / "overlays/tried"
        tried.mkdir()
        both = {"resources": ["../../base"], "components": [f"../../{directory}"]}
        (tried / "kustomization.yaml").write_text(yaml.safe_dump(both))
        return Rendered(run(tool("kubectl"), "kustomize", str(tried)))


@cache
def helmed(directory: str) -> Rendered:
    """The chart with a directory's configuration and the values that make the same of it."""
    of = "base" if directory.startswith("components/") else directory
    config = KUBERNETES / of / "config.toml"
    return Rendered(helm("template", "shipper", values=VALUES[directory], more=["--set-file", f"config={config}"]))


def helm(command: str, *words: str, values: Mapping[str, Any] | None = None, more: Iterable[str] = ()) -> str:
    """helm's output for our chart."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(dict(values or {}), file)
        file.flush()
        return run(tool("helm"), command, *words, str(CHART), "--values", file.name, *more)


def gibibytes(quantity: str) -> int:
    """Kubernetes' quantity in GiB."""
    found = re.fullmatch(r"(\d+)Gi", quantity)
    assert found is not None
    return int(found[1])
