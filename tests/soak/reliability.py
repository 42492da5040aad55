"""The part that the soak is named for: kills, faults, full disks and stepping clocks, and then calm and the count."""

import contextlib
import random
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from shipper.simulator.options import Options
from soak.archive import store
from soak.disk import Disk, disk
from soak.report import Report
from soak.scene import KINDS, Scene
from soak.weather import Weather, drawn

STEPS = ("3600", "-3600", str(10 * 365 * 86_400), str(-10 * 365 * 86_400))
"""How wrong the daemon's clock may be, in seconds: an hour and ten years, ahead and behind."""
WAYS = ("SIGKILL",) * 13 + ("SIGKILL while it starts",) * 2 + ("SIGTERM",) * 2 + ("SIGTERM twice", "SIGSTOP", "SIGSTOP")
SCRAPE_SECS = 3.0


class Storm:
    """What happens to one scene. chance: draws the kills. secs: until it gets calm."""

    def __init__(self, scene: Scene, small_disk: Disk, chance: random.Random, secs: float, kill_secs: float) -> None:
        self._scene, self._daemon, self._disk = scene, scene.daemon, small_disk
        self._chance, self._secs, self._kill_secs = chance, secs, kill_secs
        self._clock = scene.weather["clock"]
        self._wrong_clock = self._full_at = 0.0

    def blow(self) -> None:
        """Strikes until it gets calm, and leaves nothing broken behind."""
        self._daemon.start()
        while (left := self._secs - self._clock.secs) > 0:
            way = self._chance.choice(WAYS)
            at_start = way == "SIGKILL while it starts"
            life = self._chance.uniform(0.02, 1.0) if at_start else self._chance.uniform(1, self._kill_secs)
            self._wait(min(left, life))
            if self._clock.secs < self._secs:
                self._strike(way)
        self._wait(0.2)

    def _wait(self, secs: float) -> None:
        """Lets time pass: disk and clock have their weather, and a daemon that ends by itself is started again."""
        end, scrape = time.monotonic() + secs, time.monotonic() + SCRAPE_SECS
        while time.monotonic() < end:
            self._fill_or_clear()
            self._step_clock()
            if self._daemon.ended:
                self._ended_by_itself()
            if time.monotonic() > scrape:
                self._daemon.scrape()
                scrape = time.monotonic() + SCRAPE_SECS
            threading.Event().wait(0.05)

    def _fill_or_clear(self) -> None:
        if self._scene.weather["disk"].fault():
            self._disk.fill()
            self._full_at = time.monotonic()
        else:
            self._disk.clear()
            self._scene.weather["disk"].through()

    def _step_clock(self) -> None:
        wrong = float(self._clock.fault() or 0.0)
        if wrong != self._wrong_clock:
            self._wrong_clock = wrong
            self._daemon.set_clock(wrong)
        if not wrong:
            self._clock.through()

    def _ended_by_itself(self) -> None:
        status = self._daemon.end()
        full = self._full_at > self._daemon.started_at
        self._scene.ends[f"by itself with {status}{', the disk being full' if full else ''}"] += 1
        # On a disk without a free byte it can't be started; it says so, and is started again.
        if not (full and status == 74):
            self._scene.problems.append(f"the daemon ended by itself with {status}: {self._scene.last_words()}")
        threading.Event().wait(0.5)
        self._daemon.start()

    def _strike(self, way: str) -> None:
        self._scene.ends[way] += 1
        if way == "SIGSTOP":
            self._daemon.signal(signal.SIGSTOP)
            self._wait(self._chance.uniform(1, 8))
            self._daemon.signal(signal.SIGCONT)
            return
        if way.startswith("SIGKILL"):
            self._daemon.signal(signal.SIGKILL)
        else:
            self._daemon.signal(signal.SIGTERM)
            if way == "SIGTERM twice":
                threading.Event().wait(self._chance.uniform(0, 0.3))
                self._daemon.signal(signal.SIGTERM)
        status = self._daemon.end()
        # Before it listens to signals, SIGTERM ends it as any other program.
        expected = (0, -signal.SIGTERM, 74) if self._full_at > self._daemon.started_at else (0, -signal.SIGTERM)
        if way.startswith("SIGTERM") and status not in expected:
            self._scene.problems.append(f"after {way} it ended with {status}: {self._scene.last_words()}")
        self._daemon.start()


@contextlib.contextmanager
def folder(keep: Path | None) -> Iterator[Path]:
    """A new folder for what a run leaves, which stays if it was asked for."""
    if keep is not None:
        keep.mkdir(parents=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="shipper-soak-") as made:
        yield Path(made)


def reliability(*, seed: str, secs: float, rate: float, kill_secs: float, keep: Path | None = None) -> Report:
    """One run. rate: events a second. kill_secs: a daemon's longest life. keep: a new folder for what it leaves."""
    chance, began = random.Random(f"{seed} kills"), time.monotonic()
    made = Options(
        plan="none", token_life_secs=60.0, backlog=int(10 * rate), count=int(rate * (secs + 10)), rate=rate,
        seed=chance.randrange(1 << 30),
    )  # fmt: skip
    with folder(keep) as place, disk(place / "disk") as small_disk, store(place / "store") as store_url:
        kinds = {**KINDS, "disk": ("full",) if small_disk.small else (), "clock": STEPS}
        weather = {name: Weather(name, drawn(seed, name, some, secs)) for name, some in kinds.items()}
        here = place / "reliability"
        here.mkdir()
        scene = Scene(here, small_disk.place / "state", store_url, seed=seed, made=made, weather=weather)
        with scene.playing():
            Storm(scene, small_disk, chance, secs, kill_secs).blow()
            scene.calm()
            verdicts = scene.verdicts()
        slowest = max(weather.values(), key=lambda one: one.slowest_secs)
        not_done = [] if small_disk.small else ["full disks: only root can mount the small file system for them"]
        return Report(
            seed=seed, secs=time.monotonic() - began, events=scene.tenant.tenant.count(), ends=scene.ends,
            faults={name: one.met for name, one in weather.items()}, verdicts=verdicts,
            slowest=(slowest.place, slowest.slowest_secs), problems=scene.problems, not_done=not_done,
        )  # fmt: skip
