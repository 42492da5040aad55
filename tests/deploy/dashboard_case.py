"""The dashboard of deploy/grafana, taken apart."""

import json
from pathlib import Path
from typing import Any

DASHBOARD: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "deploy" / "grafana" / "dashboard.json").read_text()
)
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    """Every expression, once."""
    return sorted({target["expr"] for panel in PANELS for target in panel["targets"]})


def filled_in(expression: str) -> str:
    """The expression as Grafana sends it with all of each variable chosen."""
    for name, value in {
        "$__rate_interval": "10s",
        "$job": ".*",
        "$instance": ".*",
        "$source": ".*",
        "$sink": ".*",
    }.items():
        expression = expression.replace(name, value)
    return expression
