import os
import re
import subprocess
import sys
from pathlib import Path

from readme_files import README, readme_files

from shipper.sink import load_sink_type, sink_types

OURS = "sinks."


def rows() -> dict[str, list[str]]:
    """The table's rows by the sink's name."""
    table = README.read_text().split("## The sinks that come along")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "](" in line]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_the_table_has_a_row_for_each_sink_that_comes_along() -> None:
    assert set(rows()) == {name for name, entry in sink_types().items() if entry.value.startswith(OURS)}


def test_a_row_names_the_file_and_the_limits_that_hold() -> None:
    for name, (destination, file, limits, delivered) in rows().items():
        entry = sink_types()[name]
        batch = load_sink_type(entry).Config.model_fields["batch"].get_default(call_default_factory=True)
        module = f"{entry.module.removeprefix(OURS)}.py"
        assert file == f"[{module}]({module})"
        assert (README.parent / module).is_file()
        assert limits == f"{batch.max_events} events, {batch.max_bytes} bytes, {batch.timeout_secs:g} s"
        assert destination
        assert delivered


def test_a_link_leads_to_a_file() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target


def test_the_example_passes_the_contract_suite_as_it_is_printed(tmp_path: Path) -> None:
    for name, content in readme_files().items():
        if name.endswith(".py"):
            (tmp_path / name).write_text(content)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "--rootdir", "."],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # the suite needs none
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d\d passed in", done.stdout), done.stdout
