"""Every fault at every place, over real processes: at the first batch, in the middle of a backlog, at the shutdown."""

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from shipper.simulator.options import Options
from soak.scene import KINDS, Scene
from soak.weather import Weather

FIRST, MIDDLE, SHUTDOWN = MOMENTS = ("first", "middle", "shutdown")
BLOWS_SECS = 1.5
WITHIN_SECS = 30.0
RATE = 150.0
EVENTS, BACKLOG = 1_200, 300
PLACES = tuple(KINDS)
ROWS = max(map(len, KINDS.values()))


def cells(rows: int = ROWS) -> list[tuple[int, str]]:
    """Each row, in which each place has its next fault, at each moment."""
    return [(row, moment) for row in range(rows) for moment in MOMENTS]


def cell(place: Path, store: str, row: int, moment: str) -> list[str]:
    """One cell from its start to its count. Returns what is wrong. place: a new folder."""
    place.mkdir()
    faults = {name: kinds[row % len(kinds)] for name, kinds in KINDS.items()}
    weather = {name: Weather(name) for name in PLACES}
    made = Options(plan="none", backlog=BACKLOG, count=EVENTS, rate=RATE, token_life_secs=60.0, seed=row + 1)
    scene = Scene(place, place / "state", store, seed=f"{row} {moment}", made=made, weather=weather)
    with scene.playing():
        _play(scene, faults, moment)
        scene.calm()
        verdicts = scene.verdicts()
    wrong = [f"{verdict}" for verdict in verdicts if not verdict.fine]
    return [f"{moment}, {faults}: {words}" for words in (*scene.problems, *wrong)]


def _play(scene: Scene, faults: dict[str, str], moment: str) -> None:
    weather = scene.weather
    if moment == FIRST:
        _blow(scene, faults)
    scene.daemon.start()
    if moment != FIRST:
        _until(lambda: all(held.total for name, held in scene.held.items() if name != "archive"), scene)
        _blow(scene, faults)
    # A source in trouble gives nothing to deliver: its fault need not wait for those of the sinks.
    _until(lambda: weather["tenant"].hit, scene)
    weather["tenant"].blow("")
    _until(lambda: all(weather[name].hit for name in PLACES if name != "tenant"), scene)
    threading.Event().wait(BLOWS_SECS)
    if moment == SHUTDOWN:
        scene.ends["SIGTERM"] += 1
        scene.daemon.signal(signal.SIGTERM)
        scene.daemon.wait()
        weather["console"].blow("")  # what it has printed is still to be read
        if (status := scene.daemon.end()) != 0:
            scene.problems.append(f"it ended with {status}: {scene.last_words()}")
    for one in weather.values():
        one.blow("")
    if moment == SHUTDOWN:
        scene.daemon.start()


def _blow(scene: Scene, faults: dict[str, str]) -> None:
    for name, kind in faults.items():
        scene.weather[name].blow(kind)


def _until(condition: Callable[[], bool], scene: Scene) -> None:
    end = time.monotonic() + WITHIN_SECS
    while not condition():
        if time.monotonic() > end or scene.daemon.ended:
            quiet = [name for name, one in scene.weather.items() if not one.hit]
            scene.problems.append(f"it never met the faults of {quiet}: {scene.last_words()}")
            return
        threading.Event().wait(0.02)
