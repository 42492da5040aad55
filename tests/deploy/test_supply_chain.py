"""What gets into an installation: locked, by hash, and listed."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tool_case import tool

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
WANTED: dict[str, list[str]] = {
    "requirements.txt": PROJECT["dependencies"],
    "requirements-build.txt": PYPROJECT["dependency-groups"]["build"],
    "requirements-dev.txt": [line for line in PYPROJECT["dependency-groups"]["dev"] if isinstance(line, str)],
}


def locked(name: str) -> dict[str, tuple[str, set[str]]]:
    """Version and hashes of each package in a lock file, in which nothing else may stand."""
    text = re.sub(r"(?m)^ *#.*\n", "", (ROOT / name).read_text()).replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        package = re.fullmatch(r"([a-z0-9-]+)==([\w.]+)(?: ; [^#]*?)?((?: +--hash=sha256:[0-9a-f]{64})+) *", line)
        assert package is not None, f"{name}: {line[:80]}"
        found[package[1]] = package[2], set(re.findall(r"sha256:(\w+)", package[3]))
    return found


@pytest.mark.parametrize(("name", "wanted"), WANTED.items())
def test_every_dependency_is_locked_to_one_version_with_its_hashes(name: str, wanted: list[str]) -> None:
    assert {re.split(r"[>=;\[ ]", line)[0].replace(".", "-") for line in wanted} <= set(locked(name))


def test_what_is_tested_is_what_is_installed() -> None:
    dev = locked("requirements-dev.txt")
    for name in ("requirements.txt", "requirements-build.txt"):
        assert [package for package, pins in locked(name).items() if dev[package] != pins] == []


@pytest.mark.parametrize("name", ["Makefile", "README.md", "deploy/README.md", "deploy/container/Dockerfile"])
def test_nothing_is_installed_from_a_lock_file_without_its_hashes(name: str) -> None:
    installs = re.findall(r"pip[^\n]* install [^\n]*-r requirements[^\n]*", (ROOT / name).read_text())
    assert installs
    assert [line for line in installs if "--require-hashes" not in line] == []


def test_make_sbom_lists_every_locked_package_with_its_hashes_and_no_other(tmp_path: Path) -> None:
    tool("cyclonedx-py")
    make = ["make", "--silent", "--old-file", ".venv/.ready", "sbom", f"BIN={Path(sys.executable).parent}"]
    subprocess.run([*make, f"SBOM={tmp_path / 'sbom'}"], cwd=ROOT, check=True, capture_output=True, timeout=120)
    made = json.loads((tmp_path / "sbom").read_text())
    assert (made["bomFormat"], made["metadata"]["component"]["type"]) == ("CycloneDX", "application")
    ours = made["metadata"]["component"]
    assert (ours["name"], ours["version"]) == (PROJECT["name"], PROJECT["version"])
    listed = {
        part["purl"]: {one["content"] for where in part["externalReferences"] for one in where.get("hashes", [])}
        for part in made["components"]
    }
    assert listed == {
        f"pkg:pypi/{name}@{version}": hashes for name, (version, hashes) in locked("requirements.txt").items()
    }
