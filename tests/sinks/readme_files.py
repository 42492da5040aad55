"""The files that `sinks/README.md` shows, as a reader would copy them."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "sinks" / "README.md"


def readme_files() -> dict[str, str]:
    """Name → content of every block that says which file it is."""
    return dict(re.findall(r"^```\w+ file=(\S+)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL))
