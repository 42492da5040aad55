"""Everything that stands around one daemon, with weather at each place, and the count at the end."""

import contextlib
import json
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shipper.simulator.options import Options
from shipper.simulator.tenant import Tenant
from soak import archive, destinations, tenant
from soak.archive import Line, make_bucket, read_bucket
from soak.daemon import API_KEY, BATCH, CLIENT_SECRET, LANES, MOST_PENDING, TOKEN, Daemon
from soak.destinations import AckedHecIntake, HecIntake, Intake, datadog_events, hec_events
from soak.ledger import ledger_of, ledger_problems
from soak.oracle import Held, Numbers, Verdict
from soak.tenant import FaultyTenant
from soak.traces import content_found, secrets_found
from soak.weather import Weather

RECOVERY_SECS = 60.0
ONE_WRITE_SECS = 5.0
DRAIN_SECS = 180.0
KINDS: Mapping[str, tuple[str, ...]] = {
    "tenant": tenant.KINDS,
    "siem": destinations.KINDS,
    "indexers": destinations.ACK_KINDS,
    # An empty 2xx is Datadog's way of thanks.
    "observability": tuple(kind for kind in destinations.KINDS if kind != "empty"),
    "archive": archive.KINDS,
    "console": ("nobody_reads",),
}


class Scene:
    """One daemon's world. place: a folder for what it prints. state: the state directory.

    weather: of every place in KINDS. store: the address of an S3 store, which gets a bucket of the folder's name.
    """

    def __init__(
        self, place: Path, state: Path, store: str, *, seed: str, made: Options, weather: Mapping[str, Weather]
    ) -> None:
        self.weather = weather
        self.problems: list[str] = []
        self.ends: Counter[str] = Counter()
        """How the daemon's lives have ended: each end may repeat a batch of each lane."""
        numbers = Numbers()
        self.held = {lane: Held(lane, numbers) for lane in LANES}
        self.tenant = FaultyTenant(Tenant(made, client_secret=CLIENT_SECRET), weather["tenant"])
        self.daemon = Daemon(place, self.held["console"], weather["console"], archive.KEYS)
        held = self.held
        self._intakes: list[Intake] = [
            HecIntake(held["siem"], weather["siem"], seed, hec_events, destinations.HEC_DELIVERED),
            AckedHecIntake(held["indexers"], weather["indexers"], seed),
            Intake(
                held["observability"], weather["observability"], seed, datadog_events, destinations.DATADOG_DELIVERED
            ),
        ]
        self._store, self._bucket = store, place.name
        self._state = state

    @contextlib.contextmanager
    def playing(self) -> Iterator[None]:
        """Everything but the daemon runs; of the daemon nothing is left afterwards."""
        make_bucket(self._store, self._bucket)
        line = Line(self._store, self.weather["archive"])
        with contextlib.ExitStack() as stack:
            stack.enter_context(line.carrying())
            stack.enter_context(self.tenant.serving())
            for intake in self._intakes:
                stack.enter_context(intake.server)
            urls = {intake.held.name: intake.server.url for intake in self._intakes}
            self.daemon.configure(
                state=self._state, tenant=self.tenant.url, archive=line.url, bucket=self._bucket, **urls
            )
            for weather in self.weather.values():
                weather.begin()
            stack.callback(self.daemon.kill)
            yield

    # -- calm ----------------------------------------------------------------------------------------------------------

    def calm(self) -> None:
        """Everything must recover within a minute and one write, then drain, then end in order."""
        calm, status = time.monotonic(), {}
        while not self._drained(status := self.daemon.scrape()):
            if time.monotonic() > calm + RECOVERY_SECS + DRAIN_SECS:
                self.problems.append(f"not drained long after the last fault: {_brief(status)}")
                break
            if self.daemon.ended:
                self.problems.append(f"the daemon ended by itself with {self.daemon.end()}: {self.last_words()}")
                self.daemon.start()
            threading.Event().wait(0.3)
        for weather in self.weather.values():
            if weather.recovering is not None:
                self.problems.append(f"{weather.place} never recovered from {weather.recovering.kind}")
            if weather.slowest_secs > RECOVERY_SECS + ONE_WRITE_SECS:
                self.problems.append(f"{weather.place} took {weather.slowest_secs:.0f} s to recover")
        self.daemon.signal(signal.SIGTERM)
        if (ended := self.daemon.end()) != 0:
            self.problems.append(f"it ended with {ended}: {self.last_words()}")

    def _drained(self, status: dict[str, Any]) -> bool:
        """The tenant issues nothing more, and by the daemon's own account all of it is settled."""
        if not status or not self.tenant.done:
            return False
        issued = self.tenant.tenant.count()
        waiting = [lane for lane in status["lanes"] if lane["lag_events"]]
        if waiting or [source["events"] for source in status["sources"]] != [issued]:
            return False
        for lane in status["lanes"]:
            if lane["delivered"] + lane["dead_letters"] != issued:
                self.problems.append(f"{lane['sink']} counts {lane['delivered']} delivered of {issued}")
        return True

    def last_words(self) -> str:
        """The end of its log."""
        return self.daemon.log.read_text(errors="replace")[-400:].replace("\n", " ¶ ")

    # -- verdict -------------------------------------------------------------------------------------------------------

    def verdicts(self) -> list[Verdict]:
        """The count, once the daemon has ended; what is wrong beside the count comes to the problems."""
        read_bucket(self._store, self._bucket, self.held["archive"])
        issued = list(self.tenant.tenant.issued())
        dead = self._dead_letters([id_ for id_, _ in issued])
        verdicts = []
        for lane, held in self.held.items():
            bodies = MOST_PENDING if lane == "indexers" else 1
            allowed = 0 if lane == "archive" else sum(self.ends.values()) * BATCH * bodies
            verdicts.append(held.verdict(issued, dead.get(lane, {}), allowed))
            self.problems += [f"{lane}: {note}" for note in held.notes if not verdicts[-1].fine]
        self._search_for_traces([raw for _, raw in issued[:300]])
        return verdicts

    def _search_for_traces(self, events: list[bytes]) -> None:
        daemon = self.daemon
        tokens = list(self.tenant.tenant.tokens._known)
        secrets = [CLIENT_SECRET, TOKEN, API_KEY, archive.KEYS[1], *tokens]
        printed = [daemon.log, daemon.seen]
        self.problems += [f"a secret in {place}" for place in secrets_found(secrets, [*printed, self._state])]
        self.problems += [f"content or a traceback in {place}" for place in content_found(events, printed)]

    def _dead_letters(self, issued: list[str]) -> dict[str, dict[str, bytes]]:
        """From the journal itself; the program's own list must say the same, and the ledger add up."""
        found: dict[str, dict[str, bytes]] = {lane: {} for lane in LANES}
        with contextlib.closing(sqlite3.connect(self._state / "journal" / "journal.sqlite")) as connection:
            if (verdict := connection.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
                self.problems.append(f"the journal is damaged: {verdict}")
            rows = connection.execute("SELECT sink, event_id, raw FROM dead_letter").fetchall()
        for sink, id_, raw in rows:
            if id_ in found[sink]:
                self.problems.append(f"{sink}: {id_} is a dead letter twice")
            found[sink][id_] = raw
        self.problems += ledger_problems(ledger_of(self.daemon.config), issued, LANES)
        listed = self.daemon.command("dead", "list", "--json")
        lines = [json.loads(line) for line in listed.stdout.splitlines()]
        if sorted((line["sink"], line["event_id"]) for line in lines) != sorted((row[0], row[1]) for row in rows):
            self.problems.append(f"`shipper dead list` has {len(lines)} of {len(rows)}: {listed.stderr[-300:]}")
        return found


def _brief(status: dict[str, Any]) -> str:
    parts = [
        " ".join(str(part.get(name)) for name in ("sink", "state", "reason", "lag_events", "events") if name in part)
        for part in (*status.get("sources", []), *status.get("lanes", []))
    ]
    return "; ".join(parts) or "it does not answer"
