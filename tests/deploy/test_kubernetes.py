"""Kustomize and the chart: rendered by kubectl and helm, held against Kubernetes' schemas and what the daemon needs."""

import json
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from daemon_case import until
from dockerfile_case import stages
from kubernetes_case import (
    CHART,
    DIRECTORIES,
    KUBERNETES,
    OVERLAYS,
    ROOT,
    VALUES,
    Object,
    Rendered,
    gibibytes,
    helm,
    helmed,
    kustomized,
)
from tls_case import make_certificates
from tool_case import run

from shipper.config import ConfigError, Settings, load

OLDEST, NEWEST = "1.27", "1.37"
CUSTOM = {"PodMonitor"}
"""Kinds that Kubernetes itself does not know, so none of its schemas does."""
STOPPED = "components/stopped"


def rendered_of(directories: Iterable[str]) -> pytest.MarkDecorator:
    """Each of them by kubectl and by helm."""
    both = [(render, directory) for directory in directories for render in (kustomized, helmed)]
    ids = [f"{render.__name__}-{directory}" for render, directory in both]
    return pytest.mark.parametrize(("render", "directory"), both, ids=ids)


each = rendered_of(DIRECTORIES)
each_running = rendered_of(name for name in DIRECTORIES if name != STOPPED)
MADE_UP = "made-up"


@cache
def _authority() -> str:
    """A certificate, where a file has to hold one."""
    with TemporaryDirectory() as folder:
        return (make_certificates(Path(folder)) / "authority.pem").read_text()


# -- what Kubernetes says ----------------------------------------------------------------------------------------------


@each
def test_every_object_is_one_that_kubernetes_knows(render: Any, directory: str) -> None:
    objects = [one for one in render(directory).objects if one["kind"] not in CUSTOM]
    assert {one["kind"] for one in objects} == {
        "ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "ServiceAccount", "StatefulSet"
    }  # fmt: skip
    for one in objects:
        for version in (OLDEST, NEWEST):
            kubernetes_validate.validate(one, version, strict=True)


