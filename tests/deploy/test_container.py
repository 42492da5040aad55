"""The image: what its linter says, what it contains, and that it runs. The Dockerfile's own steps are carried out."""

import re
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_case import SECRETS, STARTED, Hec, TenantThread, until
from dockerfile_case import DOCKERFILE, ROOT, Image, kept, read_only_root, stages
from packaging.requirements import Requirement
from tool_case import run, tool

from shipper.config import choose_file
from shipper.scripted import Destination
from shipper.simulator.tenant import Tenant

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONFIG = """
state_dir = "{state}"
admin.listen = "127.0.0.1:0"
[sources.acme]
type = "auth0"
domain = "acme.us.auth0.com"
base_url = "{tenant}"
client_id = "canary-client"
[sinks.siem]
type = "splunk_hec"
url = "{siem}"
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """Takes half a minute of CPU: some 10,000 files are written and compiled, and then 220 MB given back."""
    place = tmp_path_factory.mktemp("image")
    yield Image(place)
    shutil.rmtree(place)


def test_the_dockerfile_passes_its_linter() -> None:
    run(tool("hadolint"), str(DOCKERFILE))


def test_every_file_that_the_image_copies_is_there_and_nothing_else_gets_into_the_build() -> None:
    build, final = stages()
    copied = [name for words in build.all("COPY") for name in words.split()[:-1]]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert [name for name in copied if not kept(f"{name}/cli.py" if (ROOT / name).is_dir() else name)] == []
    secret = [".git/config", "config.toml", "secrets/siem.token", "tests/conftest.py", "shipper/__pycache__/cli.pyc"]
    assert [name for name in secret if kept(name)] == []
    assert final.all("COPY") == ["--from=build /opt/shipper /opt/shipper"]


def test_the_image_says_what_it_is_and_runs_as_nobody() -> None:
    build, final = stages()
    assert build.base == "${BASE} AS build"
    assert final.base == "${BASE}"
    labels = final.pairs("LABEL")
    assert labels["org.opencontainers.image.title"] == PROJECT["name"]
    assert labels["org.opencontainers.image.licenses"] == PROJECT["license"]
    assert f"VERSION={PROJECT['version']}" in final.all("ARG")
    assert final.all("USER") == ["65532:65532"]
    assert final.all("STOPSIGNAL") == ["SIGTERM"]
    assert re.search(r"^ARG BASE=python:3\.\d+-slim-[a-z]+$", DOCKERFILE.read_text(), re.MULTILINE)


def test_the_image_holds_the_locked_packages_and_no_other(image: Image) -> None:
    locked = re.findall(r"(?m)^([a-z][^\\\n]*==[^\\\n]*)", (ROOT / "requirements.txt").read_text())
    wanted = [Requirement(line) for line in locked]
    here = {one.name for one in wanted if one.marker is None or one.marker.evaluate()}
    assert image.installed() == here | {PROJECT["name"]}
    assert not (image.place / "opt/shipper/bin/pip").exists()


def test_what_the_image_starts_delivers_from_a_read_only_file_system_and_ends_with_0_when_it_is_stopped(
    image: Image,
) -> None:
    state, config, secrets = (
        Path(image.inside(path)) for path in ("/var/lib/shipper", "/etc/shipper/config.toml", "/run/secrets/shipper")
    )
    for folder in (state, config.parent, secrets):
        folder.mkdir(parents=True)
    (secrets / "sources.acme.client_secret").write_text(SECRETS["client_secret"])
    (secrets / "sinks.siem.token").write_text(SECRETS["token"])
    tenant = Tenant(count=5, client_id="canary-client", client_secret=SECRETS["client_secret"], plan="none")
    hec = Hec()

    def said(*words: str) -> str:
        done = subprocess.run(words, env=image.env, cwd=state, capture_output=True, text=True, timeout=60)
        return f"{done.returncode} {done.stdout}{done.stderr}"

    with TenantThread(tenant) as running, Destination(default=hec) as destination:
        config.write_text(CONFIG.format(state=state, tenant=running.url, siem=destination.url))
        assert said(*image.entry("--version")) == f"0 shipper, version {PROJECT['version']}\n"
        offline = said(*image.entry("check", "--offline", "--config", str(config)))
        assert offline.startswith("0 ")
        assert "1 source, 1 sink" in offline
        # The health check looks where CMD does: at the default file, which isn't below our place.
        health_check = [image.inside(word) for word in image.final.health_check]
        assert image.final.words("CMD") == ["run", "--config", str(choose_file(None, {}))]
        assert health_check[1:] == ["status", "--alive"]
        health_check += ["--config", str(config)]
        assert said(*health_check).startswith("69 ")
        process = subprocess.Popen(
            [*read_only_root(state), *image.entry()], env=image.env, cwd=state, stderr=subprocess.PIPE, text=True
        )
        STARTED.append(process)
        until(lambda: len(hec.envelopes) == 5 or process.poll() is not None)
        assert said(*health_check) == "0 "
        process.send_signal(getattr(signal, image.final.all("STOPSIGNAL")[0]))
        _, log = process.communicate(timeout=30)
    assert (process.returncode, len(hec.envelopes)) == (0, 5), log
