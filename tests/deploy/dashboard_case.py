"""The dashboard of deploy/grafana, taken apart."""

import json
import re
from pathlib import Path
from typing import Any

DASHBOARD: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "deploy" / "grafana" / "dashboard.json").read_text()
)
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    """Every expression, once."""
    return sorted({target["expr"] for panel in PANELS for target in panel["targets"]})


def filled_in(expression: str, instance: str = "") -> str:
    """The expression as Grafana sends it with all of each variable chosen.

    instance: the one that `shipper_build_info` names, or none before that was asked for.
    """
    for name, value in {
        "$__rate_interval": "10s",
        "$job": "(shipper)",
        "$instance": f"({re.escape(instance)})".replace("\\", "\\\\") if instance else ".*",
        "$source": ".*",
        "$sink": ".*",
    }.items():
        expression = expression.replace(name, value)
    return expression
