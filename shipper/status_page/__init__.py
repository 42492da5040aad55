"""The status page: the files of this folder as one document, which asks for nothing but `/api/status`.

Its policy lets run and style only what stands here, by hash, and no text become markup (Trusted Types).
"""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

SCRIPTS = ("words.js", "past.js", "view.js", "draw.js", "charts.js", "lanes.js", "newest.js", "page.js")


def _read(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


_STYLE = _read("status.css")
_SCRIPT = '"use strict";\n' + "\n".join(map(_read, SCRIPTS))

PAGE = _read("status.html").replace("/*style*/", _STYLE).replace("/*script*/", _SCRIPT).encode()
"""The whole document, in UTF-8."""

POLICY = (
    f"default-src 'none'; script-src {_hash(_SCRIPT)}; style-src {_hash(_STYLE)}; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script';"
    " trusted-types 'none'"
)
"""Its Content-Security-Policy."""
