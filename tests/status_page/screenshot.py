"""`make screenshot`: the README's picture of the status page, of a real daemon whose Splunk stops taking its token."""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from daemon_case import SUCCESS, TenantThread, until
from page_case import Watched, chromium

from shipper.scripted import Destination, Reply
from shipper.simulator.tenant import Tenant

TENANTS = {"acme": (40, 14.0), "beta": (9, 5.0)}
"""Name: events there at the beginning, events a second."""
CONFIG = """
state_dir = "{place}/state"
log.format = "json"
[admin]
listen = "127.0.0.1:0"
[sinks.siem]
type = "splunk_hec"
url = "{siem}"
token = "made-up"
[sinks.observability]
type = "datadog"
url = "{observability}"
api_key = "made-up"
[sinks.archive]
type = "s3"
bucket = "logs"
endpoint_url = "{archive}"
region = "us-east-1"
batch.timeout_secs = 60
"""
SOURCE = """
[sources.{name}]
type = "auth0"
domain = "{name}.us.auth0.com"
base_url = "{url}"
client_id = "simulated-client"
client_secret = "simulated-secret"
poll_interval_secs = 1
"""


def main() -> int:
    """Takes as long as the history that shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--secs", type=float, default=360.0, help="how long the daemon has run [360]")
    asked = parser.parse_args()
    program, smaller = shutil.which("chromium"), shutil.which("pngquant")
    if program is None or smaller is None:
        parser.error("this needs the programs chromium and pngquant")
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        siem = stack.enter_context(Destination(default=SUCCESS))
        observability = stack.enter_context(Destination(default=Reply(202)))
        archive = stack.enter_context(Destination(default=Reply(200, headers={"ETag": '"made-up"'})))
        config = CONFIG.format(place=place, siem=siem.url, observability=observability.url, archive=archive.url)
        for name, (backlog, rate) in TENANTS.items():
            tenant = Tenant(domain=f"{name}.us.auth0.com", count=0, backlog=backlog, rate=rate, history_secs=30)
            config += SOURCE.format(name=name, url=stack.enter_context(TenantThread(tenant)).url)
        (place / "config.toml").write_text(config)
        address = stack.enter_context(_Daemon(place)).address
        time.sleep(asked.secs * 0.6)
        siem.default = Reply(403, b'{"text":"Invalid token","code":4}')
        time.sleep(asked.secs * 0.4)
        browser = stack.enter_context(chromium(program, place))
        page = Watched(browser, viewport={"width": 1180, "height": 900}).open(address)
        page.wait_for_timeout(4000)  # a rate needs a few seconds
        page.screenshot(path=asked.file, full_page=True)
        subprocess.run([smaller, "--force", "--output", asked.file, "256", asked.file], check=True)
    return 0


class _Daemon:
    def __init__(self, place: Path) -> None:
        self._place = place

    def __enter__(self) -> Self:
        keys = {"AWS_ACCESS_KEY_ID": "made-up", "AWS_SECRET_ACCESS_KEY": "made-up"}
        command = [sys.executable, "-m", "shipper", "run", "--config", str(self._place / "config.toml")]
        with (self._place / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stderr=log, env={**os.environ, **keys})
        return self

    @property
    def address(self) -> str:
        """Where its page is."""
        until(lambda: '"admin"' in (self._place / "log").read_text(), lambda: (self._place / "log").read_text())
        found = re.search(r'"admin": ?"([^"]+)"', (self._place / "log").read_text())
        assert found is not None
        return f"http://{found[1]}/"

    def __exit__(self, *error: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()


if __name__ == "__main__":
    sys.exit(main())
