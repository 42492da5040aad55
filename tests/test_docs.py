"""What the documents say is true: links lead somewhere, commands and metrics exist, the reasons have their advice."""

import re
from pathlib import Path

import click
import pytest

from shipper import exit_status
from shipper.cli import main
from shipper.reasons import HELD, REASONS, WHAT_TO_DO

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / name
    for name in (
        "README.md",
        "sinks/README.md",
        "deploy/README.md",
        "shipper/DECISIONS.md",
        "CHANGELOG.md",
        "SECURITY.md",
    )
]
METRICS = (ROOT / "tests/app/golden/metrics.txt").read_text().split()


def commands(group: click.Command, words: str = "shipper") -> set[str]:
    """Every command as it is typed."""
    if not isinstance(group, click.Group):
        return {words}
    return {words}.union(*(commands(command, f"{words} {name}") for name, command in group.commands.items()))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(((?!https?://)[^)#]+)", document.read_text())
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_metrics_that_are_named_exist(document: Path) -> None:
    text = document.read_text()
    known = commands(main)
    typed = re.findall(r"(?:\$ |`)(shipper [a-z]+(?: (?:list|show|set)\b)?)", text)
    assert [command for command in typed if command not in known] == []
    named = set(re.findall(r"\bshipper_[a-z_]+\b", text))
    assert named - set(METRICS) == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_options_of_commands_that_are_named_exist(document: Path) -> None:
    text = document.read_text()
    typed = re.findall(r"(?m)^(?:\$ |# ).*\bshipper ((?:[a-z]+ ?)+.*)$|`(?:/opt/shipper/bin/)?shipper ([^`]*)`", text)
    wrong = []
    for line in ("".join(found) for found in typed):
        command: click.Command | None = main
        words = re.split(r"\s+#|[|;&]", line)[0].split()
        while isinstance(command, click.Group) and words:
            command = command.commands.get(words.pop(0))
        if command is not None and not isinstance(command, click.Group):
            known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
            wrong += [f"{line}: {word}" for word in words if word.startswith("-") and word not in known | {"-"}]
    assert wrong == []


def test_the_readme_shows_both_commands_of_a_fresh_machine_and_every_target_that_it_names_exists() -> None:
    text, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"make ([a-z]+)", text))
    assert {"demo", "test"} <= targets
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_the_readme_names_every_exit_status() -> None:
    statuses = {value for name, value in vars(exit_status).items() if name.isupper()}
    rows = re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {int(row) for row in rows} == statuses


def test_the_runbooks_sizing_counts_with_the_figures_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    sizing = (ROOT / "deploy/README.md").read_text().split("\n## Sizing\n")[1].split("\n## ")[0]
    for row in (
        r"\| journal on disk \| (\d+) bytes an event \| .*: (\d+) \|",
        r"\| memory while a million events wait for a dead destination \| (\d+ MB)",
        r"\| memory, four sinks, .* \| (\d+ MB) \| 50 tenants: (\d+ MB)",
        r"\| idle, caught up \| .* \| 50 tenants: ([\d.]+ %)",
    ):
        figures = re.search(row, readme)
        assert figures is not None, row
        assert [figure for figure in figures.groups() if figure not in sizing] == []
    microseconds = re.search(r"\| CPU an event, .*? \| ([\d.]+) µs", readme)
    assert microseconds is not None
    assert f"{round(float(microseconds[1]))} µs" in sizing


def test_the_readmes_configuration_is_one_that_loads(tmp_path: Path) -> None:
    from shipper.config import load

    examples = re.findall(r"```toml\n(\[sources\..*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "config.toml").write_text("\n".join(examples))
    for secret in ("acme.client_secret", "identity.app_secret", "siem.token"):
        (tmp_path / secret).write_text("made-up")
    settings = load(tmp_path / "config.toml", {})
    assert {source.type for source in settings.sources.values()} == {"auth0", "logto"}
    assert settings.sinks["siem"].type == "splunk_hec"


def test_every_reason_has_its_advice() -> None:
    assert set(WHAT_TO_DO) == set(REASONS)
    assert set(REASONS) >= HELD
    assert all(text.endswith(".") for text in WHAT_TO_DO.values())
