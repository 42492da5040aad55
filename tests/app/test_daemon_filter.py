"""A daemon with a filter for one of its sinks: that one gets less, and everything is accounted for."""

import json
import signal
from pathlib import Path
from typing import Any

from daemon_case import SECRETS, Daemon, Destination, Hec, TenantThread, raw_of
from test_operator import balance, figures

from shipper.simulator.tenant import Tenant

CLIENT: dict[str, Any] = {"client_id": "canary-client", "client_secret": SECRETS["client_secret"], "plan": "none"}
CHANGED = "changed since the last start or reload"
FAILURES = 'filter.include_categories = ["auth.login.fail"]\n'


def types(envelopes: list[bytes]) -> list[str]:
    return [json.loads(raw_of(envelope))["type"] for envelope in envelopes]


def test_a_filter_leaves_out_for_its_own_sink_and_a_change_is_told(tmp_path: Path) -> None:
    made = [raw for _, raw in Tenant(count=601, **CLIENT).issued()]
    issued = [json.loads(raw)["type"] for raw in made]
    failures = [one for one in issued if one in {"f", "fc", "fco", "fcoa", "fens", "fp", "fu"}]
    hec = Hec()
    with TenantThread(Tenant(events=made[:500], **CLIENT)) as running, Destination(default=hec) as destination:
        daemon = Daemon(tmp_path, running.url, destination.url, siem=FAILURES)
        daemon.start()
        daemon.until(lambda: len(daemon.lines) == 500 and figures(daemon, "siem")["shipper_lag_events"] == 0)
        first = len(hec.envelopes)
        assert types(hec.envelopes) == failures[:first]
        assert 0 < first < len(failures)
        assert figures(daemon, "siem")["shipper_events_filtered_total"] == 500 - first
        assert figures(daemon, "console")["shipper_events_filtered_total"] == 0
        assert balance(daemon, "siem") == balance(daemon, "console") == 500
        assert daemon.records(CHANGED) == []
        assert f"acme → siem: {500 - first} events were left out by its filter" in daemon.command("status").stdout
        daemon.kill()

        daemon.config.write_text(daemon.config.read_text().replace(FAILURES, 'filter.exclude_types = ["s*", "fpp"]\n'))
        for raw in made[500:600]:
            running.tenant.add(raw)
        daemon.start()
        daemon.until(lambda: len(daemon.lines) >= 600)
        daemon.until(lambda: figures(daemon, "siem")["shipper_lag_events"] == 0)
        assert [record["what"] for record in daemon.records(CHANGED)] == ["filters"]
        assert [record["note"] for record in daemon.records("the filter")] == ["no type fpp is known; did you mean fp?"]
        assert types(hec.envelopes[first:]) == [one for one in issued[500:600] if not one.startswith("s")]
        assert balance(daemon, "siem") == 600

        second = len(hec.envelopes)
        daemon.config.write_text(daemon.config.read_text().replace("filter.exclude_types", "#"))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.until(lambda: len(daemon.records(CHANGED)) == 2)
        running.tenant.add(made[600])
        daemon.until(lambda: len(hec.envelopes) > second)
        assert types(hec.envelopes[second:]) == issued[600:]
        assert balance(daemon, "siem") == 601
        assert daemon.stop() == 0
