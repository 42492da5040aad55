"""A file system that is really full: polling waits, delivery goes on, and work resumes without a restart."""

import json
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_case import SECRETS, Daemon, Hec, TenantThread, raw_of
from strace_case import IN_CI

from shipper.scripted import Destination, Reply
from shipper.simulator.tenant import Tenant

DISK_BYTES = 64 << 20
BEFORE, MORE, LAST = 4000, 300, 100
CLIENT: dict[str, Any] = {"client_id": "canary-client", "client_secret": SECRETS["client_secret"], "plan": "none"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which only root can make."""
    place = tmp_path / "disk"
    place.mkdir()
    options = f"size={DISK_BYTES},mode=700"
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], check=False, capture_output=True)
    if made.returncode:
        assert not IN_CI, "CI must be able to mount a small file system"
        pytest.skip("only root can mount a small file system")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def fill(disk: Path) -> Path:
    """Someone else takes all that is left."""
    other = disk / "someone-else"
    with other.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    assert os.statvfs(disk).f_bavail == 0
    return other


def status(daemon: Daemon) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of the source, and of the lane into `siem`."""
    found = json.loads(daemon.get("/api/status")[1])
    return found["sources"][0], next(lane for lane in found["lanes"] if lane["sink"] == "siem")


def noisy(count: int) -> list[bytes]:
    """Events that compress badly, so that a few fill a journal."""
    chance = random.Random(7)
    made = [raw for _, raw in Tenant(count=count, **CLIENT).issued()]
    return [b'%s,"noise":"%s"}' % (raw.rstrip()[:-1], chance.randbytes(1500).hex().encode()) for raw in made]


def test_a_full_disk_stops_polling_but_not_delivery_and_resumes_by_itself(small_disk: Path) -> None:
    made = noisy(BEFORE + MORE + LAST)
    tenant, hec = Tenant(events=made[:BEFORE], **CLIENT), Hec()
    with TenantThread(tenant) as running, Destination(default=Reply(503)) as destination:
        daemon = Daemon(small_disk, running.url, destination.url, extra="[journal]\nkeep_days = 0\n")
        daemon.start()
        daemon.until(lambda: len(daemon.lines) == BEFORE)
        other = fill(small_disk)
        for raw in made[BEFORE : BEFORE + MORE]:
            tenant.add(raw)
        daemon.until(lambda: status(daemon)[0]["reason"] == "disk_full", "polling goes on")
        daemon.until(lambda: status(daemon)[1]["reason"] == "server_error", "the lane fails for another reason")
        assert status(daemon)[1]["lag_events"] < BEFORE + MORE

        destination.default = hec
        daemon.until(lambda: status(daemon)[1]["delivered"] >= BEFORE, "what is delivered can't be settled")
        daemon.until(lambda: len(hec.envelopes) == BEFORE + MORE, "the journal's own space is not used again")

        other.unlink()
        daemon.until(lambda: status(daemon)[0]["state"] == "running", "polling does not resume")
        daemon.until(lambda: (small_disk / "state" / "journal" / "ballast").exists(), "unarmed for the next time")
        for raw in made[BEFORE + MORE :]:
            tenant.add(raw)
        daemon.until(lambda: len(hec.envelopes) == len(daemon.lines) == len(made), "work does not resume")
        assert daemon.stop() == 0, "one process from start to end"
    assert list(map(raw_of, hec.envelopes)) == made
    assert list(map(raw_of, daemon.lines)) == made