def test_a_slip_of_the_pen_is_one_that_the_schemas_find() -> None:
    wrong = json.loads(json.dumps(kustomized("base").kinds["StatefulSet"]))
    wrong["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


@each
def test_the_pod_is_what_the_restricted_standard_allows(render: Any, directory: str) -> None:
    # kubernetes.io/docs/concepts/security/pod-security-standards, and beyond it no token and no writable root.
    pod, container = render(directory).pod, render(directory).container
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"} & set(pod)
    assert not any("hostPort" in port for port in container["ports"])
    sources = {key for volume in pod["volumes"] for key in volume if key != "name"}
    assert sources <= {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert pod["automountServiceAccountToken"] is False
    assert render(directory).kinds["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert set(container["resources"]) == {"requests", "limits"}


@each
def test_what_picks_the_pod_picks_it_and_no_other(render: Any, directory: str) -> None:
    rendered: Rendered = render(directory)
    labels = rendered.template["metadata"]["labels"]
    specs = {kind: one["spec"] for kind, one in rendered.kinds.items() if "spec" in one}
    picked = [specs["NetworkPolicy"]["podSelector"]] + [
        specs[kind]["selector"] for kind in ("StatefulSet", "PodDisruptionBudget", *(CUSTOM & specs.keys()))
    ]
    assert all(one == {"matchLabels": labels} for one in picked)
    assert {"app.kubernetes.io/name", "app.kubernetes.io/instance"} == set(labels)


@each
def test_one_pod_with_one_volume_that_outlives_it(render: Any, directory: str) -> None:
    rendered: Rendered = render(directory)
    spec = rendered.kinds["StatefulSet"]["spec"]
    assert spec["replicas"] == 1
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert rendered.kinds["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    once = "ReadWriteOnce" if directory in ("base", "components/pod-monitor", STOPPED) else "ReadWriteOncePod"
    assert rendered.claim["accessModes"] == [once]


# -- what the daemon needs ---------------------------------------------------------------------------------------------


def secrets_of(config: str) -> list[str]:
    """The keys of the Secret that a configuration's comments ask for."""
    comments = " ".join(re.findall(r"(?m)^# (.*)", config))
    return re.findall(r"\b(?:(?:sources|sinks)\.\w+\.\w+|ca\.pem)\b", comments)


def loaded(rendered: Rendered, place: Path, secrets: list[str]) -> Settings:
    """The rendered configuration with these secrets, as the container would read it."""
    given = place / "secrets"
    given.mkdir(parents=True)
    for name in secrets:
        (given / name).write_text(_authority() if name.endswith(".pem") else MADE_UP)
    (place / "config.toml").write_text(rendered.config)
    [variable] = rendered.container["env"]
    assert variable == {"name": "CREDENTIALS_DIRECTORY", "value": rendered.mounted_at("secrets")}
    return load(place / "config.toml", {"CREDENTIALS_DIRECTORY": str(given)})


@each
def test_the_configuration_loads_with_the_secrets_that_it_names_and_without_any_of_them_it_does_not(
    render: Any, directory: str, tmp_path: Path
) -> None:
    secrets = secrets_of(render(directory).config)
    assert loaded(render(directory), tmp_path / "all", secrets)
    for missing in secrets:
        with pytest.raises(ConfigError):
            loaded(render(directory), tmp_path / missing, [name for name in secrets if name != missing])


@pytest.mark.parametrize(
    ("directory", "parts"), [("base", "1 source, 1 sink"), (f"overlays/{OVERLAYS[0]}", "3 sources, 2 sinks")]
)
def test_the_rendered_configuration_passes_check_offline(directory: str, parts: str, tmp_path: Path) -> None:
    loaded(kustomized(directory), tmp_path, secrets_of(kustomized(directory).config))
    credentials = f"CREDENTIALS_DIRECTORY={tmp_path / 'secrets'}"
    check = [sys.executable, "-m", "shipper", "check", "--offline", "--config", str(tmp_path / "config.toml")]
    assert parts in run("env", credentials, *check)


@each_running
def test_settings_pod_and_image_agree(render: Any, directory: str, tmp_path: Path) -> None:
    rendered: Rendered = render(directory)
    pod, container = rendered.pod, rendered.container
    settings = loaded(rendered, tmp_path / "all", secrets_of(rendered.config))
    _, image = stages()
    uid, gid = image.all("USER")[0].split(":")
    assert [pod["securityContext"][key] for key in ("runAsUser", "runAsGroup", "fsGroup")] == [
        int(uid),
        int(gid),
        int(gid),
    ]
    assert container["args"] == image.words("CMD")
    assert container["args"][-1] == f"{rendered.mounted_at('config')}/config.toml"
    assert image.pairs("ENV")["CREDENTIALS_DIRECTORY"] == rendered.mounted_at("secrets")
    assert str(settings.state_dir) == rendered.mounted_at("state")
    assert {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")} == {
        str(settings.state_dir), "/tmp"
    }  # fmt: skip
    [port] = container["ports"]
    assert settings.admin.listen == f"0.0.0.0:{port['containerPort']}"
    assert settings.shutdown_secs + 10 <= pod["terminationGracePeriodSeconds"]
    # 80 % of the file system is the journal's limit in any case.
    assert settings.journal.max_bytes <= 0.8 * gibibytes(rendered.claim["resources"]["requests"]["storage"]) * 2**30


@each_running
def test_no_probe_asks_for_anything_upstream_and_a_huge_journal_has_time(render: Any, directory: str) -> None:
    container = render(directory).container
    paths = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {
        "startupProbe": {"path": "/-/ready", "port": "metrics"},
        "livenessProbe": {"path": "/-/healthy", "port": "metrics"},
        "readinessProbe": {"path": "/-/ready", "port": "metrics"},
    }
    startup, liveness = container["startupProbe"], container["livenessProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 600
    assert liveness["timeoutSeconds"] > 5  # what /-/healthy gives the journal's thread
    assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 60


@each
def test_the_network_policy_lets_out_what_the_settings_ask_for_and_in_what_reads_metrics(
    render: Any, directory: str, tmp_path: Path
) -> None:
    rendered: Rendered = render(directory)
    policy = rendered.kinds["NetworkPolicy"]["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    [out] = policy["egress"]
    open_ports = {one["port"] for one in out["ports"] if one["protocol"] == "TCP"}
    settings = loaded(rendered, tmp_path / "all", secrets_of(rendered.config))
    addresses = [urlsplit(getattr(sink, "url", "")) for sink in settings.sinks.values()]
    assert open_ports == {53, 443} | {address.port for address in addresses if address.port}
    [comes] = policy["ingress"]
    assert comes["ports"] == [{"protocol": "TCP", "port": "metrics"}]
    assert comes["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]


@rendered_of(
    name for name in DIRECTORIES if name in ("components/pod-monitor", "overlays/many-tenants-to-s3-and-datadog")
)
def test_the_pod_monitor_has_the_operators_shape_and_finds_the_port(render: Any, directory: str) -> None:
    # prometheus-operator.dev/docs/api-reference: PodMonitor, monitoring.coreos.com/v1.
    rendered: Rendered = render(directory)
    monitor = rendered.kinds["PodMonitor"]
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert set(monitor["spec"]) == {"jobLabel", "selector", "podMetricsEndpoints"}
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint == {"port": rendered.container["ports"][0]["name"], "path": "/metrics", "interval": "30s"}
    job = rendered.template["metadata"]["labels"][monitor["spec"]["jobLabel"]]
    alerts = (ROOT / "deploy/prometheus/alerts.yml").read_text()
    assert all(re.fullmatch(asked, job) for asked in re.findall(r'job=~"([^"]+)"', alerts))
    assert "prometheus.io/scrape" not in rendered.template["metadata"].get("annotations", {})


def catches(pid: int, which: signal.Signals) -> bool:
    """Whether a process has a handler for a signal: the default for it means nothing to a container's first process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(re.findall(r"SigCgt:\s+(\w+)", status)[0], 16) >> (which - 1) & 1)


@rendered_of([STOPPED])
def test_a_stopped_pod_has_all_but_the_daemon_and_ends_when_it_is_told_to(render: Any, directory: str) -> None:
    stopped, running = render(directory).container, kustomized("base").container
    of_the_daemon = {"args", "startupProbe", "livenessProbe", "readinessProbe"}
    assert {name: part for name, part in running.items() if name not in of_the_daemon} == {
        name: part for name, part in stopped.items() if name != "command"
    }
    python, *words = stopped["command"]
    assert python == "python"
    with subprocess.Popen([sys.executable, *words]) as process:
        until(lambda: catches(process.pid, signal.SIGTERM) or process.poll() is not None)
        process.terminate()
        assert process.wait(10) == 0


# -- the chart ---------------------------------------------------------------------------------------------------------


def essentials(rendered: Rendered) -> dict[str, Object]:
    """Every object without what each of the two has to name in its own way: labels, namespace, the ConfigMap's name."""
    text = json.dumps(rendered.objects).replace(rendered.kinds["ConfigMap"]["metadata"]["name"], "shipper")
    found: dict[str, Object] = {one["kind"]: one for one in json.loads(text)}
    for one in found.values():
        one["metadata"] = {"name": one["metadata"]["name"], "annotations": one["metadata"].get("annotations", {})}
    template = found["StatefulSet"]["spec"]["template"]["metadata"]
    template["annotations"] = {
        name: value for name, value in template.get("annotations", {}).items() if not name.startswith("checksum/")
    }
    return found


@pytest.mark.parametrize("directory", VALUES)
def test_chart_and_kustomize_make_the_same(directory: str) -> None:
    assert essentials(helmed(directory)) == essentials(kustomized(directory))


def test_every_directory_has_its_values() -> None:
    assert set(VALUES) == set(DIRECTORIES)


def test_helm_finds_nothing_wrong_with_the_chart() -> None:
    said = helm("lint", "--strict", more=["--set-file", f"config={KUBERNETES}/base/config.toml"])
    assert "1 chart(s) linted, 0 chart(s) failed" in said


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "--set-file config=config.toml"),
        ({"config": "x", "replicas": 2}, "replicas"),
        ({"config": "x", "image": {"tag": "latest"}}, "tag"),
        ({"config": "x", "image": {"digest": "sha256:abc"}}, "digest"),
        ({"config": "x", "persistence": {"accessMode": "ReadWriteMany"}}, "accessMode"),
        ({"config": "x", "persistence": {"sise": "1Gi"}}, "sise"),
    ],
)
def test_values_that_can_not_be_right_are_refused_by_name(values: Object, words: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(words)):
        helm("template", "shipper", values=values)


def test_what_a_user_may_set_in_the_chart_arrives() -> None:
    values = {
        "config": "x = 1\n",
        "secretName": "other",
        "image": {"repository": "registry.example/shipper", "digest": f"sha256:{'0' * 64}", "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "pull"}],
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}],
        "persistence": {"storageClassName": "fast"},
        "networkPolicy": {"enabled": False},
        "podMonitor": {"enabled": True, "interval": "1m", "labels": {"release": "prometheus"}},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    }
    found = Rendered(helm("template", "acme-logs", values=values))
    for one in found.objects:
        assert one["metadata"]["name"] == "acme-logs"
        if one["kind"] not in CUSTOM:
            kubernetes_validate.validate(one, NEWEST, strict=True)
    pod, container = found.pod, found.container
    assert container["image"] == f"registry.example/shipper@sha256:{'0' * 64}"
    assert container["imagePullPolicy"] == "Always"
    assert container["env"][1:] == values["env"]
    assert [pod[name] for name in ("imagePullSecrets", "nodeSelector", "tolerations")] == [
        values[name] for name in ("imagePullSecrets", "nodeSelector", "tolerations")
    ]
    assert [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume] == ["other"]
    assert found.claim["storageClassName"] == "fast"
    assert "NetworkPolicy" not in found.kinds
    assert found.kinds["PodMonitor"]["metadata"]["labels"]["release"] == "prometheus"
    assert found.kinds["PodMonitor"]["spec"]["podMetricsEndpoints"][0]["interval"] == "1m"
    other = Rendered(helm("template", "acme-logs", values=values | {"config": "x = 2\n"}))
    assert other.template["metadata"]["annotations"] != found.template["metadata"]["annotations"]


def test_the_versions_are_the_programs() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["appVersion"], chart["kubeVersion"]) == (version, f">={OLDEST}.0-0")
    for directory in DIRECTORIES:
        assert kustomized(directory).container["image"].endswith(f"shipper:{version}")
