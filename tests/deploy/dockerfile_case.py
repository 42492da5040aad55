"""The Dockerfile read and carried out without an engine: its own steps, on paths below a directory of ours."""

import json
import os
import re
import shutil
import subprocess
import sysconfig
from fnmatch import fnmatch
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy/container/Dockerfile"
_INSIDE = re.compile(r"(?<![\w./*])/(?=(?:opt|src|dist|etc|run|var)\b)")
"""Where a path of the image begins."""
_UNREACHABLE = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ProxyError", "MaxRetryError")


class Stage:
    """What stands between one FROM and the next."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.steps: list[tuple[str, str]] = []

    def all(self, instruction: str) -> list[str]:
        """What stands behind each instruction of this name."""
        return [words for name, words in self.steps if name == instruction]

    def words(self, instruction: str) -> list[str]:
        """The last instruction of this name, which is in JSON: no shell takes it apart."""
        found: list[str] = json.loads(self.all(instruction)[-1])
        return found

    def pairs(self, instruction: str) -> dict[str, str]:
        """The last word of each NAME=VALUE, which may be in quotes."""
        found = [re.findall(r'([\w.]+)=("[^"]*"|\S+)', words) for words in self.all(instruction)]
        return {name: value.strip('"') for pairs in found for name, value in pairs}

    @property
    def health_check(self) -> list[str]:
        """The command that HEALTHCHECK names."""
        found: list[str] = json.loads(self.all("HEALTHCHECK")[-1].partition("CMD ")[2])
        return found


def stages() -> list[Stage]:
    """Build and final stage."""
    text = re.sub(r"(?m)^#.*\n", "", DOCKERFILE.read_text()).replace("\\\n", "")
    found: list[Stage] = []
    for line in text.splitlines():
        name, _, words = line.strip().partition(" ")
        if name == "FROM":
            found.append(Stage(words))
        elif name and found:
            found[-1].steps.append((name, words.strip()))
    return found


class Image:
    """The build stage carried out below `place`, as an engine would have done it in a container of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._build, self.final = stages()
        for name, words in self._build.steps:
            if name == "COPY":
                self._copy(*words.split())
            elif name == "RUN":
                self._run(re.sub(r"--mount=\S+ +", "", words))

    def inside(self, text: str) -> str:
        """The same with the image's paths below our place."""
        return _INSIDE.sub(f"{self.place}/", text)

    @property
    def _workdir(self) -> Path:
        return Path(self.inside(self._build.all("WORKDIR")[0]))

    def _copy(self, *words: str) -> None:
        *names, to = words
        self._workdir.mkdir(parents=True, exist_ok=True)
        for name in names:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self._workdir / to, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, self._workdir / to)

    def _run(self, command: str) -> None:
        outer = {name: value for name, value in os.environ.items() if not name.startswith(("SHIPPER_", "PYTHON"))}
        path = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-ec", self.inside(command)],
            cwd=self._workdir, env=outer | self._build.pairs("ENV") | {"PATH": path}, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode and any(word in done.stderr for word in _UNREACHABLE) and not os.environ.get("CI"):
            pytest.skip("the locked packages can't be downloaded from here")
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"

    @property
    def env(self) -> dict[str, str]:
        """A container's whole environment: nothing of ours gets in."""
        env = {name: self.inside(value) for name, value in self.final.pairs("ENV").items()}
        return env | {"PATH": env["PATH"].replace("$PATH", "/usr/local/bin:/usr/bin:/bin"), "HOME": "/"}

    def entry(self, *words: str) -> list[str]:
        """The words of `docker run IMAGE WORDS`; without any, what CMD says."""
        return [self.inside(word) for word in (*self.final.words("ENTRYPOINT"), *(words or self.final.words("CMD")))]

    def installed(self) -> set[str]:
        """The names of all packages in the environment that the final stage copies."""
        places = [str(place) for place in self.place.glob("opt/shipper/lib/python3.*/site-packages")]
        return {re.sub(r"[-_.]+", "-", found.name).lower() for found in distributions(path=places)}


def kept(name: str) -> bool:
    """Whether .dockerignore lets this file of the project into the build; the last pattern that fits decides."""
    verdict = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        parts = Path(name).parts
        if fnmatch(name, pattern) or (line.startswith("**/") and any(fnmatch(part, pattern) for part in parts)):
            verdict = line.startswith("!")
    return verdict


def read_only_root(writable: Path) -> list[str]:
    """Words before a command that give it a file system that can't be written but there; none where this user can't."""
    script = 'mount --bind "$1" "$1"; mount -o remount,bind,ro /; shift; exec "$@"'
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", str(writable)]
    try:
        able = subprocess.run([*words, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        able = False
    return words if able else []
