"""A plugin from a package of its own: installed by pip, found by its metadata, used as ours are."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from readme_files import readme_files


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The README's package, as pip installs it; without an index, since nothing has to be fetched for it."""
    project, site = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("site")
    files = readme_files()
    for name in ("pyproject.toml", "example_sink.py"):
        (project / name).write_text(files[name])
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    how = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(site)]
    done = subprocess.run([*pip, *how, str(project)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return site


@pytest.fixture
def site(installed: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(installed, tmp_path, dirs_exist_ok=True)
    return tmp_path


def run(site: Path, script: str, **environment: str) -> str:
    """What a process prints that has this folder among its packages."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": str(site), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_sink_of_another_package_is_found_beside_ours(site: Path) -> None:
    script = """
        import json
        from shipper.sink import sink_types
        print(json.dumps({name: entry.dist.name for name, entry in sink_types().items()}))
    """
    found = json.loads(run(site, script))
    assert found["example"] == "shipper-example-sink"
    assert found["splunk_hec"] == found["stdout"] == "identity-log-shipper"


def test_finding_sinks_imports_none_of_them(site: Path) -> None:
    (site / "example_sink.py").write_text("raise RuntimeError('imported')\n")
    script = "from shipper.sink import sink_types; print(*sink_types())"
    assert "example" in run(site, script).split()


def test_a_sink_of_another_package_is_loaded_and_delivers(site: Path) -> None:
    script = """
        import asyncio
        from shipper import Secret
        from shipper.sink import load_sink_type, sink_types
        from shipper.testing import Destination, make_batch

        async def main():
            kind = load_sink_type(sink_types()["example"])
            with Destination() as destination:
                sink = kind(kind.Config(url=destination.url, token=Secret("made-up")))
                await sink.open()
                await sink.write(make_batch(3))
                await sink.close()
                [request] = destination.requests
                print(kind.__module__, request.headers["Authorization"], len(request.body.split(b"\\n")))

        asyncio.run(main())
    """
    assert run(site, script).split() == ["example_sink", "Bearer", "made-up", "3"]


def test_a_sink_of_another_package_passes_the_contract_suite(site: Path) -> None:
    (site / "test_example_sink.py").write_text(readme_files()["test_example_sink.py"])
    script = f"""
        import sys, pytest
        sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", {str(site)!r}, {str(site)!r}]))
    """
    assert " passed" in run(site, script, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")


def test_a_broken_plugin_is_named_in_a_line_and_hides_no_other(site: Path) -> None:
    (site / "example_sink.py").write_text("import a_library_that_is_not_there\n")
    script = """
        from click.testing import CliRunner
        from shipper.cli import main
        for words in (["sinks"], ["config", "schema"]):
            done = CliRunner(env={"COLUMNS": "200"}).invoke(main, words)
            print(done.exit_code, "Traceback" in done.output, " ".join(done.output.split()))
    """
    why = '"example" can\'t be loaded from package shipper-example-sink'
    table, schema = run(site, script).splitlines()
    assert table.startswith("0 False")
    assert why in table
    assert "splunk_hec" in table
    assert schema.startswith("78 False shipper: config schema: " + why)
    assert schema.endswith("ModuleNotFoundError: No module named 'a_library_that_is_not_there'")
