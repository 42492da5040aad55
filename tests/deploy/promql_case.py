"""What a PromQL expression names, held against the golden file of metrics."""

import re
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "app" / "golden" / "metrics.txt"
HISTOGRAM_SUFFIXES = ("_bucket", "_sum", "_count")
PROCESS = frozenset(
    f"process_{name}"
    for name in (
        "cpu_seconds_total", "max_fds", "open_fds", "resident_memory_bytes", "start_time_seconds",
        "virtual_memory_bytes",
    )
)  # fmt: skip
"""Of prometheus-client, as every program has them."""
OF_THE_TARGET = frozenset({"job", "instance"})
"""Labels that Prometheus adds to every series."""

_SELECTOR = re.compile(
    r"\b([a-z][a-z0-9_]*(?::[a-z0-9_]+)*)\s*\{([^}]*)\}|\b((?:shipper|process|lane)[a-z0-9_:]+|up)\b"
)
_MATCHER = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")


def golden() -> dict[str, dict[str, frozenset[str]]]:
    """Each metric's labels, with the values that are known of a label; none where they are names."""
    found = {}
    for line in GOLDEN.read_text().splitlines():
        name, kind, labels = line.split()
        known: dict[str, frozenset[str]] = {}
        for part in filter(None, labels.strip("{}").split(",")):
            label, _, values = part.partition("=")
            known[label] = frozenset(filter(None, values.split("|")))
        for suffix in HISTOGRAM_SUFFIXES if kind == "histogram" else ("",):
            found[name + suffix] = {**known, **({"le": frozenset()} if suffix == "_bucket" else {})}
    return found


def wrong_names(expression: str, recorded: frozenset[str], reasons: frozenset[str]) -> list[str]:
    """What the expression names and no daemon shows: metrics, labels, label values. recorded: names that rules make."""
    metrics, wrong = golden(), []
    labels_of_all = set(OF_THE_TARGET)
    for with_braces, inside, alone in _SELECTOR.findall(expression):
        name = with_braces or alone
        if name in recorded:
            known: dict[str, frozenset[str]] = {"source": frozenset(), "sink": frozenset()}
        elif name == "up" or name in PROCESS:
            known = {}
        elif name in metrics:
            known = metrics[name]
        else:
            wrong.append(name)
            continue
        labels_of_all |= set(known)
        for label, kind, value in _MATCHER.findall(inside):
            if label not in known and label not in OF_THE_TARGET:
                wrong.append(f"{name}{{{label}}}")
            values = known.get(label, frozenset())
            values = reasons if "REASONS" in values else values
            asked = value.split("|") if kind in ("=~", "!~") else [value]
            if values and not value.startswith("$"):
                wrong += [f"{name}{{{label}={one}}}" for one in asked if one not in values]
    grouped = [label.strip() for part in _GROUPING.findall(expression) for label in part.split(",")]
    return wrong + [label for label in grouped if label and label not in labels_of_all]
