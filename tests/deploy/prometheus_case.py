"""A real Prometheus that scrapes a real daemon, with the rules of deploy/ at a quicker pace."""

import json
import re
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from daemon_case import until
from tool_case import tool

ROOT = Path(__file__).parents[2]
EVERY = "500ms"


class Prometheus:
    """One that listens on loopback, with its data in a directory of its own."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **asked: str) -> Any:
        """The data of an answer of its API, or a text that is none of that."""
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(asked)}", timeout=5) as answer:
            body = answer.read().decode()
        return json.loads(body)["data"] if path.startswith("/api/") else body

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Each series of the result, as of now."""
        found: list[dict[str, Any]] = self.get("/api/v1/query", query=expression)["result"]
        return found

    def values(self, expression: str) -> list[float]:
        """The values alone."""
        return [float(series["value"][1]) for series in self.query(expression)]

    def firing(self) -> set[tuple[str, str]]:
        """Names of the alerts that fire, with the sink that they are about."""
        return {
            (alert["labels"]["alertname"], alert["labels"].get("sink", ""))
            for alert in self.get("/api/v1/alerts")["alerts"]
            if alert["state"] == "firing"
        }

    def _ready(self) -> bool:
        try:
            return "Ready" in self.get("/-/ready")
        except OSError:
            return False

    @classmethod
    @contextmanager
    def scraping(cls, place: Path, target: str) -> "Iterator[Prometheus]":
        """While it runs. target: host and port of a daemon."""
        files = []
        for name in ("recording.yml", "alerts.yml"):
            files.append(place / name)
            files[-1].write_text(hurried((ROOT / "deploy" / "prometheus" / name).read_text()))
        config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "scrape.yml").read_text())
        config["global"] = {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY}
        config["rule_files"] = [str(file) for file in files]
        (job,) = config["scrape_configs"]
        job["scrape_interval"] = EVERY
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        # Beside the daemon another program, itself, as in a job for all pods.
        job["static_configs"] = [{"targets": [target, f"127.0.0.1:{port}"]}]
        (place / "prometheus.yml").write_text(yaml.safe_dump(config))
        log = place / "prometheus.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [
                    tool("prometheus"),
                    f"--config.file={place / 'prometheus.yml'}",
                    f"--storage.tsdb.path={place / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        try:
            found = cls(port)
            until(lambda: process.poll() is not None or found._ready(), log.read_text)
            assert process.poll() is None, log.read_text()
            yield found
        finally:
            process.kill()
            process.wait()


def hurried(rules: str) -> str:
    """The same rules, looked at as often as they are scraped, without their patience."""
    return re.sub(r"(?m)^(\s+interval:) .*$", rf"\1 {EVERY}", re.sub(r"(?m)^(\s+for:) .*$", r"\1 1s", rules))
