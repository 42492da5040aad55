"""Test helpers beside a test are imported by their own names."""

import sys
from pathlib import Path

sys.path[:0] = [str(folder) for folder in Path(__file__).parent.iterdir() if folder.is_dir()]

# Fixtures have names of their own instead of a conftest.py in each folder: mypy knows modules by their names.
pytest_plugins = ["app_fixtures", "journal_fixtures", "sinks_fixtures"]
