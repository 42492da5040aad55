"""The dashboard in deploy/grafana: what its queries name exists, and every panel can be read and provisioned."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from dashboard_case import DASHBOARD, PANELS, queries
from promql_case import golden, wrong_names

from shipper.reasons import REASONS

ROOT = Path(__file__).parents[2]
RECORDING = yaml.safe_load((ROOT / "deploy/prometheus/recording.yml").read_text())
RECORDED = frozenset(rule["record"] for group in RECORDING["groups"] for rule in group["rules"])
OURS = {"type": "prometheus", "uid": "${datasource}"}


@pytest.mark.parametrize("query", queries())
def test_a_query_names_metrics_labels_and_values_that_exist_and_goes_by_every_variable(query: str) -> None:
    assert wrong_names(query, RECORDED, frozenset(REASONS)) == []
    assert "[$__rate_interval]" in query or not re.search(r"\b(rate|increase)\(", query)
    for name, inside in re.findall(r"\b((?:shipper|process|lane)[a-z0-9_:]+)(?:\{([^}]*)\})?", query):
        labels = golden().get(name, {} if name.startswith("process_") else {"source": (), "sink": ()})
        for label in ("job", "instance", *({"source", "sink"} & set(labels))):
            assert f'{label}=~"${label}"' in inside, (name, label)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_has_a_title_a_description_and_a_unit(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert [panel["datasource"], *(target["datasource"] for target in panel["targets"])] == [OURS] * (
        1 + len(panel["targets"])
    )


def test_it_has_four_rows_and_no_panel_lies_on_another() -> None:
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Is it working", "Sinks", "Journal", "Process"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for one, other in combinations([panel["gridPos"] for panel in DASHBOARD["panels"]], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)


def test_it_can_be_provisioned_anywhere() -> None:
    assert DASHBOARD["id"] is None
    assert "uid" not in DASHBOARD
    assert DASHBOARD["schemaVersion"] == 39  # Grafana 11; a newer one brings it up to date
    assert "__inputs" not in DASHBOARD
    uids = set(re.findall(r'"uid": "([^"]*)"', json.dumps(DASHBOARD)))
    assert uids == {"${datasource}", "-- Grafana --"}


def test_its_variables_are_the_data_source_and_four_labels_of_which_several_can_be_chosen() -> None:
    first, *others = DASHBOARD["templating"]["list"]
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
    assert [variable["name"] for variable in others] == ["job", "instance", "source", "sink"]
    for variable in others:
        assert variable["datasource"] == OURS
        assert (variable["multi"], variable["includeAll"]) == (True, True)
        # `up` and `process_…` are every program's: all of ours must not mean all that Prometheus knows.
        assert variable.get("allValue") == (None if variable["name"] in ("job", "instance") else ".*")


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_without_data_says_what_that_means(panel: dict[str, Any]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    if panel["type"] == "stat":
        # What nobody knows is not shown in the colour of what is well.
        [unknown] = [one["options"] for one in defaults["mappings"] if one["type"] == "special"]
        assert (unknown["match"], unknown["result"]["text"]) == ("null+nan", defaults["noValue"])
        assert unknown["result"]["color"].startswith("#")
    # A healthy daemon has no series there.
    assert "noValue" in defaults or not any("> 0" in target["expr"] for target in panel["targets"])


def test_no_metric_is_forgotten() -> None:
    text = " ".join(queries())
    shown = {name for name in golden() if re.search(rf"\b{name}\b", text)}
    left_out = {name for name in golden() if not name.endswith(("_sum", "_count"))} - shown
    assert left_out == set()
